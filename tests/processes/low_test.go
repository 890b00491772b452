package processes

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/benchfs/benchfs/internal/cluster"
)

// TestLowDescriptors: descriptors of the library are low for a moment before it moves them up. A program that redirects those very numbers
// meanwhile neither loses what it has put there nor takes away what is the library's. The library is one that does nothing but that.
func TestLowDescriptors(t *testing.T) {
	dir := t.TempDir()
	cc := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("gcc", append([]string{"-O1", "-pthread"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	shared := []string{"-shared", "-fPIC", "-fvisibility=hidden"}
	inner := filepath.Join(cluster.Root(), "preload", "inner")
	cc(append(shared, "-o", filepath.Join(dir, "libbenchfs.so.0"), "-Wl,-soname,libbenchfs.so.0", filepath.Join("src", "restless", "library.c"))...)
	cc(append(shared, "-o", filepath.Join(dir, "libbenchfs_inner.so"), filepath.Join(inner, "inner.c"), filepath.Join(inner, "keys.c"),
		"-Wl,--no-as-needed", filepath.Join(dir, "libbenchfs.so.0"), "-Wl,-rpath,$ORIGIN")...)
	program := filepath.Join(dir, "program")
	cc("-o", program, filepath.Join("src", "restless", "program.c"))
	// The interposer takes the libraries that lie beside it.
	library := filepath.Join(dir, filepath.Base(preloadLibrary(t)))
	if out, err := exec.Command("cp", preloadLibrary(t), library).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run(t, map[string]string{"LD_PRELOAD": library, "BENCHFS_PRELOAD_LOG": "stderr"}, program, "/benchfs/none", "20000"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
