package preload_test

// tools are programs that other systems' users bring along.
var tools = []program{
	{"patch-ed", `
cp -r $C/project $D/a; cp -r $D/a $D/b; cd $D/b; sed -i 's/int/long/' *.c; rm Makefile; echo new >new; cd $D
diff -ruN a b >p.diff || true; grep -c '^[-+]' p.diff; cp -r a c; cd c; patch -p1 <../p.diff; cd ..; diff -r b c && echo same
cd c; patch -R -p1 <../p.diff >/dev/null; cd ..; diff -r a c && echo back; cp a/sum.c s; patch -b -z .orig s p.diff 2>&1 >/dev/null </dev/null || echo status $?; rm -f s.rej
cp a/main.c m; patch -N --dry-run m <p.diff >/dev/null 2>&1 || echo status $?; rm -f m m.rej m.orig p.diff; ls
seq 1 100 >e; printf '5,10d\n1i\nfirst\n.\n%%s/9/nine/g\nw\nw other\nq\n' | ed -s e; wc -l e other; printf '$a\nlast\n.\nw\nq\n' | ed -s e; tail -n 1 e; printf 'r !echo by shell\nw\nq\n' | ed -s e; tail -n 1 e
bc <<<'2^100' >n; cat n; echo '1+1' >calc; bc -q calc </dev/null; file -b e calc; tree --noreport -a a | md5sum
`},
	{"vi", `
cd $D; seq 1 20 >f; chmod 640 f
ex -s -c '2,3d|wq' f; ex -s f <<END
1s/1/one/
w! copy
x
END
vim -u NONE -es -c 'set backup writebackup backupskip= backupcopy=yes' -c '%s/2/two/ge' -c 'wq' f; vim -u NONE -es -c 'set backupcopy=no' -c '$d' -c 'wq' f; vim -u NONE -es -c 'set undofile undodir=.' -c '1d' -c 'wq' copy; stat -c '%n %a' *; cat f
vim -u NONE -es -c 'e none' -c 'normal ihello' -c 'w' -c 'e f' -c 'sp copy' -c 'wqa' 2>/dev/null; cat none; ls -A | grep -v '^%'; rm -f .*.un~ %*
less f | tail -n 2; less -F -X f >out; cmp out f; echo | more f | wc -l; view -es -c q f </dev/null >/dev/null 2>&1 || true
`},
	{"cpio-zip-zstd", `
cp -r $C/project $D/a; cd $D; cp $DATA a/noise; ln a/noise a/hard; ln -s noise a/soft; chmod 711 a; touch -d 2004-04-04 a/* a
find a -depth -print0 | sort -z | cpio -0 -o --quiet >a.cpio; cpio -it --quiet <a.cpio | sort; mkdir x; (cd x; cpio -idm --quiet <../a.cpio; ls; stat -c '%a %h %Y' a/noise); diff -r --no-dereference a x/a
find a | sort | cpio -pdml --quiet y; [ a/noise -ef y/a/noise ] && echo linked; cpio -H newc -o --quiet <<<a/main.c | md5sum >/dev/null; find a -type f | cpio -H ustar -o --quiet | tar -t | sort
zip -q -r -y a.zip a; unzip -l a.zip | tail -n 1; mkdir z; unzip -q a.zip -d z; diff -r --no-dereference a z/a; zip -q -d a.zip 'a/noise'; zip -q -u a.zip a/main.c || echo status $?; unzip -t a.zip | tail -n 1; unzip -p a.zip a/small.h | md5sum; zipinfo -1 a.zip | sort
zstd -q a/noise -o n.zst; zstd -q -d n.zst -o n; cmp n a/noise; rm n.zst; zstd -q -T2 --rm n; zstdcat n.zst | md5sum; mkdir flat; zstd -q a/*.c --output-dir-flat flat; ls flat; tar --zstd -cf t.tzst a; tar -tf t.tzst | wc -l
rm -rf x y z flat; 7z 2>/dev/null >/dev/null || true; rm -f *.zst t.tzst a.zip a.cpio
`},
	{"busybox", `
cd $D; B=$(command -v busybox)
$B sh -c 'mkdir -p d/e; echo one >f; cat <f >>g; exec 5<f; read x <&5; echo $x; for i in 1 2 3; do echo $i; done >h; while read l; do echo got $l; done <h; cp -a d d2; mv g d; ln -s f s; ls -l s | sed "s/.*s ->/s ->/"; rm -r d2; (cd d; pwd; echo sub >k); cat d/k'
$B find . -type f | $B sort; $B grep -r one . | $B sort; $B sed -i s/one/ONE/ f; $B awk '{print NR, $1}' h; $B tar -cf t.tar d f; $B tar -tf t.tar | sort; $B gzip -k f; $B zcat f.gz; $B dd if=f of=dd bs=1 count=2 2>/dev/null; $B md5sum f h | $B md5sum -c; $B stat -c '%s %a' f; $B du -s d >/dev/null; $B truncate -s 10 h; $B wc -c h; $B tac f; $B vi -c ':wq' f </dev/null >/dev/null 2>&1 || true; $B diff f dd || echo differs; $B cpio -o -H newc <<<f 2>/dev/null | $B cpio -t 2>/dev/null
$B find . -name '*.gz' -exec rm {} +; $B rm -f t.tar
`},
	{"mksh", `
cd $D
mksh -c 'set -e; echo one >f; exec 3<f; read -u3 x; print $x; exec 3<&-; cat <<END >g
here $x
END
cat g; (cd /; cat '$D'/g); print -n more >>g; x=$(<f); print $x; for i in *; do print $i; done; f | cat 2>/dev/null || true; set -C; (echo x >f) 2>/dev/null || print kept; exec 4>h; print -u4 four; exec 4>&-; cat h; { print a; print b >&2; } >i 2>j; cat i j; let n=5; print $n | { read m; print $m >k; }; cat k; while read -r l; do print "[$l]"; done <g; trap "print bye >t" EXIT' 2>/dev/null; cat t
echo 'print script $1; exit 4' >s; mksh s x || echo status $?; mksh <s || echo status $?
`},
	{"lua", `
cd $D
cat >p.lua <<'END'
local f = assert(io.open('f', 'w')); for i = 1, 100 do f:write('line ', i, '\n') end; f:close()
local n = 0; for l in io.lines('f') do n = n + #l end; print(n)
f = io.open('f', 'r+'); f:seek('set', 5); print(f:read('n'), f:read('l'), f:seek('cur')); f:seek('end'); f:write('tail'); f:close()
f = io.open('f', 'a+b'); f:write('more'); f:seek('set'); print(#f:read('a')); f:setvbuf('full', 64); f:close()
print(os.rename('f', 'g'), os.remove('none')); print(io.open('none')); local p = io.popen('cat g | wc -l'); print((p:read('a'):gsub('%s', ''))); p:close()
package.path = './?.lua'; local m = io.open('m.lua', 'w'); m:write('return {answer = 42}'); m:close(); print(require('m').answer, dofile('m.lua').answer)
local t = os.tmpname(); os.remove(t); io.output('out'); io.write('by default'); io.close(); io.input('out'); print(io.read('a')); print(os.execute('test -s out'))
END
lua5.4 p.lua; lua5.4 - <p.lua >again; wc -l again; luac5.4 -o p.luac p.lua 2>/dev/null && lua5.4 p.luac >/dev/null; rm -f p.luac
`},
	{"cmake-ninja", `
cp -r $C/project $D/p; cd $D/p; rm Makefile
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.16)
project(small C)
enable_testing()
add_library(words SHARED words.c count.c)
add_library(sum STATIC sum.c)
add_executable(main main.c)
target_link_libraries(main words sum)
set_target_properties(main PROPERTIES BUILD_WITH_INSTALL_RPATH ON SKIP_BUILD_RPATH ON)
configure_file(small.h copy.h COPYONLY)
add_custom_command(OUTPUT made.txt COMMAND ${CMAKE_COMMAND} -E echo made >made.txt DEPENDS sum.c)
add_custom_target(made ALL DEPENDS made.txt)
install(TARGETS words sum DESTINATION lib)
install(FILES small.h DESTINATION include)
END
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release >$T/log 2>&1 || { cat $T/log; exit 1; }; cmake --build build -j2 >$T/log 2>&1 || { cat $T/log; exit 1; }; ninja -C build -n | tail -n 1
touch sum.c; ninja -C build 2>&1 | grep -c sum; cmake --install build --prefix $D/out >/dev/null; find $D/out -type f | sed "s#$D##" | sort; cmake -E compare_files build/copy.h small.h && echo same; cmake -E tar cf x.tar build/made.txt; cmake -E md5sum build/made.txt; nm -D out/lib/libwords.so 2>/dev/null || nm -D $D/out/lib/libwords.so | grep -c ' T '
rm -rf build out $D/out x.tar
`},
	{"gfortran", `
cd $D
cat >p.f90 <<'END'
program p
  implicit none
  integer :: i, n, u, ios
  real(8) :: a(1000), b(1000)
  character(40) :: line
  a = [(i * 0.5d0, i = 1, 1000)]
  open (newunit=u, file='raw', form='unformatted', access='stream')
  write (u) a
  close (u)
  open (newunit=u, file='raw', form='unformatted', access='stream', status='old')
  read (u, pos=8*10+1) b(1)
  print *, b(1)
  close (u)
  open (newunit=u, file='rec', form='unformatted', access='direct', recl=800)
  do i = 10, 1, -1
    write (u, rec=i) a(100*(i-1)+1:100*i)
  end do
  read (u, rec=7) b(1:100)
  print *, b(1)
  close (u)
  open (newunit=u, file='text')
  do i = 1, 50
    write (u, '(a,i0)') 'line ', i
  end do
  rewind (u)
  n = 0
  do
    read (u, '(a)', iostat=ios) line
    if (ios /= 0) exit
    n = n + 1
  end do
  print *, n
  backspace (u)
  backspace (u)
  read (u, '(a)') line
  print *, trim(line)
  endfile (u)
  close (u)
  open (newunit=u, file='text', position='append')
  write (u, '(a)') 'last'
  flush (u)
  inquire (unit=u, size=n)
  print *, n
  close (u)
  open (newunit=u, status='scratch', form='unformatted')
  write (u) a
  rewind (u)
  read (u) b
  print *, all(a == b)
  close (u)
  open (newunit=u, file='none', status='old', iostat=ios)
  print *, ios /= 0
  open (newunit=u, file='text')
  close (u, status='delete')
  call execute_command_line('ls')
end program
END
gfortran -w -o p p.f90; ./p; rm p
`},
	{"git-more", `
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' GIT_PAGER=cat GIT_EDITOR=true
git config --global safe.directory '*'; git config --global advice.detachedHead false
mkdir $D/r; cd $D/r; git init -q -b main .; for i in 1 2 3; do seq $i 40 >f$i; git add f$i; git commit -qm c$i; done; git checkout -q -b topic HEAD~1; echo x >x; git add x; git commit -qm x; git rebase -q main; git log --format=%s
git worktree add -q $D/w main; echo w >$D/w/w; git -C $D/w add w; git -C $D/w commit -qm w; git worktree remove $D/w; git cherry-pick main >/dev/null; echo dirty >>f1; git stash -q; git stash pop -q; git diff --stat
git gc -q --prune=now; git count-objects; git fsck --full 2>&1; git bundle create -q ../b.bundle --all; git clone -q ../b.bundle ../c -b main; git -C ../c rev-parse HEAD^{tree}; git mv f2 moved; git status --short; cd ..; rm -rf r c b.bundle
`},
	{"venv", `
cd $D; /usr/bin/python3 -m venv --without-pip --copies v; v/bin/python -c 'import sys, os; print(sys.prefix != sys.base_prefix, os.path.basename(sys.prefix))'; . v/bin/activate; python -c 'import sys; print(sys.prefix == "'$D'/v")'; deactivate
for d in v/lib/python3*/site-packages; do mkdir $d/own; echo 'value = 7' >$d/own/__init__.py; done; v/bin/python -c 'import own; print(own.value)'; printf '#!%s/v/bin/python\nprint("by the interpreter that lies here")\n' $D >s; chmod +x s; ./s; /usr/bin/python3 -m venv --without-pip u; u/bin/python -c 'print("linked")'; unset PYTHONDONTWRITEBYTECODE; v/bin/python -m compileall -q v/lib/python3*/site-packages/own; rm -rf v u
`},
}

// stores are libraries that keep data in files, by their tools.
var stores = []program{
	{"gdbm-lmdb", `
cd $D
seq 1 300 | awk '{print "store key" $1 " value" $1*$1}' >in; gdbmtool -n g.db <in; echo 'fetch key17' | gdbmtool g.db; echo count | gdbmtool g.db; (echo 'delete key5'; echo 'store key6 changed'; echo reorganize; echo count; echo 'fetch key6') | gdbmtool g.db; gdbm_dump g.db g.txt; gdbm_load g.txt h.db; echo count | gdbmtool -r h.db; rm -f g.txt g.db h.db
(echo VERSION=3; echo format=print; echo type=btree; echo mapsize=1048576; echo maxreaders=126; echo db_pagesize=4096; echo HEADER=END; seq 100 399 | awk '{print " k" $1; print " v" $1*3}'; echo DATA=END) >dump
mkdir env; mdb_load -f dump env; mdb_stat env | grep Entries; mdb_dump -p env | md5sum; mdb_copy env - | wc -c | awk '{print ($1 > 4096)}'; mdb_load -n -f dump single; mdb_dump -n -p single | md5sum; mkdir c; mdb_copy -c env c; mdb_dump -p c | grep -c v; printf 'VERSION=3\nformat=print\nHEADER=END\n zz\n last\nDATA=END\n' | mdb_load env; mdb_dump -p env | tail -n 3; rm -r env c single single-lock
`},
	{"sqlite-wal", `
cd $D
sqlite3 db 'pragma journal_mode=wal; create table t (n);'; seq 1 200 | awk 'BEGIN {print "begin;"} {print "insert into t values (" $1 ");"} END {print "commit;"}' | sqlite3 db
sqlite3 db 'select count(*), sum(n) from t; pragma wal_checkpoint(truncate); pragma integrity_check;'; for mode in delete truncate persist memory off; do sqlite3 db "pragma journal_mode=$mode; update t set n = n + 1; select sum(n) from t;"; done; sqlite3 db 'pragma locking_mode=exclusive; pragma journal_mode=wal; delete from t where n % 2; select count(*) from t;'; sqlite3 db 'pragma mmap_size=1000000; select count(*) from t;'; sqlite3 db 'pragma journal_mode=delete; vacuum into "copy";'; sqlite3 copy 'select count(*) from t'; rm -f db copy db-*
`},
	{"netcdf", `
cd $D
cat >t.cdl <<'END'
netcdf t { dimensions: time = UNLIMITED; x = 4; variables: int time(time); float v(time, x); v:units = "K"; data: time = 1, 2, 3; v = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12; }
END
for kind in classic 64-bit-offset netCDF-4 netCDF-4-classic; do ncgen -k "$kind" -o $kind.nc t.cdl; ncdump -k $kind.nc; ncdump -v v $kind.nc | tail -n 6; nccopy -k classic $kind.nc copy.nc; ncdump copy.nc | md5sum; done; nccopy -d 3 -s -c x/2 netCDF-4.nc packed.nc; ncdump -s -h packed.nc | grep -c Deflate; cmp classic.nc copy.nc && echo same; rm -f netCDF*.nc packed.nc
`},
}
