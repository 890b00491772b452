package bindings

import (
	"strconv"
	"testing"
)

// MPI is an MPI library of the distribution: its compiler, and how it starts ranks here, as root or not, on fewer cores than ranks.
type MPI struct {
	Name      string
	cc, run   string
	variables []string
	flags     []string
}

var (
	OpenMPI = MPI{Name: "openmpi", cc: "mpicc.openmpi", run: "mpirun.openmpi", variables: []string{
		"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_rmaps_base_oversubscribe=1",
		"OMPI_MCA_mpi_yield_when_idle=1", // it yields by itself only for too many ranks: here the daemons want the cores too
		"OMPI_MCA_plm=isolated",          // without the program that would start ranks on other machines
	}}
	// OpenMPIOnUCX is Open MPI with UCX below, which it takes by itself only where there is a fast network.
	OpenMPIOnUCX = MPI{Name: "openmpi-ucx", cc: OpenMPI.cc, run: OpenMPI.run, variables: append([]string{
		"OMPI_MCA_pml=ucx", "OMPI_MCA_opal_common_ucx_tls=any", "OMPI_MCA_opal_common_ucx_devices=any",
	}, OpenMPI.variables...)}
	MPICH = MPI{Name: "mpich", cc: "mpicc.mpich", run: "mpirun.mpich", flags: []string{"-launcher", "fork"}}
)

// MPIs are all of them.
var MPIs = []MPI{OpenMPI, OpenMPIOnUCX, MPICH}

// Compile builds a program, out, with the library's compiler and libbenchfs.
func (m MPI) Compile(t *testing.T, out string, args ...string) {
	t.Helper()
	args = append([]string{"-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-o", out}, args...)
	Run(t, nil, Tool(t, "", m.cc), append(args, Link(t)...)...)
}

// Command is the command line that starts ranks of a program.
func (m MPI) Command(ranks int, program string, args ...string) []string {
	line := append([]string{m.run}, m.flags...)
	line = append(line, "-n", strconv.Itoa(ranks), program)
	return append(line, args...)
}

// Variables are for the environment of that command.
func (m MPI) Variables(more ...string) []string {
	return append(append([]string{}, m.variables...), more...)
}
