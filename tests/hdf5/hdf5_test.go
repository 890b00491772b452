// Package hdf5 tests the example of an HDF5 driver (examples/hdf5): the file that it keeps in BenchFS is the one that HDF5 keeps on a disk, and
// HDF5's own tools read it through the interposer.
package hdf5

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/bindings"
)

// run runs a command and returns what it printed.
func run(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func must(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := run(t, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func TestDriver(t *testing.T) {
	for _, tool := range []string{"pkg-config", "h5diff", "h5dump"} {
		bindings.Tool(t, "", tool)
	}
	top := bindings.Top(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "series")
	flags := strings.Fields(must(t, nil, "pkg-config", "--cflags", "--libs", "hdf5"))
	sources := []string{"-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I" + filepath.Join(top, "include"),
		filepath.Join(top, "examples/hdf5/series.c"), filepath.Join(top, "examples/hdf5/H5FDbenchfs.c"), "-o", program}
	must(t, nil, bindings.Tool(t, "CC", "gcc"), append(append(sources, flags...), bindings.Link(t)...)...)

	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1, Settings: map[string]string{"layout.chunk_size": "64KiB"}})
	var env []string
	for name, value := range c.Env() {
		env = append(env, name+"="+value)
	}
	onDisk, fetched := filepath.Join(dir, "disk.h5"), filepath.Join(dir, "fetched.h5")
	must(t, env, program, "disk", onDisk)
	must(t, env, program, "benchfs", "/series.h5")
	benchfs := filepath.Join(top, "bin/benchfs")
	must(t, env, benchfs, "get", "/series.h5", fetched)
	want, err := os.ReadFile(onDisk)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(fetched)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file in BenchFS has %d bytes, that on the disk %d, or others (%v)", len(got), len(want), err)
	}
	must(t, env, "h5diff", onDisk, fetched)

	// HDF5's tools, which know nothing of the driver.
	must(t, env, benchfs, "exec", "--", "h5diff", "/benchfs/series.h5", onDisk)
	dumped := must(t, env, benchfs, "exec", "--", "h5dump", "-d", "/temperature[7,255,126;;1,1,2]", "/benchfs/series.h5")
	if !strings.Contains(dumped, "(7,255,126): 7255.13, 7255.13") {
		t.Errorf("h5dump shows\n%s", dumped)
	}
	must(t, env, benchfs, "exec", "--", "h5repack", "-f", "NONE", "/benchfs/series.h5", "/benchfs/plain.h5")
	must(t, env, benchfs, "exec", "--", "h5diff", "/benchfs/series.h5", "/benchfs/plain.h5")

	// What cannot be says so on HDF5's stack.
	if out, err := run(t, env, program, "benchfs", "/no/such/directory.h5"); err == nil || !strings.Contains(out, "/no/such/directory.h5") || !strings.Contains(out, "no such file") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Programs that know nothing of the driver take it as a plugin, from 1.14 on.
func TestPlugin(t *testing.T) {
	version := strings.TrimSpace(must(t, nil, bindings.Tool(t, "", "pkg-config"), "--modversion", "hdf5"))
	if strings.HasPrefix(version, "1.8.") || strings.HasPrefix(version, "1.10.") || strings.HasPrefix(version, "1.12.") {
		t.Skipf("HDF5 %s has no plugins of this kind", version)
	}
	top := bindings.Top(t)
	dir := t.TempDir()
	flags := append(strings.Fields(must(t, nil, "pkg-config", "--cflags", "--libs", "hdf5")), bindings.Link(t)...)
	compile := func(args ...string) {
		must(t, nil, bindings.Tool(t, "CC", "gcc"), append(append([]string{"-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I" + filepath.Join(top, "include")}, args...), flags...)...)
	}
	driver, program := filepath.Join(top, "examples/hdf5/H5FDbenchfs.c"), filepath.Join(dir, "series")
	compile(filepath.Join(top, "examples/hdf5/series.c"), driver, "-o", program)
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	compile("-shared", "-fPIC", driver, "-o", filepath.Join(dir, "plugins/libH5FDbenchfs.so"))

	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1})
	env := []string{"HDF5_PLUGIN_PATH=" + filepath.Join(dir, "plugins"), "HDF5_DRIVER=benchfs"}
	for name, value := range c.Env() {
		env = append(env, name+"="+value)
	}
	must(t, env, program, "benchfs", "/linked.h5")
	must(t, env, program, "disk", "/plugged.h5")
	must(t, env, "h5diff", "/linked.h5", "/plugged.h5")
	dumped := must(t, env, "h5dump", "-d", "/temperature[7,255,126;;1,1,2]", "/plugged.h5")
	if !strings.Contains(dumped, "(7,255,126): 7255.13, 7255.13") {
		t.Errorf("h5dump shows\n%s", dumped)
	}
	must(t, env, "h5repack", "-f", "NONE", "/plugged.h5", "/plain.h5")
	must(t, env, "h5diff", "/linked.h5", "/plain.h5")
	if out, err := run(t, env, program, "disk", "/no/such/directory.h5"); err == nil || !strings.Contains(out, "/no/such/directory.h5") || !strings.Contains(out, "no such file") {
		t.Errorf("%v\n%s", err, out)
	}
}
