package preload_test

var shells = []program{
	{"bash", `
cd $D
cat >here <<END
variable $((1+2)) of $(basename $D)
END
cat <<'END' >>here
literal $D
END
cat here; while read -r line; do echo "got: $line"; done <here
exec 3>log; echo one >&3; echo two >&3; (echo three >&3; cd /; echo four >&3); exec 3>&-; cat log
exec 4<>log; read -r -u 4 x; echo "$x"; echo FIVE >&4; exec 4>&-; cat log
exec 5<log 6<&5; read -r a <&5; read -r b <&6; echo $a $b; exec 5<&- 6<&-
{ echo grouped; echo to stderr >&2; } >out 2>err; cat out err
{ echo both; echo streams >&2; } &>both; { echo more >&2; } &>>both; cat both
ls none >both 2>&1 || echo status $?; cat both
set -o noclobber; (echo x >here) 2>&1 | sed 's/.*: //'; echo forced >|out; set +o noclobber
(cd $T; pwd; cd $D; mkdir -p sub; cd sub; pwd; echo in sub >f); pwd; cat sub/f
diff <(sort here) <(sort -r here | sort) && echo same; cat <(cat here) | wc -l; tee >(wc -l >count) <here >/dev/null; for i in 1 2 3 4 5 6 7 8 9; do [ -s count ] || sleep 0.2; done; cat count
x=$(<here); echo ${#x}; mapfile -t lines <here; echo ${#lines[@]}; printf '%s\n' "${lines[@]}" >array
for f in *; do echo $f; done; echo s*/f; shopt -s globstar nullglob; echo **; echo none*; echo $D/h*
[[ -f here && -d sub && here -ot array || 1 -eq 1 ]] && echo tests
echo 'echo script $0 $*; exit 3' >script; bash script a b || echo status $?; (. ./script) || true
`},
	{"scripts", `
cd $D
printf '#!/bin/bash\necho "$0" "$@"; pwd\n' >run; chmod +x run; ./run a 'b c'; $D/run; PATH=$D:$PATH; run x
printf '#!/usr/bin/env -S bash -e\nfalse\necho no\n' >strict; chmod +x strict; strict || echo status $?
printf 'echo no first line: $0\n' >bare; chmod +x bare; ./bare; chmod -x bare; ./bare 2>/dev/null || echo status $?
printf '#!%s/run deep\n' $D >nested; chmod +x nested; ./nested y
cp /bin/echo own-echo; ./own-echo from here; cp /bin/ls own-ls; ./own-ls -d own-ls; env ./own-echo e; printf '#!./own-echo arg\n' >by-own; chmod +x by-own; ./by-own z
ln -s run linked; ./linked; ./none 2>/dev/null || echo status $?; $D 2>/dev/null || echo status $?
exec -a other bash -c 'echo $0; pwd; ls run'
`},
	{"background", `
cd $D
for i in 1 2 3 4; do (for j in 1 2 3 4 5 6 7 8 9 10; do echo $i $j; done >>appended) & done; wait; sort -o appended appended; wc -l <appended
nohup sh -c 'echo from nohup; pwd' >nohup.txt 2>/dev/null </dev/null & wait $!; cat nohup.txt
(trap 'echo trapped >trap' TERM; kill -TERM $BASHPID; sleep 0); cat trap; (trap 'echo bye >bye' EXIT); cat bye
seq 1 12 | xargs -P 3 -n 2 sh -c 'echo "$@" >out-$1; cat out-$1' x | sort
env -i $(command -v sh) -c 'pwd; echo clean >clean; cat clean; '$(command -v ls)' -d clean'
env -i PATH=$PATH bash -c "cat $D/clean; echo \${LD_PRELOAD:+kept}" | head -n 1
timeout 20 cat clean; nice cat clean; setsid -w cat clean; stdbuf -oL cat clean; time -p true 2>/dev/null
echo p | tee a b c | (cat; echo end) >d; cat d; yes | head -n 100000 | md5sum >y; cat y
coproc cat; echo co >&${COPROC[1]}; read -r l <&${COPROC[0]}; echo $l; eval "exec ${COPROC[1]}>&-"; wait
`},
	{"flock", `
cd $D
echo 0 >counter
for i in 1 2 3; do
  bash -c 'for j in 1 2 3 4; do flock lock bash -c "read -r n <counter; echo \$((n+1)) >counter"; done' &
done
(for j in 1 2 3 4; do (flock 9; read -r n <counter; echo $((n+1)) >counter) 9>>lock; done) &
wait; cat counter
exec 8>lock2; flock -n 8; flock -n lock2 true || echo held; (flock -n lock2 true) || echo held; flock -u 8; flock -n lock2 echo free
flock -s lock2 flock -s -n lock2 echo shared; flock -s lock2 flock -x -n lock2 true || echo refused
exec 8>&-; flock -w 0.2 lock2 true && echo free; flock lock2 -c 'echo by command; pwd'; flock . echo directory
`},
	{"descriptor-names", `
cd $D; echo text >f; exec 7<f 8>>g 9<.
readlink /proc/self/fd/7 /proc/$$/fd/7 /dev/fd/7; ls -l /proc/self/fd/7 /dev/fd/7 | sed 's/.*> //'
cat /proc/self/fd/7 /dev/fd/7 /proc/$$/fd/7; cat </dev/fd/7; cat /dev/stdin <f; (cd /proc/self/fd; cat 7)
echo more >/dev/fd/8; echo again >>/proc/self/fd/8; cat g; truncate -s 2 /dev/fd/8; stat -c %s g
stat -L -c '%s %F' /dev/fd/7 /proc/self/fd/7; stat -L -c %F /proc/self/fd/9; stat -c %F /proc/self/fd/7; test -f /dev/fd/7 -a -r /proc/self/fd/7; wc -c /dev/fd/7; [ /dev/fd/7 -ef f ] && echo same
cp /dev/fd/7 h; cmp f h; sed -n p /dev/stdin <f; realpath /dev/fd/7; readlink -f /proc/self/fd/7; chmod 600 /dev/fd/7; touch -d 2001-01-01 /proc/self/fd/7; stat -c '%a %Y' f
ls /proc/self/fd/9/; cat /proc/self/fd/9/f /dev/fd/9/f /proc/self/cwd/f; readlink /proc/self/cwd; (cd /dev/fd/9; pwd -P); cat /dev/fd/7/x 2>&1 || echo status $?
/usr/bin/python3 -c 'import os; print(os.stat("/proc/self/fd/7").st_size, open("/dev/fd/7").read(), os.path.exists("/proc/%d/fd/7"%os.getpid()), sorted(os.listdir("/proc/self/fd/9")))'
mkfifo $T/fifo; cat $T/fifo >/dev/null 7<f & p=$!; exec 5>$T/fifo; cat /proc/$p/fd/7; readlink /proc/$p/fd/7; stat -L -c %s /proc/$p/fd/7; exec 5>&-; wait $p
bash /dev/stdin <<<'echo from stdin'; rm f; cat /dev/fd/7; stat -L -c %s /dev/fd/7
`},
	{"script", `
cd $D; seq 1 5 >f
for i in 1 2 3; do script -qec "cat f; echo told >g" typescript-$i </dev/null >$T/out; grep -c '^[1-5]' typescript-$i; cat g; rm typescript-$i; done
script -qec 'exit 3' /dev/null </dev/null || echo status $?
`},
	{"dash-awk", `
cd $D
dash -c 'set -e; echo one >f; cat <f; exec 7>>f; echo two >&7; exec 7>&-; while read l; do echo got $l; done <f; cd /; cat '$D'/f; x=$(cat '$D'/f); echo $x; for i in '$D'/*; do echo $i; done
cat <<END >'$D'/g
here $x
END
cd '$D'; (cd ..; pwd >/dev/null); pwd; umask 077; : >h; rm -f h; test g -nt none || true; echo a | { read y; echo $y >i; }; true'
awk 'BEGIN {for (i = 0; i < 1000; i++) print i, i*i >"squares"; close("squares"); while ((getline l <"squares") > 0) s += length(l); print s; print "x" >>"squares"; print "sorted" | "cat >piped"; close("cat >piped"); "cat piped" | getline z; print z}'
awk '{s += $2} END {print s, NR, FILENAME}' squares; awk '{print >"mod-" ($1 % 3)}' squares; cat mod-* | wc -l
busybox true 2>/dev/null || true; ed -s g <<END 2>/dev/null || true
q
END
ex=$(printf 'b\na\n' | sort -o sorted -; cat sorted); echo $ex; bc </dev/null 2>/dev/null || true
cat f g >>all; cat - f <g | wc -l; cat all all | tail -n +2 | head -n 2; cat <all >>copy; cat all >>all 2>&1 || echo refused
`},
}
