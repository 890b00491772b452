// Package mpi_test runs programs (src/) whose MPI ranks are clients of real daemons: with Open MPI, also on UCX, and with MPICH, which Debian builds
// on UCX, so that MPI and BenchFS both use UCX in one process. It needs `make build` and both libraries (`make deps-mpi`).
package mpi_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/bindings"
)

// program compiles one of src with every library, and gives it by the compiler's name.
func program(t *testing.T, name string) func(m bindings.MPI) string {
	t.Helper()
	source := "tests/mpi/src/" + name + ".c"
	dir := t.TempDir()
	openmpi, mpich := filepath.Join(dir, "openmpi"), filepath.Join(dir, "mpich")
	bindings.OpenMPI.Compile(t, openmpi, source, "-lpthread")
	bindings.MPICH.Compile(t, mpich, source, "-lpthread")
	return func(m bindings.MPI) string {
		if m.Name == bindings.MPICH.Name {
			return mpich
		}
		return openmpi
	}
}

// run starts ranks on a cluster and returns what they print, which has to include want.
func run(t *testing.T, c *cluster.Cluster, m bindings.MPI, ranks int, want string, more []string, program string, args ...string) string {
	t.Helper()
	variables := m.Variables(more...)
	for k, v := range c.Env() {
		variables = append(variables, k+"="+v)
	}
	line := m.Command(ranks, program, args...)
	if ranks > 4 {
		line = append(twoCores(t), line...)
	}
	out := bindings.Run(t, variables, line[0], line[1:]...)
	if !strings.Contains(out, want) {
		t.Errorf("it does not say %q: %s", want, out)
	}
	return out
}

// twoCores is the beginning of a command that keeps it to two of the cores that this process may use.
func twoCores(t *testing.T) []string {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	var cores []string
	for i := 0; len(cores) < min(2, set.Count()); i++ {
		if set.IsSet(i) {
			cores = append(cores, strconv.Itoa(i))
		}
	}
	return []string{bindings.Tool(t, "", "taskset"), "-c", strings.Join(cores, ",")}
}

// each runs a test with each library.
func each(t *testing.T, test func(t *testing.T, m bindings.MPI)) {
	for _, m := range bindings.MPIs {
		t.Run(m.Name, func(t *testing.T) { test(t, m) })
	}
}

// BenchFS begins and ends before and after MPI does.
func TestOrder(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	order := program(t, "order")
	each(t, func(t *testing.T, m bindings.MPI) {
		for _, o := range [][2]string{{"before", "before"}, {"before", "after"}, {"after", "before"}, {"after", "after"}} {
			run(t, c, m, 2, "begins "+o[0]+" and ends "+o[1]+": well", nil, order(m), o[0], o[1])
		}
	})
}

// The libraries do use UCX where these tests say so.
func TestMPIUsesUCX(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	order := program(t, "order")
	run(t, c, bindings.OpenMPIOnUCX, 2, "select: component ucx selected", []string{"OMPI_MCA_pml_base_verbose=10"}, order(bindings.OpenMPIOnUCX), "after", "before")
	run(t, c, bindings.MPICH, 2, "ch4:ucx", nil, order(bindings.MPICH), "after", "before")
}

func TestThreads(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: map[string]string{"layout.chunk_size": "256KiB"}})
	threads := program(t, "threads")
	each(t, func(t *testing.T, m bindings.MPI) {
		run(t, c, m, 2, "3 threads of 2 ranks: well", nil, threads(m), "3", "20")
	})
	// Everything by message: BenchFS's UCX workers beside those of MPI.
	run(t, c, bindings.MPICH, 2, "3 threads of 2 ranks: well", []string{"BENCHFS_DATA_SHORTCUT=off"}, threads(bindings.MPICH), "3", "20")
}

func TestCheckpoints(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: map[string]string{"layout.chunk_size": "1MiB"}})
	checkpoint := program(t, "checkpoint")
	each(t, func(t *testing.T, m bindings.MPI) {
		run(t, c, m, 4, "3 checkpoints n-1 of 4 ranks: well", nil, checkpoint(m), "n-1", "40", "3")
		run(t, c, m, 4, "3 checkpoints n-n of 4 ranks: well", nil, checkpoint(m), "n-n", "40", "3")
	})
	run(t, c, bindings.OpenMPIOnUCX, 4, "2 checkpoints n-1 of 4 ranks: well", []string{"BENCHFS_DATA_SHORTCUT=off"}, checkpoint(bindings.OpenMPIOnUCX), "n-1", "40", "2")
}

// Sixteen ranks on two cores, each with threads of MPI and of BenchFS that poll.
func TestManyRanksOnTwoCores(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	checkpoint := program(t, "checkpoint")
	each(t, func(t *testing.T, m bindings.MPI) {
		run(t, c, m, 16, "2 checkpoints n-1 of 16 ranks: well", nil, checkpoint(m), "n-1", "16", "2")
	})
	run(t, c, bindings.MPICH, 16, "2 checkpoints n-n of 16 ranks: well", nil, checkpoint(bindings.MPICH), "n-n", "16", "2")
}

// MPI-IO of an unmodified program, through the interposer: with Open MPI's own implementation, with ROMIO in it, and with ROMIO in MPICH. The file
// in BenchFS is the one that the same program makes on a disk.
func TestMPIIO(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	mpiio := program(t, "mpiio")
	preload := "LD_PRELOAD=" + filepath.Join(bindings.Top(t), "lib", "libbenchfs_preload.so")
	disk := filepath.Join(t.TempDir(), "file")
	run(t, c, bindings.OpenMPI, 4, "MPI-IO by 4 ranks: well", nil, mpiio(bindings.OpenMPI), disk)
	for name, way := range map[string]struct {
		m    bindings.MPI
		more []string
	}{
		"openmpi-ompio": {bindings.OpenMPI, []string{"OMPI_MCA_io=ompio"}},
		"openmpi-romio": {bindings.OpenMPI, []string{"OMPI_MCA_io=romio321"}},
		"openmpi-ucx":   {bindings.OpenMPIOnUCX, nil},
		"mpich":         {bindings.MPICH, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/benchfs/" + name
			run(t, c, way.m, 4, "MPI-IO by 4 ranks: well", append(way.more, preload), mpiio(way.m), path)
			variables := []string{preload}
			for k, v := range c.Env() {
				variables = append(variables, k+"="+v)
			}
			bindings.Run(t, variables, "cmp", path, disk)
		})
	}
}

// An unmodified program uses files before MPI_Init, between, and after MPI_Finalize; it, and what MPI itself reads, lies in BenchFS.
func TestAround(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	around := program(t, "around")
	preload := "LD_PRELOAD=" + filepath.Join(bindings.Top(t), "lib", "libbenchfs_preload.so")
	variables := []string{preload}
	for k, v := range c.Env() {
		variables = append(variables, k+"="+v)
	}
	bindings.Run(t, variables, "sh", "-ec", "mkdir /benchfs/tmp; echo localhost:4 >/benchfs/hosts; echo 'mpi_show_mca_params = file' >/benchfs/params")
	for _, way := range []struct {
		name string
		m    bindings.MPI
		more []string
	}{
		{"openmpi", bindings.OpenMPI, []string{"OMPI_MCA_mca_base_param_files=/benchfs/params"}},
		{"openmpi-ucx", bindings.OpenMPIOnUCX, nil},
		{"mpich", bindings.MPICH, []string{"TMPDIR=/benchfs/tmp"}},
	} {
		t.Run(way.name, func(t *testing.T) {
			stored := "/benchfs/around-" + way.name
			bindings.Run(t, variables, "cp", around(way.m), stored)
			more := append([]string{preload}, way.more...)
			for _, args := range [][]string{{"/benchfs/file", "early"}, {"/benchfs/file"}} {
				run(t, c, way.m, 2, "by 2 ranks: well", more, around(way.m), args...)
			}
			out := run(t, c, way.m, 2, "around early by 2 ranks: well", more, stored, "/benchfs/file", "early")
			if way.name == "openmpi" && !strings.Contains(out, "mpi_show_mca_params=file") {
				t.Errorf("the parameter file was not read: %s", out)
			}
		})
	}
	// MPICH's list of hosts is opened by mpirun, which is a program like others.
	line := bindings.MPICH.Command(2, "/benchfs/around-mpich", "/benchfs/file")
	line = append([]string{line[0], "-f", "/benchfs/hosts"}, line[1:]...)
	if out := bindings.Run(t, append(bindings.MPICH.Variables(preload), variables...), line[0], line[1:]...); !strings.Contains(out, "by 2 ranks: well") {
		t.Errorf("%s", out)
	}
}
