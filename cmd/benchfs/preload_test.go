package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckApp(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "p.c")
	if err := os.WriteFile(source, []byte("#include <aio.h>\n#include <unistd.h>\nint main(void) { return aio_read(0) == 0 && unlink(\"x\"); }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	compile := func(name string, flags ...string) string {
		path := filepath.Join(dir, name)
		if out, err := exec.Command("gcc", append(flags, source, "-o", path)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return path
	}
	dynamic, static := compile("dynamic"), compile("static", "-static")
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!"+dynamic+" -x\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	setuid := compile("setuid")
	if err := os.Chmod(setuid, 0o4755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(setuid, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		served  bool
		want    string
	}{
		{dynamic, true, "refused  aio_read (in dynamic): ENOSYS"},
		{script, true, "refused  aio_read (in dynamic): ENOSYS"},
		{static, false, "statically linked"},
		{setuid, false, "set-uid"},
		{source, false, "no ELF program"},
	} {
		if err := os.Chmod(source, 0o755); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		served, err := checkApp(&out, c.program, false)
		if err != nil || served != c.served || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: served %v, %v\n%s", filepath.Base(c.program), served, err, out.String())
		}
	}
}

func TestPreloadEnvironment(t *testing.T) {
	library := filepath.Join(t.TempDir(), "libbenchfs_preload.so")
	if err := os.WriteFile(library, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o := preloadOptions{prefix: "/scratch/", library: library, report: true}
	env, err := o.environment([]string{"LD_PRELOAD=/old/libbenchfs_preload.so:/other.so", "BENCHFS_PREFIX=/x", "HOME=/h"})
	if err != nil {
		t.Fatal(err)
	}
	got := environment(env)
	want := map[string]string{"LD_PRELOAD": library + ":/other.so", "BENCHFS_PREFIX": "/scratch", "BENCHFS_PRELOAD_REPORT": "1", "HOME": "/h", "GLIBC_TUNABLES": "glibc.rtld.nns=16"}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s=%q, want %q", name, got[name], value)
		}
	}
	if len(env) != len(want) {
		t.Errorf("%q", env)
	}
	for _, prefix := range []string{"relative", "/", "//"} {
		o.prefix = prefix
		if _, err := o.environment(nil); err == nil {
			t.Errorf("--prefix %s is taken", prefix)
		}
	}
}
