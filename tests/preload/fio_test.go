package preload_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/benchfs/benchfs/tests/bindings"
)

// The commands of docs/fio.md work, and so do or do not the engines that it names.
func TestTheDocumentOfFio(t *testing.T) {
	bindings.Tool(t, "", "fio")
	path := []string{"PATH=" + filepath.Join(bindings.Top(t), "bin") + ":" + os.Getenv("PATH")}
	bindings.Follow(t, "docs/fio.md", path)

	text, err := os.ReadFile(filepath.Join(bindings.Top(t), "docs/fio.md"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{"EBADF": "Bad file descriptor", "ENOSYS": "Function not implemented"}
	engines := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		refused := regexp.MustCompile("^refused.*\\(`(E[A-Z]+)`\\)").FindStringSubmatch(row[2])
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			engines++
			out, err := bindings.Try(t, path, filepath.Join(bindings.Top(t), "bin/benchfs"), "run", "-n", "1", "--preload", "--", "fio", "--name=x", "--directory=/benchfs", "--rw=write", "--bs=64k", "--size=1m",
				"--verify=crc32c", "--verify_state_save=0", "--ioengine="+name[1])
			if refused == nil && err != nil {
				t.Errorf("%s: %v\n%s", name[1], err, out)
			}
			if refused != nil && (err == nil || !strings.Contains(out, reasons[refused[1]])) {
				t.Errorf("%s is not refused with %s: %v\n%s", name[1], refused[1], err, out)
			}
		}
	}
	if engines < 8 {
		t.Errorf("%d engines found", engines)
	}
}
