package preload_test

var coreutils = []program{
	{"copy-move-link-remove", `
cd $D
mkdir -p a/b/c a/e
seq 1 2000 >a/one
cp $DATA a/b/noise
echo two >a/b/c/two
chmod 640 a/one; chmod 751 a/b; chmod 4755 a/b/c/two
ln a/one a/b/hard
ln -s ../one a/b/soft
ln -s $D/a/one a/absolute
ln -s nowhere a/dangling
touch -d '2001-02-03 04:05:06.123456789' a/one a/b
touch -h -d '2002-02-03 04:05:06' a/b/soft
cp -a a copy
diff -r --no-dereference a copy
stat -c '%n %F %a %h %Y' copy/one copy/b copy/b/soft copy/b/hard
[ copy/one -ef copy/b/hard ]
cp -r a/b plain
cp -L a/b/soft followed
cp -P a/b/soft kept
cp -l a/b/noise linked
cp -s $D/a/b/noise symbolic
cp --parents a/b/c/two .. 2>/dev/null && rm -r ../a || echo no parents
cp -p a/b/c/two two; stat -c %a two
cp -u a/one followed
cp --backup=numbered a/b/c/two two; ls
cp -b -S .old a/one two; cat two.old || ls
cp nothing x 2>&1 || echo status $?
cp a x 2>&1 || echo status $?
mv two moved; mv moved a/; mv -n a/one a/moved; mv -T plain plain2
mv a/b $T/; mv $T/b back
mv back copy/b 2>&1; ls copy/b
mv copy copy/b 2>&1 || echo status $?
mv followed plain2/no/where 2>&1 || echo status $?
rmdir copy 2>&1 || echo status $?
rm copy 2>&1 || echo status $?
rm -r copy/b; rm -rf plain2 not-there; rm -v kept
rm -d a/e; unlink linked; link a/one another
ls -A
`},
	{"dd", `
cd $D
seq 1 500 >text
dd if=$DATA of=plain bs=4096 count=10 status=none
dd if=$DATA of=seek bs=1000 count=3 seek=5 skip=2 status=none
dd if=text of=plain bs=100 count=2 seek=3 conv=notrunc status=none
dd if=text of=ucase conv=ucase,sync bs=512 status=none
dd if=text of=swab conv=swab bs=64 status=none
dd if=text of=block conv=block cbs=10 status=none
dd if=block of=unblock conv=unblock cbs=10 status=none
dd if=text of=ebcdic conv=ebcdic status=none; dd if=ebcdic of=ascii conv=ascii status=none
dd if=ebcdic of=ibm conv=ibm status=none
dd if=text of=lcase conv=lcase status=none
dd if=/dev/zero of=sparse bs=64K count=4 conv=sparse status=none
dd if=text of=synced conv=fsync oflag=append status=none
dd if=text of=data conv=fdatasync oflag=dsync bs=1K status=none
dd if=text of=noerror conv=noerror,sync bs=333 status=none
dd if=text of=text conv=excl status=none 2>&1 || echo status $?
dd if=text of=none conv=nocreat status=none 2>&1 || echo status $?
dd if=text of=text oflag=append conv=notrunc bs=1 count=5 status=none
dd if=text iflag=skip_bytes,count_bytes skip=10 count=20 status=none
dd if=text of=direct oflag=direct bs=4096 count=1 conv=sync status=none
cat text | dd of=piped bs=100 iflag=fullblock status=none
dd if=plain bs=1M status=none | md5sum
dd <text >redirected bs=10 status=noxfer 2>&1
`},
	{"sort-split-tee", `
cd $D
export TMPDIR=$D
seq 1 20000 | awk '{print ($1*7919)%20011, $1}' >unsorted
sort -n -S 64K -T . unsorted >sorted
sort -S 32K --batch-size=3 unsorted -o unsorted
sort -c sorted 2>&1 || echo unsorted as text
sort -u -k1,1 sorted | wc -l
split -l 5000 sorted part-; split -b 30000 -d --additional-suffix=.bin sorted
split -n 3 sorted third-; split -n l/2/4 sorted | md5sum
csplit -s -f piece- sorted 100 '/^200 /' '{0}'
cat part-* | cmp - sorted
tee one two <sorted | wc -l
echo more | tee -a one >/dev/null
head -n 3 sorted; tail -n 2 sorted; tail -c 10 sorted; head -c -100 sorted | wc -c
tac sorted | head -n 2; nl -ba sorted | sed -n 5p
uniq -c one | head -n 2; cut -d' ' -f1 sorted | paste - - - | head -n 2
join sorted sorted 2>/dev/null | wc -l; comm -12 sorted two | wc -l
tr a-z0-9 A-J <two >translated; fold -w 20 sorted | wc -l; od -c sorted | head -n 2
shuf --random-source=$DATA sorted | md5sum
md5sum sorted one two >sums; md5sum -c sums; sha256sum sorted; cksum sorted; sum sorted; b2sum sorted
cmp sorted one || echo differs; diff sorted one || echo differs
wc unsorted sorted
expand two | unexpand -a | md5sum; fmt two | tail -n 1; pr -t two | head -n 2
`},
	{"truncate-touch-stat", `
cd $D
truncate -s 10000 a; truncate -s -500 a; truncate -s +1M a; truncate -s '<5000' a; truncate -s %4096 a; truncate -r a b; truncate -c -s 10 none
truncate -s 1G huge; ls -l huge | awk '{print $5}'; truncate -s 3 huge
touch -d '2000-01-01 00:00:00.5' a; touch -r a c; touch -a -d '2010-10-10' a; touch -m -d '2011-11-11' a
touch -c none; touch -t 200102030405.06 d
stat -c '%n %s %a %F %h %X %Y %U %u %g' a c d
stat -c %y a; stat -L -c '%s' a; stat -f -c %l .
mkdir dir; touch -d '1999-09-09' dir; stat -c '%F %a %Y' dir
fallocate -l 100000 f; fallocate -l 5000 -o 99000 f; fallocate -n -l 500000 f; stat -c %s f; cp $DATA h; fallocate -p -o 5000 -l 100000 h; fallocate -z -o 1040000 -l 20000 h; fallocate -z -n -o 1059999 -l 9000 h; md5sum h; stat -c %s h; fallocate -d h; md5sum h
touch dir/none/x 2>&1 || echo status $?
install -m 600 a installed; install -d -m 711 x/y/z; install -D -p -m 4711 a x/w/v; stat -c '%a' x/w/v x/y/z
mkdir -m 1777 sticky; mkdir -p -m 700 p/q
t=$(mktemp -p $D); [ -f $t ]; stat -c '%a %s' $t; rm $t
t=$(mktemp -d $D/tmp.XXXXXXXX.d); [ -d $t ]; stat -c %a $t; rmdir $t
t=$(mktemp -u -p $D); [ ! -e $t ]
chmod u=rw,g+s,o-r a; chmod -R go-w x; chown 0:0 a; chgrp 0 a; chown -R 0 x; chown -h 0:0 d
realpath a ./x/../b; readlink -f x/y/../w/v; pathchk $D/a; basename $D/a; dirname $D/a
ln -s x/y link; realpath link; readlink link; cd link; pwd; pwd -P; cd -P ..; pwd
test -f $D/a -a -r $D/a -a -w $D/a -a -s $D/a -a -d $D/x -a -L $D/link -a ! -e $D/none; [ $D/d -nt $D/c ]
df . | tail -n 1 | awk '{print $6, ($2 > 0)}' | sed 's/^[^ ]* /mounted /'; df -i $D/a >/dev/null
sync; sync a 2>&1 || true; sync $D/a; sync -f $D
`},
	{"list-find-grep", `
cd $D
mkdir -p src/lib src/.hidden 'src/with space'
for i in 1 2 3 4 5 6 7 8 9; do echo "line $i of file; needle $((i % 3))" >src/f$i.c; done
cp src/f1.c src/lib; cp src/f2.c src/.hidden/x; cp src/f3.c 'src/with space/new
line'
ln -s lib src/loop; ln -s ../.. src/lib/up; chmod 600 src/f4.c; head -c 100000 $DATA >src/bin; touch -d 2020-02-02 src src/* src/*/* src
touch -h -d 2020-02-02 src/loop src/lib/up
ls -lR --time-style=full-iso src | sed 's/^total .*/total/; s/^\(d[^ ]* *\)[0-9]* *\([^ ]* *[^ ]* *\)[0-9]*/\1\2/' | tr -s ' '
ls -a src; ls -1F src; ls -d src/*.c; ls -S src/*.c src/bin | head -n 2; ls -Q src/with*; ls -L src | wc -l; ls $D >/dev/null; ls -ln src/f1.c | awk '{print $1,$2,$3,$4,$5}'
ls none 2>&1 || echo status $?
find . | sort; find src -type f -name '*.c' -size -2 | sort
find $D -newermt 2021-01-01 -type f | sort; find src -perm 600; find src -type l -lname '*..' ; find -L src -maxdepth 2 -name '*.c' 2>/dev/null | sort
find src -name 'f[12].c' -exec cat {} +  | sort; find src -name f9.c -printf '%p %s %m %y %T@ %d\n'
find src -depth -name '.h*' -exec rm -r {} \; ; find src -name 'f8*' -delete; find src -empty -o -type d | sort
find src -samefile src/f1.c; find src -print0 | xargs -0 ls -d | sort | head -n 30
find src -execdir pwd \; | sort | uniq -c
grep -r needle src | sort; grep -rl 'needle 0' $D | sort; grep -c line src/f*.c; grep -rn --include='*.c' 'of file' . | wc -l
grep -q needle src/bin || echo binary; grep -R needle src 2>/dev/null | wc -l
du -a --apparent-size -b src/f*.c; du -s $D >/dev/null; du -sb --exclude='*' src >/dev/null; du -S src | wc -l
tree . 2>/dev/null >/dev/null || true; dir src/lib; vdir src/f1.c | awk '{print $1}'; file src/f1.c 2>/dev/null >/dev/null || true
sed -i 's/needle/pin/' src/f1.c src/f2.c; sed -i.bak '1d' src/f3.c; sed -i --follow-symlinks 's/line/LINE/' src/loop/f1.c; cat src/f1.c src/lib/f1.c
sed -n 'w out
p' src/f5.c; sed 's/x/y/' src/f6.c src/f7.c; sed -s -i '1i first' src/f5.c src/f6.c
`},
	{"root", `
[ "$D" != /benchfs/root ] || r=/benchfs
r=$(dirname $D)
cd $r
ls -la $r | awk '$9 == "." || $9 == ".." {print $9}'
ls -la $D/.. | awk '$9 == "." || $9 == ".." {print $9}'
ls -la . | awk '$9 == "." || $9 == ".." {print $9}'
ls -a / >/dev/null; ls -d $D/../root; [ -d $r/.. ]; stat -c %F $r/.. $r/. $r
find $D/.. -maxdepth 0 -type d | wc -l
cd $D; mkdir x; cd x; ls -d ../../root; cat ../../../etc/passwd >/dev/null 2>&1 || true
cd ../..; pwd | grep -c .; cd root/x; cd ..; pwd; rmdir x
du -s . >/dev/null; (cd $D && cd .. && ls -d root)
mkdir $r 2>&1 | sed 's/.*: //' || echo exists; rmdir $r 2>/dev/null || echo no
`},
}
