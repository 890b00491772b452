// Package abi tests libbenchfs.so as C programs see it. The tests proper are the C files in the directory above, one process each (see
// harness.h). The Go side builds the library and the program, runs each test, and compares the header with the version script, the
// symbols of the library and the manual of errors.
package abi
