package preload_test

var archives = []program{
	{"tar", `
mkdir -p $T/in/d/e; cd $T/in
seq 1 3000 >d/text; cp $DATA noise; truncate -s 3M sparse; echo middle | dd of=sparse bs=1M seek=1 conv=notrunc status=none
ln noise d/hard; ln -s ../noise d/e/soft; ln -s /no/where d/dangling; chmod 600 d/text; chmod 2751 d/e
touch -d '2005-05-05 05:05:05' d/text noise sparse d/e
tar -C $T/in -cSf $D/in.tar .
cd $D
tar -tf in.tar | sort; mkdir out; tar -C out -xpf in.tar; tar -C out -df in.tar
diff -r --no-dereference $T/in out; stat -c '%a %Y %h' out/d/text out/d/e out/noise out/sparse
tar -czSf back.tgz -C out .; mkdir $T/back; tar -C $T/back -xpzf back.tgz; diff -r --no-dereference $T/in $T/back
stat -c '%a %Y %h' $T/back/d/text $T/back/d/e $T/back/noise; rm back.tgz
tar -cf - out | (mkdir pipe; cd pipe; tar -xf -); diff -r --no-dereference out pipe/out
tar -rf in.tar -C out ./d/text; tar --delete -f in.tar ./noise; tar -tvf in.tar | awk '{print $1, $6, $7, $8}' | sort
tar -cf excluded.tar --exclude='*/e' out; tar -tf excluded.tar | sort; tar -xOf in.tar ./d/text | md5sum
tar --listed-incremental=snap -cf inc.tar out; echo new >out/new; tar --listed-incremental=snap -cf inc2.tar out; tar -tf inc2.tar | grep -c new
tar --remove-files -cf gone.tar pipe; [ ! -e pipe ]; mkdir x; tar -xf gone.tar -C x --strip-components=1 --keep-old-files
rm snap inc.tar inc2.tar gone.tar excluded.tar in.tar; tar -cf a.tar none 2>/dev/null || echo status $?
rm -f a.tar
`},
	{"compress", `
cd $D
seq 1 30000 >text; cp $DATA noise; touch -d 2003-03-03 text
gzip -k text; gzip -t text.gz; gzip -dc text.gz | cmp - text; gzip -n noise; gunzip noise.gz; cmp noise $DATA; stat -c %Y text.gz
zcat text.gz | tail -n 1; zgrep -c 77 text.gz; gzip text 2>&1 </dev/null || echo status $?; gzip -f text; gunzip text.gz
xz -k -T2 text; xz -l text.xz >/dev/null; xzcat text.xz | md5sum; rm text; unxz text.xz; stat -c '%Y %s' text
bzip2 -k text; bzcat text.bz2 | md5sum; rm text.bz2
tar -cJf t.tar.xz text; tar -tf t.tar.xz; tar -cf - text | gzip -n -1 | gunzip | tar -tf -; rm t.tar.xz
`},
	{"rsync", `
mkdir -p $T/in/a/b; cd $T/in
for i in 1 2 3 4 5; do seq $i 900 >a/f$i; done; cp $DATA a/b/noise; ln a/f1 a/hard; ln -s f2 a/soft; chmod 600 a/f3; truncate -s 1M a/sparse
touch -d '2006-06-06 06:06:06' a/* a/b/* a .
rsync -aH --delete $T/in/ $D/one/
cd $D; diff -r --no-dereference $T/in one; stat -c '%a %Y %h' one/a/f1 one/a/b one/a/f3
rsync -a --delete --itemize-changes $T/in/ one/
echo extra >one/extra; echo changed >>one/a/f2; rm one/a/f4; printf x | dd of=$T/in/a/b/noise bs=1 seek=5000 conv=notrunc status=none
rsync -rlpt --delete -i --no-W --checksum $T/in/ one/ | sort
rsync -aS --inplace --delete one/ two/; rsync -a --delete two/ $T/back/; diff -r --no-dereference $T/in $T/back
rsync -a --remove-source-files --exclude=b two/a/ three/; find two -type f | sort; rsync -a --link-dest=$D/one one/ four/; [ one/a/f5 -ef four/a/f5 ]
rsync -a -b --suffix=.old --partial $T/in/a/f5 three/f1; rsync -n -a --delete one/ empty/; [ ! -e empty ]
`},
}
