package preload_test

var languages = []program{
	{"python-files", `cd $D; /usr/bin/python3 $C/files.py`},
	{"python-processes", `cd $D; /usr/bin/python3 $C/processes.py`},
	{"python-package", `
mkdir -p $D/package/sub; cd $D
echo 'from .sub import value' >package/__init__.py; echo 'value = 42' >package/sub/__init__.py; echo 'import package, sys; print(package.value, sys.argv, __file__)' >main.py
unset PYTHONDONTWRITEBYTECODE
/usr/bin/python3 main.py x; cd /; /usr/bin/python3 $D/main.py; PYTHONPATH=$D /usr/bin/python3 -m package.sub 2>&1 || true
find $D -name '*.pyc' | wc -l; find $D -name __pycache__ -exec rm -r {} +
echo 'print("from stdin")' >$D/in.py; /usr/bin/python3 <$D/in.py; /usr/bin/python3 - <$D/in.py; /usr/bin/python3 -c 'print(open("'$D'/in.py").read())' >$D/out
`},
	{"perl", `
cd $D
cat >p.pl <<'END'
use strict; use warnings; use File::Find; use File::Copy; use File::Temp qw(tempfile tempdir); use File::Path qw(make_path remove_tree); use Cwd; use Fcntl qw(:flock :seek); use IO::Handle;
open(my $f, '+>', 'f') or die $!; print $f "line $_\n" for 1..1000; seek($f, 0, SEEK_SET); my @l = <$f>; print scalar(@l), "\n"; truncate($f, 100); close $f; print -s 'f', "\n";
open($f, '>>', 'f'); flock($f, LOCK_EX) or die; print $f "tail"; close $f; open($f, '<', 'f'); sysseek($f, -4, SEEK_END); sysread($f, my $b, 10); print "$b\n"; close $f;
make_path('x/y/z'); copy('f', 'x/y/g'); move('x/y/g', 'x/h'); symlink 'h', 'x/s'; link 'f', 'x/l'; print readlink('x/s'), (stat 'f')[3], "\n";
find({wanted => sub { print "$File::Find::name\n" if -f || -l }, preprocess => sub { sort @_ }}, 'x');
opendir(my $d, 'x'); my @e = sort grep { !/^\./ } readdir $d; rewinddir $d; my $n = () = readdir $d; closedir $d; print "@e $n\n";
my ($t, $name) = tempfile(DIR => '.'); print $t 'x'; close $t; print -e $name ? "there\n" : "gone\n"; unlink $name; my $td = tempdir(DIR => '.', CLEANUP => 1); print -d $td ? "dir\n" : '';
chmod 0600, 'f'; utime 1000, 2000, 'f'; print join(' ', (stat 'f')[8,9]), "\n"; rename 'f', 'g'; chdir 'x' or die; print getcwd() eq "$ENV{D}/x" ? "cwd\n" : getcwd()."\n"; chdir '..';
my $pid = fork; if (!$pid) { open(my $c, '>', 'child'); print $c "child\n"; exit 5 } waitpid($pid, 0); print $? >> 8, "\n"; print scalar <STDIN>; print while (<g>);
print map { "$_\n" } sort glob('x/* g'); print qx(cat child); system('cat child >system'); open(my $p, '|-', 'cat >piped') or die; print $p "to pipe\n"; close $p; open($p, '-|', 'cat', 'piped'); print <$p>;
open(STDOUT, '>', 'stdout') or die; print "redirected\n"; system('echo by a child'); STDOUT->flush; remove_tree('x/y');
END
echo input | perl p.pl; cat stdout; perl -i.bak -pe 's/line/LINE/' g; head -n 1 g; perl -ne 'print if eof' g g.bak
`},
}
