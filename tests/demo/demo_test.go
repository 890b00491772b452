// Package demo_test runs the demonstration (scripts/demo.sh, examples/) on a small tree, and shows that it fails when something differs.
// It needs `make build`.
package demo_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const root = "../.."

func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	random := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 9<<20+123)
	for i := range big {
		big[i] = byte(random.Uint32())
	}
	for _, step := range []error{
		os.MkdirAll(filepath.Join(dir, "a/b"), 0o755),
		os.WriteFile(filepath.Join(dir, "a/big"), big, 0o640),
		os.WriteFile(filepath.Join(dir, "a/b/small"), []byte("small"), 0o755),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600),
		os.Symlink("a/big", filepath.Join(dir, "link")),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	return dir
}

func TestDemo(t *testing.T) {
	dir := tree(t)
	cmd := exec.Command(filepath.Join(root, "scripts/demo.sh"), dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"embedded in this process", "stored 3 files", "read back 3 files", "node 0 holds", "node 1 holds", "transport chosen by UCX: ", "every SHA-256"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the demonstration does not say %q:\n%s", want, out)
		}
	}
	differences(t, dir)
}

// changedCopy is a copy of a file with the same mode and time and one bit turned over.
func changedCopy(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	name := filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(name, text, info.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Now(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	return name
}

// differences: each way in which the copy can differ must be seen, and the exit status must tell.
func differences(t *testing.T, dir string) {
	script := `set -e
store=$1/bin/demo/demo_store verify=$1/bin/demo/demo_verify tool=$1/bin/benchfs
fails() { if "$@"; then echo "did not fail: $*" >&2; exit 1; fi; }
$store "$2" /tree
$verify "$2" /tree
# The same size, mode and time, one byte changed: only the hash can tell.
$tool put "$3" /tree/a/big
fails $verify "$2" /tree
$tool put "$2/a/big" /tree/a/big
$verify "$2" /tree
$tool mkdir /tree/extra
fails $verify "$2" /tree
$tool rm -r /tree/extra
$tool rm /tree/link
fails $verify "$2" /tree
`
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	changed := changedCopy(t, filepath.Join(dir, "a/big"))
	begin := time.Now()
	cmd := exec.Command(filepath.Join(top, "bin/benchfs"), "run", "-n", "2", "--", "bash", "-c", script, "bash", top, dir, changed)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v after %v\n%s", err, time.Since(begin), out)
	}
	for _, want := range []string{"/tree/a/big: SHA-256 differs from the source", "/tree has 7 entries, the source has 6", "/tree/link: "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("not seen: %q\n%s", want, out)
		}
	}
}
