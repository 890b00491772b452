// Command bench measures BenchFS beside what bounds it: copies into a mapped segment, the kernel's tmpfs, two C processes that answer each other, and
// UCX over TCP, and tells for each figure how far from its limit it is. `make bench` runs it.
//
// # How it works
//
// A case (cases.go) is one measurement. It runs in a stage (stage.go): the daemons, the directory and the network that it needs. The work itself is
// done by a C program (worker/), a fresh process each time, so that nothing of this program stands between BenchFS's C interface and the clock. It
// verifies what it reads and what it has written. What is started to be timed as a whole is in first/ and outsider/.
//
// Cases that are compared make a unit, and run right after each other, the limits first. For that, several stages stand at the same time: daemons
// that nobody asks anything sleep. Units that use the same stages make a chapter; a stage is stopped when no later unit of the chapter needs it.
//
// Every unit runs once a round, in an order that rotates, so that a noisy machine hurts all alike; what is reported are medians over the rounds, of
// the figures and of their ratios to the value of the limit that was measured nearest to them. bars.go holds what each figure is compared with and
// what it must reach: change a bar there, and nowhere else. legend.go explains the words of the names.
//
// Everything is made in private directories, mounts and network namespaces of unique names, and removed at the end, also by Ctrl-C.
package main
