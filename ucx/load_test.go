package ucx

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
)

// A program pays for UCX only when it talks to another machine.
func TestUCXIsNotLinked(t *testing.T) {
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	libraries, err := program.ImportedLibraries()
	if err != nil || len(libraries) == 0 {
		t.Fatalf("libraries %v, %v", libraries, err)
	}
	for _, library := range libraries {
		if strings.HasPrefix(library, "libuc") {
			t.Errorf("linked against %s", library)
		}
	}
}

// unloadableChild starts UCX where its library is nonsense.
func unloadableChild() {
	_, err := NewContext(Config{})
	if err == nil || fserr.Errno(err) != syscall.ENOPKG || !strings.Contains(err.Error(), "libucx0") {
		fatalChild(fmt.Errorf("got %v", err))
	}
	if _, again := NewContext(Config{}); again == nil || again.Error() != err.Error() {
		fatalChild(errors.New("the second attempt says something else"))
	}
	os.Exit(0)
}

func TestMissingUCXIsAnErrorThatHelps(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libucs.so.0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=unloadable", "LD_LIBRARY_PATH="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Trap: libucs takes the handlers of the fatal signals when it is loaded. Go's runtime needs its own.
func TestSignalHandlersStay(t *testing.T) {
	newTransport(t, Config{})
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var nowhere *int
	*nowhere = 1
}
