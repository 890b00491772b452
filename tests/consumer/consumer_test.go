// Package consumer_test builds small projects against an installed tree, as users do: the tree is moved after `make install`, the projects lie
// in temporary directories, and nothing names the sources. It needs `make build`.
package consumer_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/benchfs/benchfs/tests/bindings"
)

var (
	prefix string // of the installed tree
	listed []byte // what make uninstall left
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "benchfs-consumer-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Staged, and moved: what remembers the place where it was made does not work afterwards.
	stage := filepath.Join(dir, "stage")
	for _, target := range []string{"install", "uninstall", "install"} {
		cmd := exec.Command("make", "--no-print-directory", target, "DESTDIR="+stage, "PREFIX=/opt/was/here")
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			_, _ = os.Stderr.Write(out)
			return 1
		}
		if target == "uninstall" {
			listed, _ = exec.Command("find", stage, "-mindepth", "1").CombinedOutput()
		}
	}
	prefix = filepath.Join(dir, "moved")
	if err := os.Rename(filepath.Join(stage, "opt/was/here"), prefix); err != nil {
		panic(err)
	}
	return m.Run()
}

// project is a directory with files, far from the sources.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shell runs a script in the directory, with the installed tree in the places where one puts it into the environment.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", script)
	cmd.Dir = dir
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "BENCHFS_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	lib := filepath.Join(prefix, "lib")
	cmd.Env = append(cmd.Env, "PATH="+prefix+"/bin:"+os.Getenv("PATH"), "PKG_CONFIG_PATH="+lib+"/pkgconfig", "CMAKE_PREFIX_PATH="+prefix,
		"LD_LIBRARY_PATH="+lib, "PYTHONPATH="+prefix+"/share/benchfs/python", "PYTHONDONTWRITEBYTECODE=1", "PREFIX="+prefix,
		"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_plm=isolated")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out.String())
	}
	return out.String()
}

// says fails unless the last line of the output is the text.
func says(t *testing.T, out, want string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != want {
		t.Errorf("it says %q instead of %q", out, want)
	}
}

// The five lines: each writes and reads back on one daemon, and says whether it was on one.
const (
	inC = `#include <benchfs.h>
#include <stdio.h>
int main(void) {
    char text[6] = "";
    int fd = benchfs_init(NULL) < 0 ? -1 : benchfs_open("/c", O_CREAT | O_RDWR, 0644);
    if (fd < 0 || benchfs_pwrite(fd, "hello", 5, 0) != 5 || benchfs_pread(fd, text, 5, 0) != 5) return puts(benchfs_last_error()), 1;
    printf("%s %d\n", text, benchfs_is_distributed());
    return benchfs_finalize() != 1;
}
`
	inCpp = `#include <benchfs.hpp>
#include <cstdio>
int main() {
    benchfs::session session;
    char text[6] = "";
    int fd = benchfs_open("/cc", O_CREAT | O_RDWR, 0644);
    if (benchfs_pwrite(fd, "hello", 5, 0) != 5 || benchfs_pread(fd, text, 5, 0) != 5) return 1;
    std::printf("%s %d\n", text, benchfs_is_distributed());
    return benchfs_close(fd);
}
`
	inFortran = `program hello
  use benchfs
  implicit none
  integer :: fd
  character(5) :: text
  call benchfs_init()
  fd = benchfs_open('/f', BENCHFS_O_CREAT + BENCHFS_O_RDWR, int(o'644'))
  call benchfs_pwrite(fd, 'hello', 0_8)
  call benchfs_pread(fd, text, 0_8)
  print '(a, 1x, l1)', text, benchfs_is_distributed()
  call benchfs_close(fd)
  call benchfs_finalize()
end program
`
	inMPI = `#include <benchfs.h>
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int rank, sum = 0, mine;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int fd = benchfs_init(NULL) < 0 ? -1 : benchfs_open("/mpi", O_CREAT | O_RDWR, 0644);
    mine = rank + 1;
    if (fd < 0 || benchfs_pwrite(fd, &mine, sizeof mine, rank * (off_t)sizeof mine) != sizeof mine) MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Barrier(MPI_COMM_WORLD);
    if (benchfs_pread(fd, &mine, sizeof mine, (1 - rank) * (off_t)sizeof mine) != sizeof mine) MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Reduce(&mine, &sum, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("hello %d\n", sum);
    benchfs_finalize();
    return MPI_Finalize();
}
`
)

const onDaemon = "benchfs run -n 1 -- "

func TestPkgConfigC(t *testing.T) {
	dir := project(t, map[string]string{"hello.c": inC})
	says(t, shell(t, dir, "gcc -Wall -Werror hello.c $(pkg-config --cflags --libs benchfs) -o hello; ./hello"), "hello 0")
	says(t, shell(t, dir, onDaemon+"./hello"), "hello 1")
}

func TestPkgConfigCpp(t *testing.T) {
	dir := project(t, map[string]string{"hello.cc": inCpp})
	says(t, shell(t, dir, "g++ -std=c++17 -Wall -Werror hello.cc $(pkg-config --cflags --libs benchfs) -o hello; "+onDaemon+"./hello"), "hello 1")
}

func TestPkgConfigFortran(t *testing.T) {
	dir := project(t, map[string]string{"hello.f90": inFortran})
	says(t, shell(t, dir, "gfortran hello.f90 $(pkg-config --cflags --libs benchfs-fortran) -o hello; "+onDaemon+"./hello"), "hello T")
}

// Another compiler than the one of the installed module compiles the source.
func TestFortranSource(t *testing.T) {
	dir := project(t, map[string]string{"hello.f90": inFortran})
	says(t, shell(t, dir, "gfortran $PREFIX/share/benchfs/fortran/benchfs.f90 hello.f90 $(pkg-config --libs benchfs) -o hello; "+onDaemon+"./hello"), "hello T")
}

func TestMPI(t *testing.T) {
	dir := project(t, map[string]string{"hello.c": inMPI})
	says(t, shell(t, dir, "mpicc hello.c $(pkg-config --cflags --libs benchfs) -o hello; "+onDaemon+"mpirun -n 2 ./hello"), "hello 3")
}

const cmakeLists = `cmake_minimum_required(VERSION 3.18)
project(hello LANGUAGES LANGUAGE)
find_package(BenchFS 0.1 REQUIRED)
add_executable(hello SOURCE)
target_link_libraries(hello PRIVATE TARGET)
`

const cmakeBuild = "cmake -S . -B build >log 2>&1 && cmake --build build >>log 2>&1 || { cat log; exit 1; }; "

func TestCMake(t *testing.T) {
	for _, c := range []struct{ language, file, text, target, want string }{
		{"C", "hello.c", inC, "benchfs::benchfs", "hello 1"},
		{"CXX", "hello.cc", inCpp, "benchfs::benchfs", "hello 1"},
		{"Fortran", "hello.f90", inFortran, "benchfs::fortran", "hello T"},
	} {
		t.Run(c.language, func(t *testing.T) {
			lists := strings.NewReplacer("LANGUAGES LANGUAGE", "LANGUAGES "+c.language, "SOURCE", c.file, "TARGET", c.target).Replace(cmakeLists)
			if c.language == "CXX" {
				lists += "target_compile_features(hello PRIVATE cxx_std_17)\n"
			}
			dir := project(t, map[string]string{"CMakeLists.txt": lists, c.file: c.text})
			says(t, shell(t, dir, cmakeBuild+onDaemon+"./build/hello"), c.want)
		})
	}
}

// A version that is too new, or another one before 1.0, is refused.
func TestCMakeVersion(t *testing.T) {
	for _, version := range []string{"0.0.9", "0.2", "1.0"} {
		dir := project(t, map[string]string{"CMakeLists.txt": "cmake_minimum_required(VERSION 3.18)\nproject(x LANGUAGES C)\nfind_package(BenchFS " + version + ")\nmessage(STATUS \"found=${BenchFS_FOUND}\")\n"})
		if out := shell(t, dir, "cmake -S . -B build 2>&1"); !strings.Contains(out, "found=0") {
			t.Errorf("%s: %s", version, out)
		}
	}
}

func TestSuperProject(t *testing.T) {
	for name, c := range map[string]struct{ how, language, file, text, target, want string }{
		"add_subdirectory": {"add_subdirectory(\"$ENV{SOURCES}\" benchfs)\n", "C", "hello.c", inC, "benchfs::benchfs", "hello 1"},
		"FetchContent": {"include(FetchContent)\nFetchContent_Declare(BenchFS SOURCE_DIR \"$ENV{SOURCES}\")\nFetchContent_MakeAvailable(BenchFS)\n",
			"Fortran", "hello.f90", inFortran, "benchfs::fortran", "hello T"},
	} {
		t.Run(name, func(t *testing.T) {
			lists := strings.NewReplacer("LANGUAGES LANGUAGE", "LANGUAGES "+c.language, "SOURCE", c.file, "TARGET", c.target, "find_package(BenchFS 0.1 REQUIRED)\n", c.how).Replace(cmakeLists)
			dir := project(t, map[string]string{"CMakeLists.txt": lists, c.file: c.text})
			says(t, shell(t, dir, "export SOURCES="+bindings.Top(t)+"; "+cmakeBuild+onDaemon+"./build/hello"), c.want)
		})
	}
}

// TestInterposer: a program that knows nothing of BenchFS, with what is installed.
func TestInterposer(t *testing.T) {
	out := shell(t, t.TempDir(), `benchfs run -n 1 --preload -- sh -c 'echo installed > /benchfs/x && cat /benchfs/x'`)
	says(t, out, "installed")
}

func TestPython(t *testing.T) {
	script := `import benchfs
benchfs.init()
with benchfs.open("/p", "w") as f: f.write("hello")
with benchfs.open("/p") as f: print(f.read(), benchfs.is_distributed())
`
	dir := project(t, map[string]string{"hello.py": script})
	says(t, shell(t, dir, onDaemon+"/usr/bin/python3 hello.py"), "hello True")
}

func TestProgramsAndPages(t *testing.T) {
	dir := t.TempDir()
	version := strings.TrimSpace(shell(t, dir, "pkg-config --modversion benchfs"))
	says(t, shell(t, dir, "/usr/bin/python3 -c 'import benchfs; print(benchfs.version())'"), version) // of the library itself
	says(t, shell(t, dir, "benchfs --version"), "benchfs version "+version)
	says(t, shell(t, dir, "benchfsd --version"), "benchfsd version "+version)
	for _, page := range []string{"man1/benchfs.1", "man1/benchfs-run.1", "man8/benchfsd.8", "man5/benchfs.toml.5", "man3/benchfs.3", "man3/benchfs_init.3", "man3/benchfs_pwritev.3"} {
		if out := shell(t, dir, "LC_ALL=C.UTF-8 man --warnings -l $PREFIX/share/man/"+page+" 2>&1 >page; grep -q '^NAME' page"); out != "" {
			t.Errorf("%s: %s", page, out)
		}
	}
	shell(t, dir, "for f in benchfs benchfsd; do bash -n $PREFIX/share/bash-completion/completions/$f; test -s $PREFIX/share/zsh/site-functions/_$f; test -s $PREFIX/share/fish/vendor_completions.d/$f.fish; done")
	shell(t, dir, `cp $PREFIX/share/benchfs/benchfs.toml.example x.toml; benchfsd --config x.toml --registry $PWD/r --expected-nodes 1 --data-dir $PWD/d --print-config >/dev/null; ls $PREFIX/share/benchfs/examples/embedded.c`)
	says(t, shell(t, dir, "readelf -d $PREFIX/lib/libbenchfs.so | grep -o 'Library soname.*'"), "Library soname: [libbenchfs.so.0]")
}

// The IOR backend lies in share/benchfs when the sources have one.
func TestIOR(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(bindings.Top(t), "ior/*"))
	if err != nil || len(files) == 0 {
		t.Skip("these sources have no ior/")
	}
	shell(t, t.TempDir(), "test -s $PREFIX/share/benchfs/ior/aiori-BENCHFS.c")
}

func TestUninstallLeavesNothing(t *testing.T) {
	if len(listed) > 0 {
		t.Errorf("left:\n%s", listed)
	}
}

// Names that install has to take care of. One tree is installed over itself, and all by somebody whose umask lets nobody
// else read: they are for all nevertheless, work, and go without a trace. What somebody else has put beside it stays.
func TestInstallElsewhere(t *testing.T) {
	for name, c := range map[string]struct{ variables, prefix, lib string }{
		"blanks":             {"DESTDIR='$D/a stage' PREFIX='/opt/b c'", "a stage/opt/b c", "lib"},
		"relative":           {"DESTDIR=$D/stage PREFIX=usr// LIBDIR=lib64 MANDIR=man", "stage/usr", "lib64"},
		"a library far away": {"PREFIX=$D//tree/ LIBDIR=$D/benchfs/lib DOCDIR=share/doc/benchfs-0", "tree", "../benchfs/lib"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := func(name string) {
				shell(t, dir, "umask 077; make --no-print-directory -C "+bindings.Top(t)+" "+name+" "+strings.ReplaceAll(c.variables, "$D", dir)+" >log 2>&1 || { cat log; exit 1; }; rm log")
			}
			if err := os.WriteFile(filepath.Join(dir, "hello.c"), []byte(inC), 0o600); err != nil {
				t.Fatal(err)
			}
			target("install")
			if name == "blanks" {
				target("install")
			}
			if closed := shell(t, dir, "find . -mindepth 1 ! -name hello.c ! -perm -o=r; find . -mindepth 1 -type d ! -perm -o=x"); closed != "" {
				t.Errorf("not for all:\n%s", closed)
			}
			says(t, shell(t, dir, `PREFIX="$PWD/`+c.prefix+`" LIB="$PREFIX/`+c.lib+`" PATH="$PREFIX/bin:$PATH" LD_LIBRARY_PATH="$LIB" PKG_CONFIG_PATH="$LIB/pkgconfig"
				eval gcc -Wall -Werror hello.c $(pkg-config --cflags --libs benchfs) -o hello
				`+onDaemon+`./hello; ls "$PREFIX"/*/doc/benchfs*/docs/ior.md >/dev/null; rm hello*`), "hello 1")
			shell(t, dir, `touch "`+c.prefix+`/bin/other"`)
			target("uninstall")
			says(t, shell(t, dir, "find . ! -type d; find . -type d -empty"), "./"+c.prefix+"/bin/other")
		})
	}
}

// What a newcomer copies works outside of the sources.
func TestInstalledExamples(t *testing.T) {
	dir := t.TempDir()
	out := shell(t, dir, `cp -r $PREFIX/share/benchfs/examples/. .; flags=$(pkg-config --cflags --libs benchfs)
		gcc checkpoint.c -o checkpoint $flags; mpicc n_to_1.c -o n_to_1 $flags; g++ -std=c++17 particles.cc -o particles $flags
		gfortran array_dump.f90 -o array_dump $(pkg-config --cflags --libs benchfs-fortran)
		gcc hdf5/*.c -o series_h5 $flags $(pkg-config --cflags --libs hdf5)
		benchfs run -n 2 -- sh -ec './checkpoint /state 5; mpirun -n 2 ./n_to_1; ./particles; ./array_dump; /usr/bin/python3 series.py; ./series_h5 benchfs /series.h5' >log 2>&1 || { cat log; exit 1; }
		tail -1 log`)
	says(t, out, "8 steps in /series.h5")
}

// The package installs below another root, its library and programs work from there, its sums are right, and nothing stays when it goes.
func TestDebianPackage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("dpkg --root needs root")
	}
	dir := t.TempDir()
	cmd := exec.Command("make", "--no-print-directory", "dist", "DISTDIR="+dir)
	cmd.Dir = bindings.Top(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make dist: %v\n%s", err, out)
	}
	says(t, shell(t, dir, "dpkg-deb -f *.deb Depends | grep -o 'libucx0 (>= [0-9.]*'"), "libucx0 (>= 1.13")
	shell(t, dir, "mkdir -p root/var/lib/dpkg/updates root/var/lib/dpkg/info; : >root/var/lib/dpkg/status; dpkg --root=$PWD/root --force-depends --force-not-root -i *.deb")
	out := shell(t, dir, `cd root; md5sum --quiet -c var/lib/dpkg/info/benchfs.md5sums
		test -z "$(find usr/lib -name '*.so*' -type f -perm /111)"; for lib in usr/lib/*/libbenchfs*.so; do test -z "$(readelf -SW $lib | grep '[.]symtab')"; done
		lib=$(dirname $PWD/usr/lib/*/libbenchfs.so.0); export LD_LIBRARY_PATH=$lib PATH=$PWD/usr/bin:$PATH PYTHONPATH=$PWD/usr/lib/python3/dist-packages PKG_CONFIG_PATH=$lib/pkgconfig
		test "$(realpath "$(pkg-config --variable=prefix benchfs)")" = $PWD/usr
		benchfs run -n 2 -- /usr/bin/python3 -c 'import benchfs; benchfs.init(); benchfs.open("/x", "w").close(); print(benchfs.is_distributed())'`)
	says(t, out, "True")
	shell(t, dir, "dpkg --root=$PWD/root --force-depends -P benchfs")
	if left := shell(t, dir, "find root -path root/var -prune -o ! -type d -print; find root -name 'benchfs*' ! -path '*/dpkg/*'"); left != "" {
		t.Errorf("left:\n%s", left)
	}
}
