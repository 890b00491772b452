// Package ior_test drives the backend for IOR and mdtest (ior/aiori-BENCHFS.c) by a stand-in for these programs (src/), with MPI ranks on real
// daemons. It needs `make build` and both MPI libraries (`make deps-mpi`).
package ior_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/bindings"
)

// strict: the warnings that the backend has to be free of, in the dialect in which IOR is compiled.
var strict = []string{"-std=gnu11", "-Itests/ior/include"}

// programs is a directory for what is compiled once.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "benchfs-ior-"); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(status)
}

// standin compiles the backend and the stand-in.
func standin(t *testing.T, m bindings.MPI, flags ...string) string {
	t.Helper()
	out := filepath.Join(programs, m.Name+strings.Join(flags, ""))
	if _, err := os.Stat(out); err == nil {
		return out
	}
	sources, err := filepath.Glob(filepath.Join(bindings.Top(t), "tests/ior/src/*.c"))
	if err != nil || len(sources) != 3 {
		t.Fatalf("sources: %v, %v", sources, err)
	}
	m.Compile(t, out, slices.Concat(strict, flags, []string{"ior/aiori-BENCHFS.c"}, sources)...)
	return out
}

// variables are those of a cluster's clients.
func variables(c *cluster.Cluster) []string {
	var list []string
	for k, v := range c.Env() {
		list = append(list, k+"="+v)
	}
	return list
}

// ranks runs a program on a cluster (nil: without one) and returns what it prints. 0 ranks: one, which mpirun has not started. Each rank prints
// to a file: mpirun may lose what a rank has said before it ended the run.
func ranks(t *testing.T, m bindings.MPI, c *cluster.Cluster, n int, line ...string) (string, error) {
	t.Helper()
	more := []string{}
	if c != nil {
		more = variables(c)
	}
	if n == 0 {
		return bindings.Try(t, m.Variables(more...), line[0], line[1:]...)
	}
	said := filepath.Join(t.TempDir(), "said")
	line = m.Command(n, "sh", append([]string{"-c", `exec "$@" >>"$0" 2>&1`, said}, line...)...)
	out, err := bindings.Try(t, m.Variables(more...), line[0], line[1:]...)
	text, missing := os.ReadFile(said)
	if missing != nil {
		t.Fatalf("no rank has begun: %v\n%s", missing, out)
	}
	return string(text) + out, err
}

// good runs what must end well, without a warning.
func good(t *testing.T, m bindings.MPI, c *cluster.Cluster, n int, line ...string) string {
	t.Helper()
	out, err := ranks(t, m, c, n, line...)
	if err != nil || !strings.Contains(out, "\n0 errors, 0 warnings\n") {
		t.Fatalf("%v: %v\n%s", line[1:], err, out)
	}
	return out
}

// contains complains about what is missing in out.
func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

const sessionKept = "session after finalize: lives, after MPI_Finalize: ended"

// The tests of a script share one session, whose end is MPI's.
func TestPhasesOfIOR(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	for _, m := range []bindings.MPI{bindings.OpenMPI, bindings.MPICH} {
		t.Run(m.Name, func(t *testing.T) {
			program := standin(t, m)
			out := good(t, m, c, 3, program, "ior",
				"-w", "-W", "-R", "-C", "-s", "3", "-t", "64k", "-b", "1m", "-G", "1", "-o", "/shared", "--then",
				"-w", "-W", "-R", "-C", "-F", "-e", "-i", "2", "-t", "47008", "-b", "470080", "-G", "2", "-o", "/each", "--then",
				"-w", "-R", "-z", "-Y", "-t", "4096", "-b", "256k", "-G", "3", "-o", "/random", "--then",
				"-w", "-R", "-u", "-F", "-G", "4", "-o", "/unique", "--then",
				"-w", "-k", "-t", "1m", "-b", "4m", "-G", "5", "-o", "/kept-"+m.Name, "--then",
				"-R", "-C", "-t", "512k", "-b", "4m", "-G", "5", "-o", "/kept-"+m.Name)
			contains(t, out, sessionKept)
			t.Log(strings.Join(regexp.MustCompile("(?m)^(initialize|finalize): .*$").FindAllString(out, -1), "\n"))
		})
	}
}

func TestPhasesOfMdtest(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	// The table of release 4.0 too.
	for m, program := range map[*bindings.MPI]string{&bindings.OpenMPI: standin(t, bindings.OpenMPI, "-DSTANDIN_IOR_4_0"), &bindings.MPICH: standin(t, bindings.MPICH)} {
		for i, args := range [][]string{
			{"-n", "12", "-z", "2", "-b", "2", "-w", "3904", "-e", "3904", "-X", "--verify-write", "-N", "1", "-i", "2", "-y"},
			{"-n", "10", "-u", "-Y", "-z", "1", "-b", "3"},
			{"-n", "8", "-c", "-F", "-w", "100000", "-e", "100000", "-X", "--verify-write"},
			{"-n", "8", "-k", "-F", "-N", "1"},
		} {
			if m.Name == bindings.OpenMPI.Name && i%2 == 1 {
				continue // half a second each to start its ranks
			}
			t.Run(fmt.Sprintf("%s-%d", m.Name, i), func(t *testing.T) {
				contains(t, good(t, *m, c, 3, append([]string{program, "mdtest", "-d", "/md"}, args...)...), sessionKept)
			})
		}
	}
	if out := tool(t, c, "ls", "/"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// tool runs bin/benchfs on a cluster.
func tool(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	return bindings.Run(t, variables(c), filepath.Join(bindings.Top(t), "bin/benchfs"), args...)
}

var operation = regexp.MustCompile(`"(\w+)":(\d+)`)

// operations are the calls that rank 0 has made so far, at the end of each test with --benchfs.stats.
func operations(t *testing.T, out string) []map[string]int {
	t.Helper()
	var tests []map[string]int
	for line := range strings.Lines(out) {
		_, after, found := strings.Cut(line, `"operations":{`)
		if !found {
			continue
		}
		calls, _, _ := strings.Cut(after, "}")
		counts := map[string]int{}
		for _, m := range operation.FindAllStringSubmatch(calls, -1) {
			counts[m[1]], _ = strconv.Atoi(m[2])
		}
		tests = append(tests, counts)
	}
	return tests
}

// A sync is asked for as often as the options say and no more; the counters of a session go on over finalize and initialize, and begin anew
// with a session of other options.
func TestSyncsAndSessions(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	m := bindings.MPICH
	program := standin(t, m)
	const stats = "--benchfs.stats"
	out := good(t, m, c, 2, program, "ior",
		stats, "-w", "-t", "64k", "-b", "512k", "-o", "/a", "--then",
		"-w", "-t", "64k", "-b", "512k", "-o", "/b", "-e", "--then",
		"-w", "-t", "64k", "-b", "512k", "-o", "/c", "-Y", "--then",
		"-w", "-t", "64k", "-b", "512k", "-o", "/d", "-Y", "--benchfs.layout=hash")
	got := operations(t, out)
	if len(got) != 4 {
		t.Fatalf("%d counters:\n%s", len(got), out)
	}
	for i, want := range []struct{ write, fsync int }{{8, 0}, {16, 1}, {24, 9}, {8, 8}} {
		if got[i]["write"] != want.write || got[i]["fsync"] != want.fsync {
			t.Errorf("after test %d: %d writes and %d syncs, not %+v", i, got[i]["write"], got[i]["fsync"], want)
		}
	}
	for flag, want := range map[string]int{"-y": 7, "-Y": 5, "-X": 0} { // five phases
		out := good(t, m, c, 2, program, "mdtest", stats, "-F", "-n", "7", "-w", "1000", "-d", "/md", flag)
		if got := operations(t, out); len(got) != 1 || got[0]["write"] != 7 || got[0]["fsync"] != want {
			t.Errorf("%s: %v, not 7 writes and %d syncs", flag, got, want)
		}
	}
}

// A rank that creates a shared file does not cut what others have written, nor a file that was to stay.
func TestCreateDoesNotTruncate(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	m := bindings.OpenMPI
	program := standin(t, m)
	good(t, m, c, 2, program, "ior", "-w", "-k", "-t", "64k", "-b", "1m", "-G", "1", "-o", "/f")
	// Half the bytes: the stand-in warns of the size, which is still the old one.
	out, err := ranks(t, m, c, 2, program, "ior", "-w", "-R", "-E", "-k", "-t", "64k", "-b", "512k", "-G", "2", "-o", "/f")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, out, "/f has 2097152 bytes, not 1048576", "0 errors")
	if out := good(t, m, c, 2, program, "ior", "-w", "-R", "-t", "64k", "-b", "512k", "-G", "3", "-o", "/f"); !strings.Contains(out, "/f is there already, 2097152 bytes") {
		t.Errorf("stat does not see it:\n%s", out)
	}
}

func TestLayouts(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	m := bindings.MPICH
	program := standin(t, m)
	write := func(args ...string) (string, error) {
		return ranks(t, m, c, 2, append([]string{program, "ior", "-w", "-R", "-k", "-o"}, args...)...)
	}
	for i, test := range []struct {
		args []string
		want string
	}{
		{nil, "round_robin, chunks of 4.0 MiB"},
		{[]string{"--benchfs.chunk-size=64k"}, "round_robin, chunks of 64 KiB"},
		{[]string{"--benchfs.layout", "hash"}, "hash, chunks of 4.0 MiB"},
		{[]string{"--benchfs.layout=local", "--benchfs.chunk-size=1m"}, "local, chunks of 1.0 MiB"},
	} {
		name := fmt.Sprintf("/f%d", i)
		if out, err := write(append([]string{name}, test.args...)...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		contains(t, strings.ReplaceAll(tool(t, c, "stat", name), "64.0", "64"), "layout  "+test.want)
	}
	// The option comes before the environment. A file that has another layout is no measurement of the one that was asked for.
	line := m.Command(2, program, "ior", "-w", "-k", "-o", "/g", "--benchfs.layout=hash")
	bindings.Run(t, m.Variables(append(variables(c), "BENCHFS_LAYOUT_STRATEGY=local", "BENCHFS_LAYOUT_CHUNK_SIZE=2MiB")...), line[0], line[1:]...)
	contains(t, tool(t, c, "stat", "/g"), "layout  hash, chunks of 2.0 MiB")
	out, err := write("/g", "-E", "--benchfs.chunk-size=1m")
	if err == nil {
		t.Error("an existing file of another layout is taken")
	}
	contains(t, out, "ERROR: BENCHFS: /g has the layout hash with chunks of 2097152 bytes")
}

var fileSystem = regexp.MustCompile(`file system: (\d+) bytes, (\d+) free, (\d+) available, (\d+) inodes, (\d+) free`)

func TestStatfs(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: map[string]string{"store.capacity": "320MiB"}})
	m := bindings.OpenMPI
	out := good(t, m, c, 1, standin(t, m), "ior", "-w", "-k", "-b", "32m", "-t", "1m", "-o", "/f", "--then", "-r", "-b", "32m", "-o", "/f")
	found := fileSystem.FindAllStringSubmatch(out, -1)
	if len(found) != 2 {
		t.Fatalf("%v\n%s", found, out)
	}
	number := func(text string) (n uint64) { n, _ = strconv.ParseUint(text, 10, 64); return n }
	before, after := found[0], found[1]
	if number(before[1]) != 640<<20 || number(after[1]) != 640<<20 {
		t.Errorf("size %s, %s", before[1], after[1])
	}
	if used := number(before[2]) - number(after[2]); used < 32<<20 || used > 40<<20 {
		t.Errorf("32 MiB take %d bytes", used)
	}
	if before[2] != before[3] || number(after[4])-number(after[5]) != 2 {
		t.Errorf("%v, %v", before, after)
	}
}

func TestErrorsEndTheRun(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Settings: map[string]string{"store.capacity": "128MiB", "store.segment": "64MiB"}})
	empty := filepath.Join(t.TempDir(), "registry")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "benchfs.toml")
	text := fmt.Sprintf("[cluster]\nregistry_dir = %q\nexpected_nodes = 3\njoin_timeout = \"300ms\"\n", empty)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := bindings.MPICH
	program := standin(t, m)
	good(t, m, c, 0, program, "ior", "-w", "-k", "-o", "/short", "-b", "2m")
	tool(t, c, "mkdir", "/full", "/md", "/md/test-dir.0-0", "/md/test-dir.0-0/mdtest_tree.0.0")
	for name, test := range map[string]struct {
		c     *cluster.Cluster
		args  []string
		wants []string
	}{
		"chunk size":       {c, []string{"ior", "-w", "--benchfs.chunk-size=100k"}, []string{"ERROR: --benchfs.chunk-size: 102400 is no power of two"}},
		"no number":        {c, []string{"mdtest", "-d", "/x", "--benchfs.chunk-size=much"}, []string{"ERROR: --benchfs.chunk-size: -1 is no"}},
		"layout":           {c, []string{"mdtest", "-d", "/x", "--benchfs.layout=raid"}, []string{`ERROR: --benchfs.layout: "raid" is none of round_robin, hash, local`}},
		"no such file":     {c, []string{"ior", "-r", "-o", "/nothing"}, []string{`open "/nothing"`, "no such file or directory"}},
		"no such place":    {c, []string{"ior", "-w", "-o", "/no/where"}, []string{`open "/no/where"`}},
		"file ends":        {c, []string{"ior", "-r", "-o", "/short", "-t", "1m", "-b", "3m"}, []string{"WARNING: BENCHFS: the file ends at ", "moved 0 of 1048576 bytes at "}},
		"one attempt":      {c, []string{"ior", "-r", "-o", "/short", "-t", "3m", "-b", "3m", "--singleXferAttempt"}, []string{"one attempt moved 2097152 of 3145728", "moved 2097152 of 3145728"}},
		"full":             {c, []string{"ior", "-w", "-o", "/full/f", "-t", "1m", "-b", "128m"}, []string{"no space", "ERROR: moved "}},
		"no daemons":       {nil, []string{"ior", "-w", "--benchfs.config", config}, []string{"cannot start: no answer by the deadline", "node 0, node 1, node 2 not published"}},
		"no file of it":    {nil, []string{"mdtest", "-d", "/x", "--benchfs.config=/nothing.toml"}, []string{"/nothing.toml: cannot open"}},
		"-1 and no errno":  {c, []string{"mdtest", "-n", "1", "-d", "/md"}, []string{"WARNING: BENCHFS: mkdir", "WARNING: cannot create tree directory /md/test-dir.0-0/mdtest_tree.0.0"}},
		"not a directory":  {c, []string{"mdtest", "-n", "1", "-d", "/short"}, []string{"WARNING: BENCHFS: mkdir", "cannot create test directory"}},
		"directory for IO": {c, []string{"ior", "-w", "-o", "/full"}, []string{"WARNING: BENCHFS: unlink", `ERROR: BENCHFS: open "/full"`}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ranks(t, m, test.c, 0, append([]string{program}, test.args...)...)
			if err == nil && name != "-1 and no errno" {
				t.Error("status 0")
			}
			contains(t, out, test.wants...)
		})
	}
}

// A daemon that is killed in the middle ends the run, with the reason.
func TestAKilledDaemonEndsTheRun(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: map[string]string{"rpc.call_timeout": "1s"}})
	m := bindings.MPICH
	program := standin(t, m)
	for i, line := range [][]string{
		{"ior", "-w", "-R", "-t", "64k", "-b", "8m", "-i", "1000000", "-k", "-E", "-o", "/begun-0"},
		{"mdtest", "-n", "100", "-i", "1000000", "-d", "/begun-1"},
	} {
		type ending struct {
			out string
			err error
		}
		ended := make(chan ending, 1)
		go func() {
			out, err := ranks(t, m, c, 0, append([]string{program}, line...)...)
			ended <- ending{out, err}
		}()
		deadline := time.Now().Add(20 * time.Second)
		for {
			if _, err := bindings.Try(t, variables(c), filepath.Join(bindings.Top(t), "bin/benchfs"), "stat", fmt.Sprintf("/begun-%d", i)); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not begin", line[0])
			}
		}
		c.Kill(1)
		end := <-ended
		if end.err == nil {
			t.Errorf("%s: status 0", line[0])
		}
		if !regexp.MustCompile(`ERROR: BENCHFS: .*(no route to host|no answer by the deadline)`).MatchString(end.out) {
			t.Errorf("%s does not say why it ends:\n%s", line[0], end.out)
		}
		if err := c.Launch(1); err != nil {
			t.Fatal(err)
		}
		c.WaitReady()
	}
}

// Without daemons: a dry run needs none, and one rank has a file system in itself.
func TestWithoutDaemons(t *testing.T) {
	m := bindings.OpenMPI
	program := standin(t, m)
	out, err := ranks(t, m, nil, 2, program, "ior", "--dryRun", "-w", "-r", "-e", "-u", "-F", "-o", "/d/f")
	if err != nil || !strings.Contains(out, "session after finalize: ended, after MPI_Finalize: ended") {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	contains(t, good(t, m, nil, 0, program, "ior", "-w", "-R", "-W", "-z"), sessionKept)
	// Two ranks would have two.
	if out, err := ranks(t, m, nil, 2, program, "ior", "-w", "-o", "/f"); err == nil || !strings.Contains(out, "each rank would have a file system of its own") {
		t.Errorf("%v\n%s", err, out)
	}
}

// `make ior` compiles against a source tree, here one with the headers of the stand-in, and says what it wants when there is none.
func TestMakeIOR(t *testing.T) {
	tree := t.TempDir()
	if err := os.Symlink(filepath.Join(bindings.Top(t), "tests/ior/include"), filepath.Join(tree, "src")); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []string{"", "-DSTANDIN_IOR_4_0"} {
		out := bindings.Run(t, []string{"MPICC=mpicc.mpich", "IOR_CFLAGS=" + flags}, "make", "-s", "ior", "IOR_SRC="+tree)
		contains(t, out, "aiori-BENCHFS.o: compiled")
	}
	for source, want := range map[string]string{"": "make ior IOR_SRC=/path/to/ior", t.TempDir(): "has no src/aiori.h"} {
		out, err := bindings.Try(t, nil, "make", "-s", "ior", "IOR_SRC="+source)
		if err == nil {
			t.Errorf("IOR_SRC=%q: status 0", source)
		}
		contains(t, out, want)
	}
}

// The commands of the document, with the stand-in in the place of IOR and mdtest, and its list of options.
func TestDocument(t *testing.T) {
	m := bindings.OpenMPI
	program, dir := standin(t, m), t.TempDir()
	for _, name := range []string{"ior", "mdtest"} {
		text := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", program, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	bindings.Follow(t, "docs/ior.md", m.Variables("PATH="+dir+":"+os.Getenv("PATH")))
	option := regexp.MustCompile(`benchfs\.[a-z-]+`)
	names := func(path, pattern string) (list []string) {
		text, err := os.ReadFile(filepath.Join(bindings.Top(t), path))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile("(?m)^ *"+pattern+".*$").FindAllString(string(text), -1) {
			list = append(list, option.FindString(line))
		}
		slices.Sort(list)
		return list
	}
	document, source := names("docs/ior.md", "\\| `--benchfs"), names("ior/aiori-BENCHFS.c", `\{0, "benchfs`)
	if len(source) == 0 || !slices.Equal(document, source) {
		t.Errorf("the document has %v, the backend %v", document, source)
	}
}
