// Command bench measures BenchFS beside what bounds it: copies into a mapped segment, the kernel's tmpfs, and UCX itself, in the same run, on the
// same machine, and tells for each figure how far from its limit it is. `make bench` runs it.
//
// # How it works
//
// A case (cases.go) is one measurement. It runs in a stage (stage.go): the daemons, the directory and the network that it needs, of which one
// at a time exists, since daemons that wait still ask for the cores. The work itself is done by a C program (worker/), a fresh process each
// time, so that nothing of this program stands between BenchFS's C interface and the clock. It verifies what it reads and what it has written.
//
// Every case runs once a round, in an order that rotates, so that a noisy machine hurts all alike; what is reported are medians over the
// rounds, of the figures and of their ratios to what the same round has measured. bars.go holds what each figure is compared with and what it
// must reach: change a bar there, and nowhere else.
//
// Everything is made in private directories, mounts and network namespaces of unique names, and removed at the end, also by Ctrl-C.
package main
