package preload_test

// trees are walks by what libc offers.
var trees = []program{
	{"fts", `
gcc -w -O1 -o $T/walks $C/walks.c
cd $D; mkdir -p d/a/b d/empty d/skipped/below d/z; echo one >d/a/one; echo two >d/a/b/two; echo three >d/z/three; echo x >file; ln -s d to-d; ln -s none to-none
ln -s ../a d/z/followed; ln -s .. d/a/cycle; ln -s nowhere d/dangling; ln -s a/one d/link; mkfifo $T/fifo; chmod 640 d/z/three; cp d/a/one d/skipped/below/deep
cd /; $T/walks $D >$T/told; wc -l <$T/told; grep -c ^== $T/told; cat $T/told
`},
}
