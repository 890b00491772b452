# BenchFS. `make help` lists the targets. What takes more than a few lines is in scripts/.

# As in capi/shim.h, which benchfs_version() answers with.
VERSION := 0.1.0
SOVERSION := 0
BUILD_ID ?= $(VERSION)

GO ?= go
CC ?= gcc
# make has an FC of its own (f77): only one that somebody chose counts.
ifeq ($(origin FC),default)
FC := gfortran
endif
FCFLAGS ?= -O2 -g
CLANG_FORMAT ?= clang-format
DESTDIR ?=
PREFIX ?= /usr/local
# A relative one is below this directory, or at the top of DESTDIR.
ifeq ($(filter /%,$(firstword $(PREFIX))),)
override PREFIX := $(if $(PREFIX),$(if $(DESTDIR),,$(CURDIR)))/$(PREFIX)
endif
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
ZSHDIR ?= $(DATADIR)/zsh/site-functions
DOCDIR ?= $(DATADIR)/doc/benchfs
PYTHONDIR ?= $(DATADIR)/benchfs/python
# As Debian names it, by the version that the compiler writes its modules in.
FORTRANMODDIR ?= $(LIBDIR)/fortran/gfortran-mod-15
# Where `make dist` puts its files.
DISTDIR ?= dist
# What `make demo` stores.
INPUT ?= $(shell $(GO) env GOROOT)

SONAME := libbenchfs.so.$(SOVERSION)
LIBRARY := libbenchfs.so.$(VERSION)
PRELOAD := libbenchfs_preload.so
INNER := libbenchfs_inner.so
CFLAGS ?= -O2 -g
GO_LDFLAGS := -X github.com/benchfs/benchfs/internal/compose.Build=$(BUILD_ID)
# Go links a c-shared library without a soname and with more symbols than asked for.
SO_LDFLAGS := -extldflags "-Wl,-soname,$(SONAME) -Wl,--version-script=$(CURDIR)/capi/libbenchfs.map -Wl,-z,defs -Wl,--wrap=pthread_create"

# Go's cache does not look at files outside of a package's directory, nor at what the linker is told by name: a sum of them in flags that
# do nothing else makes it build anew. (-I names a directory that no import is searched in; -X a variable that does not exist.)
OUTSIDE = $(shell cat include/benchfs.h capi/libbenchfs.map | cksum | cut -d' ' -f1)

# Everything that goes into a Go program or the library.
ROOMS := cache capi cmd config core fserr include internal meta rpc shm store ucx
SOURCES = go.mod go.sum $(shell find $(ROOMS) -type f \( -name '*.go' -o -name '*.c' -o -name '*.h' -o -name '*.map' \) ! -name '*_test.go')
PRELOAD_SOURCES := $(sort $(wildcard preload/src/*.c))
INNER_SOURCES := $(sort $(wildcard preload/inner/*.c))
C_SOURCES = $(shell find capi examples include ior preload shm tests ucx -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.hpp' \))

.DELETE_ON_ERROR:
.DEFAULT_GOAL := build
.PHONY: help deps deps-lint deps-bench deps-mpi deps-abi deps-consumer deps-test deps-verify build ior demo bench test test-go test-race test-c test-fortran test-cpp test-python test-examples test-ior test-mpi test-processes test-preload test-hdf5 test-posix test-model test-fault test-locks verify fuzz lint format docs install uninstall dist abi abi-update test-consumer clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing (nothing if they are there)
	@scripts/deps.sh build

deps-lint: ## the same for `make lint`
	@scripts/deps.sh lint

deps-bench: ## the same for `make bench`
	@scripts/deps.sh bench

deps-test: ## the same for `make test-preload test-hdf5`
	@scripts/deps.sh test

deps-verify: ## the same for `make verify`
	@scripts/deps.sh verify

deps-mpi: ## the same for `make test-ior test-mpi`
	@scripts/deps.sh mpi

build: deps bin/benchfsd bin/benchfs lib/libbenchfs.so lib/$(PRELOAD) lib/$(INNER) ## bin/benchfsd, bin/benchfs, lib/libbenchfs.so, lib/libbenchfs_preload.so (the default)

bin/benchfsd bin/benchfs: bin/%: $(SOURCES) | deps
	$(GO) build -ldflags '$(GO_LDFLAGS)' -o $@ ./cmd/$*

lib/$(LIBRARY): $(SOURCES) | deps
	@mkdir -p lib
	$(GO) build -buildmode=c-shared -gcflags './capi=-I=/none/$(OUTSIDE)' -ldflags '$(GO_LDFLAGS) -X main.outside=$(OUTSIDE) $(SO_LDFLAGS)' -o $@ ./capi
	@rm -f lib/*.h # Go writes a header; ours is include/benchfs.h

lib/$(SONAME): lib/$(LIBRARY)
	ln -sfn $(LIBRARY) $@

lib/libbenchfs.so: lib/$(SONAME)
	ln -sfn $(SONAME) $@

# The list of functions is data; the compiler gets it as calls of a macro.
preload/src/functions.inc: preload/functions.txt
	awk '!/^#/ && ($$2 == "done" || $$2 == "refused") { print "X(" $$1 ")" }' $< >$@

# Checks of arguments that libc declares "nonnull" must stay: the kernel answers EFAULT, and so do we.
lib/$(INNER): $(INNER_SOURCES) preload/inner/low.h lib/libbenchfs.so | deps
	$(CC) -std=gnu17 $(CFLAGS) -U_FORTIFY_SOURCE -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-missing-attributes \
		-shared -Wl,-soname,$(INNER) -Wl,-z,defs -Wl,-rpath,'$$ORIGIN' -o $@ $(INNER_SOURCES) -Wl,--no-as-needed -Llib -lbenchfs

lib/$(PRELOAD): $(PRELOAD_SOURCES) preload/src/functions.inc preload/src/preload.h preload/src/exec.h preload/src/fts.h preload/inner/low.h include/benchfs.h | deps
	@mkdir -p lib
	$(CC) -std=gnu17 $(CFLAGS) -U_FORTIFY_SOURCE -fPIC -ftls-model=initial-exec -fvisibility=hidden -fno-delete-null-pointer-checks \
		-Wall -Wextra -Werror -Wno-nonnull-compare -Wno-missing-attributes -Iinclude \
		-shared -Wl,-soname,$(PRELOAD) -Wl,-z,defs -Wl,-Bsymbolic-functions -o $@ $(PRELOAD_SOURCES)

ior: ## compile the backend for IOR alone, against IOR's headers: make ior IOR_SRC=/path/to/ior (docs/ior.md)
	@scripts/ior.sh "$(IOR_SRC)"

demo: build ## store a real directory tree on two daemons, read it back, compare (INPUT=path)
	@scripts/demo.sh "$(INPUT)"

bench: build ## measure BenchFS beside its limits, under 10 minutes (ONLY=regexp of cases, ROUNDS=5); results in bench/results
	@ONLY="$(ONLY)" ROUNDS="$(ROUNDS)" CC="$(CC)" GO="$(GO)" scripts/bench.sh

test: build deps-mpi deps-abi deps-consumer deps-test deps-verify ## every test, under 15 minutes
	@scripts/test.sh all

test-go: build ## unit tests of the Go packages
	@scripts/test.sh go

test-race: deps ## those of them that run with the race detector
	@scripts/test.sh race

test-c: build ## the C ABI, also with -fsanitize=address
	@scripts/test.sh c

test-fortran: build ## the Fortran module
	@scripts/test.sh fortran

test-cpp: build ## include/benchfs.hpp
	@scripts/test.sh cpp

test-python: build ## python/benchfs.py
	@scripts/test.sh python

test-examples: build ## examples/, built and run
	@scripts/test.sh examples

test-ior: build deps-mpi ## the backend for IOR and mdtest, driven as they do
	@scripts/test.sh ior

test-mpi: build deps-mpi ## ranks as clients, with Open MPI and MPICH
	@scripts/test.sh mpi

test-processes: build ## fork, exec and descriptors under the interposer
	@scripts/test.sh processes

test-hdf5: build deps-test ## the HDF5 driver of examples/hdf5
	@scripts/test.sh hdf5

test-posix: build ## POSIX conformance on every front
	@scripts/test.sh posix

test-model: build ## random operations by several processes, compared with a model
	@scripts/test.sh model

test-fault: build ## daemons that are killed
	@scripts/test.sh fault

test-preload: build deps-test ## unmodified programs under the interposer, compared with the local disk
	@scripts/test.sh preload

test-locks: build ## advisory locks between processes
	@scripts/test.sh locks

verify: deps-verify ## the models of shm/PROTOCOL.md (models/README.md), exhaustively, in under 5 minutes
	@scripts/test.sh verify

fuzz: deps ## each fuzz target of scripts/fuzz-targets.txt; FUZZTIME=10m for longer
	@scripts/test.sh fuzz

lint: deps deps-lint ## gofmt, vet, staticcheck, clang-format, shellcheck
	@scripts/lint.sh "$(CLANG_FORMAT)" $(C_SOURCES)

format: deps-lint ## put Go and C sources into shape
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')
	$(CLANG_FORMAT) -i $(C_SOURCES)

docs: ## write the generated documents anew
	$(GO) test ./config -run Generated -update
	$(GO) test ./preload -run Generated -update
	$(GO) generate ./internal/apidoc ./internal/manpage
	$(GO) test ./cmd/... -run Generated -update
	fortran/arrays.sh generic >fortran/arrays_generic.inc
	fortran/arrays.sh procedures >fortran/arrays.inc

# The Fortran module for the compiler at hand; programs of another one compile it from share/benchfs/fortran.
lib/fortran/libbenchfs_fortran.a: $(wildcard fortran/*.f90 fortran/*.inc) | deps
	@mkdir -p lib/fortran
	$(FC) $(FCFLAGS) -fPIC -Jlib/fortran -c fortran/benchfs.f90 -o lib/fortran/benchfs.o
	@rm -f $@
	$(AR) rcs $@ lib/fortran/benchfs.o

lib/completions/.done: bin/benchfs bin/benchfsd
	@mkdir -p lib/completions
	@set -e; for p in benchfs benchfsd; do for s in bash zsh fish; do bin/$$p completion $$s >lib/completions/$$p.$$s; done; done
	@touch $@

# What scripts/install.sh and scripts/dist.sh are told.
INSTALL_ENV = DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" BINDIR="$(BINDIR)" LIBDIR="$(LIBDIR)" INCLUDEDIR="$(INCLUDEDIR)" DATADIR="$(DATADIR)" \
	MANDIR="$(MANDIR)" DOCDIR="$(DOCDIR)" ZSHDIR="$(ZSHDIR)" PYTHONDIR="$(PYTHONDIR)" FORTRANMODDIR="$(FORTRANMODDIR)" VERSION="$(VERSION)" LIBRARY="$(LIBRARY)" SONAME="$(SONAME)"

install: build lib/fortran/libbenchfs_fortran.a lib/completions/.done ## into $(DESTDIR)$(PREFIX); LIBDIR, MANDIR and so on as usual
	@$(INSTALL_ENV) scripts/install.sh install

uninstall: ## remove what `make install` with the same variables put there
	@$(INSTALL_ENV) scripts/install.sh uninstall

dist: build ## a Debian package and a tarball of the committed sources, in $(DISTDIR)
	@DESTDIR= MAKE="$(MAKE)" VERSION="$(VERSION)" SONAME="$(SONAME)" scripts/dist.sh "$(DISTDIR)"

abi: build deps-abi ## is the interface of the library the recorded one? (docs/abi.md)
	@CC="$(CC)" scripts/abi.sh check

abi-update: build deps-abi ## record it anew, when the change is meant
	@CC="$(CC)" scripts/abi.sh update

deps-abi:
	@scripts/deps.sh abi

deps-consumer:
	@scripts/deps.sh consumer

test-consumer: build deps-consumer ## small projects against an installed tree
	@scripts/test.sh consumer

clean: ## remove what was built
	rm -rf bin lib dist preload/src/functions.inc
