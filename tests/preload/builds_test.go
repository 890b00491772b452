package preload_test

var builds = []program{
	{"make", `
cp -r $C/project $D/p; cd $D/p
make -s -j2 main; make -s check; make -q main && echo up to date; touch sum.c; make -n main | grep -c sum.c; make -s -j2 main; ./main <main.c
gcc -g -shared -fPIC -o libown.so sum.c; gcc -o dynamic main.c count.c words.c -L. -lown -Wl,-rpath,$PWD 2>&1; ar t libsmall.a; nm main | grep -c ' T main'; strip main; ./main <main.c; size main >/dev/null
cat out; make -s clean; rm libown.so dynamic; ls
`},
	{"c++", `
cd $D; cat >p.cc <<'END'
#include <fcntl.h>
#include <unistd.h>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
int main()
{
    std::string line;
    std::getline(std::cin, line);
    std::cout << "got " << line << std::endl;
    std::cerr << "to stderr\n";
    std::clog << "to clog\n";
    std::printf("by C\n");
    std::cout << "again\n" << std::flush;
    std::ofstream("f") << "of " << 42 << "\n";
    std::ifstream in("f");
    std::getline(in, line);
    std::fstream both("f");
    both.seekp(0, std::ios::end);
    both << "more\n";
    both.close();
    dup2(open("later", O_CREAT | O_WRONLY, 0644), 1);
    std::cout << line << "\n";
}
END
g++ -o p p.cc; echo input >in; ./p <in >out 2>err; cat out err f later; echo piped | ./p 2>/dev/null | cat; rm p
`},
	{"wide-characters", `
cd $D; export LC_ALL=C.UTF-8; printf 'größe\nabc\nжук 5\n' >f; rev f; rev <f >g; cat g
cat >w.c <<'END'
#include <locale.h>
#include <stdio.h>
#include <wchar.h>
int main(void)
{
    wchar_t line[50];
    setlocale(LC_ALL, "");
    FILE *in = fopen("f", "r"), *out = fopen("out", "w");
    while (fgetws(line, 50, in) != NULL)
        fwprintf(out, L"%ls%d|", line, (int)wcslen(line));
    rewind(in);
    wint_t c = fgetwc(in);
    c = fgetwc(in);
    c = fgetwc(in);
    fputwc(c, out);
    ungetwc(c, in);
    fputwc(getwc(in), out);
    fputws(L"\n\u0436 end\n", out);
    fclose(in);
    fclose(out);
    wprintf(L"wide %d\n", 7);
    FILE *bad = fopen("bad", "r");
    c = getwc(bad);
    int failed = getwc(bad) == WEOF && ferror(bad);
    wprintf(L"%lc %d", c, failed);
    return 0;
}
END
printf 'a\377b' >bad; gcc -o w w.c; ./w; ./w >told; cat told out; rm w
`},
	{"shared-libraries", `
mkdir -p $D/lib/deep $D/bin $T/bin; cd $D
echo 'int low(void) {return 40;}' >low.c; echo 'int low(void); int high(void) {return low() + 2;}' >high.c; echo '#include <stdio.h>
int high(void); int main(void) {printf("%d\n", high()); return 0;}' >main.c
gcc -shared -fPIC -Wl,-soname,liblow.so.1 -o lib/deep/liblow.so.1 low.c; gcc -shared -fPIC -Wl,-soname,libhigh.so -o lib/libhigh.so high.c lib/deep/liblow.so.1 -Wl,-rpath,'$ORIGIN/deep'
L="-Llib -lhigh -Wl,-rpath-link,lib/deep"; gcc -o bin/near main.c $L -Wl,-rpath,'$ORIGIN/../lib'; gcc -o $T/bin/far main.c $L -Wl,-rpath,$D/lib; gcc -o $T/bin/none main.c $L; gcc -o bin/old main.c $L -Wl,--disable-new-dtags,-rpath,$D/lib
bin/near; (cd /; $D/bin/near); $T/bin/far; bin/old; PATH=$D/bin:$PATH near; $T/bin/none 2>/dev/null || echo status $?; LD_LIBRARY_PATH=$D/lib $T/bin/none; env LD_LIBRARY_PATH=/none:$D/lib:$D/lib/deep $T/bin/none; LD_LIBRARY_PATH=$D/lib bash -c 'case ${LD_PRELOAD:-} in */proc/*) echo told;; esac; ldd '$T'/bin/none >/dev/null; '$T'/bin/none'
/usr/bin/python3 - <<'END'
import ctypes, os, subprocess, sys
d = os.environ['D']
a, b, c = (ctypes.CDLL(d + '/lib/' + n) for n in ('libhigh.so', 'deep/liblow.so.1', 'libhigh.so'))
print(a.high(), b.low(), c.high(), a._handle == c._handle, a._handle == b._handle)
try: ctypes.CDLL(d + '/lib/none.so')
except OSError: print('none')
print(subprocess.run([os.environ['T'] + '/bin/far'], capture_output=True, text=True).stdout, subprocess.run('bin/near', capture_output=True, text=True, env={}).stdout)
END
LD_LIBRARY_PATH=$D/lib /usr/bin/python3 -c 'import ctypes; print(ctypes.CDLL("libhigh.so").high())'
rm -r bin
`},
	{"git", `
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' GIT_PAGER=cat
git config --global safe.directory '*'; git config --global core.hooksPath /dev/null
mkdir $D/r; cd $D/r; git init -q -b main .; cp $C/project/* .; mkdir d; cp $DATA d/noise; ln -s d/noise soft; chmod +x main.c
git add .; git commit -qm one; git status --short; git log --format=%H; echo more >>sum.c; rm words.c; git status --short; git diff --stat; git commit -qam two
git checkout -q -b other HEAD~1; echo x >x; git add x; git commit -qm three; git merge -q --no-edit main >/dev/null; git log --oneline | wc -l; git stash -q 2>/dev/null || true
cd ..; git clone -q r c; git clone -q --bare r b.git; git clone -q --no-local r $T/out; cd c; git fsck 2>&1 | grep -v dangling || true; git rev-parse HEAD^{tree}; git tag v1; git gc -q; git fsck 2>&1 | grep -v notice || true; git status --short; git grep -c isspace || true
git pull -q ../r main 2>&1; git push -q ../b.git HEAD:refs/heads/pushed; git reset -q --hard HEAD~1; git archive HEAD | tar -t | sort; git rm -q --cached x 2>/dev/null || true; git clean -qfdx; git worktree add -q ../w v1; cat ../w/x; cd ../w; git describe --tags
cd $D; for r in r c b.git; do git -C $r log --format='%H %s' --all | sort | uniq | md5sum; git -C $r count-objects >/dev/null; done; rm -rf r/.git c/.git b.git w
`},
}
