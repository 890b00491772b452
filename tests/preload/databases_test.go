package preload_test

var databases = []program{
	{"python-sqlite", `cd $D; /usr/bin/python3 $C/database.py`},
	{"sqlite-shell", `
cd $D
sqlite3 db 'create table t (w, n, primary key (w, n)) without rowid;'
for w in 1 2; do (for n in 1 2 3 4 5; do sqlite3 -cmd '.timeout 60000' db "insert into t values ($w, $n);"; done) & done; wait
sqlite3 db 'select w, count(*), sum(n) from t group by w; pragma integrity_check; pragma journal_mode;'
sqlite3 db .dump >dump.sql; sqlite3 copy <dump.sql; sqlite3 copy 'select count(*) from t'; sqlite3 db '.backup saved'; cmp <(sqlite3 saved .dump) dump.sql && echo same
sqlite3 -csv db '.import '$C'/rows.csv rows' 'select count(*), sum(a) from rows'; sqlite3 db '.output out' 'select * from rows'; cat out
sqlite3 db 'begin; delete from t; rollback; select count(*) from t; vacuum; select count(*) from t'
rm db copy saved; ls
`},
	{"fio", `
cd $D
for engine in psync mmap sync pvsync; do
  fio --name=v --directory=$D --size=1M --bs=16k --rw=randwrite --ioengine=$engine --verify=crc32c --do_verify=1 --randseed=7 --output=$T/fio.txt --fallocate=none --end_fsync=1 >/dev/null || { cat $T/fio.txt; exit 1; }
  grep -o 'err= *[0-9]*' $T/fio.txt; rm v.0.0
done
fio --name=r --directory=$D --size=2M --nrfiles=4 --bs=64k --rw=randrw --ioengine=psync --numjobs=2 --group_reporting --output=$T/fio.txt --fallocate=posix >/dev/null; grep -o 'err= *[0-9]*' $T/fio.txt; ls; rm r.*
`},
}
