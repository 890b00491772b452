package main

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"

	"github.com/benchfs/benchfs/preload"
)

func checkAppCommand() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:   "check-app program …",
		Short: "Tell which calls of a program the interposer does not cover",
		Long: "check-app looks at what a program and the libraries that it is linked to import from libc, without running it, and tells what would be refused or\n" +
			"would pass the interposer by. A program may well work all the same: what it can call, it need not call on files of BenchFS.\n" +
			"The exit status is 1 if a program cannot be served at all: it is static, of another architecture, or runs with other rights.",
		Args: cobra.MinimumNArgs(1),
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "name each library, and what passes by")
	c.RunE = func(c *cobra.Command, args []string) error {
		unserved := 0
		for _, name := range args {
			ok, err := checkApp(c.OutOrStdout(), name, verbose)
			if err != nil {
				return &failure{code: 1, err: err}
			}
			if !ok {
				unserved++
			}
		}
		if unserved > 0 {
			return &failure{code: 1}
		}
		return nil
	}
	return c
}

// checkApp reports on one program. false: the interposer cannot serve it.
func checkApp(out io.Writer, name string, verbose bool) (bool, error) {
	path, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return false, err
	}
	if script, err := interpreterOf(path); err != nil {
		return false, err
	} else if script != "" {
		fmt.Fprintf(out, "%s: a script of %s\n", path, script)
		return checkApp(out, script, verbose)
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, errors.WithStack(err)
	}
	if info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		fmt.Fprintf(out, "%s: set-uid or set-gid: the loader ignores LD_PRELOAD for it; use `benchfs put` and `benchfs get`, or run a copy without that bit\n", path)
		return false, nil
	}
	objects, reason, err := objectsOf(path)
	if err != nil {
		return false, err
	}
	if reason != "" {
		fmt.Fprintf(out, "%s: %s; use `benchfs put` and `benchfs get`, or link it to libbenchfs\n", path, reason)
		return false, nil
	}
	return true, reportCalls(out, path, objects, verbose)
}

// interpreterOf is the program that runs a script; "" for what is none.
func interpreterOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", errors.WithStack(err)
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, 256).ReadString('\n')
	if !strings.HasPrefix(line, "#!") {
		return "", nil
	}
	words := strings.Fields(line[2:])
	if len(words) == 0 {
		return "", errors.Errorf("%s: a script without an interpreter", path)
	}
	if filepath.Base(words[0]) == "env" && len(words) > 1 {
		return words[len(words)-1], nil
	}
	return words[0], nil
}

// objectsOf are a program and the libraries that it is linked to, or the reason why it cannot be served.
func objectsOf(path string) (objects []string, reason string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, "no ELF program", nil //nolint:nilerr // that is the finding
	}
	defer f.Close()
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil, "", errors.WithStack(err)
	}
	defer self.Close()
	if f.Class != self.Class || f.Machine != self.Machine {
		return nil, fmt.Sprintf("a program for %s, %s: the interposer is for %s, %s", f.Machine, f.Class, self.Machine, self.Class), nil
	}
	loader := ""
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, "", errors.WithStack(err)
			}
			loader = strings.TrimRight(string(text), "\x00")
		}
	}
	if loader == "" {
		return nil, "statically linked: the loader, which would put the interposer before libc, has no part in it", nil
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, "", errors.WithStack(err)
	}
	list := exec.Command(loader, "--list", full) // what ldd does; the program itself is not run
	var complaint bytes.Buffer
	list.Stderr = &complaint
	text, err := list.Output()
	if err != nil {
		return nil, "", errors.Errorf("%s: its libraries are not all there: %s", path, strings.TrimSpace(complaint.String()))
	}
	objects = []string{full}
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		for i, word := range words {
			if word == "=>" && i+1 < len(words) && strings.HasPrefix(words[i+1], "/") {
				objects = append(objects, words[i+1])
			}
		}
	}
	return objects, "", nil
}

// reportCalls tells what the objects import that is not served.
func reportCalls(out io.Writer, path string, objects []string, verbose bool) error {
	byName, err := preload.ByName()
	if err != nil {
		return err
	}
	users := map[string][]string{}
	served, direct := 0, []string(nil)
	for _, object := range objects {
		if strings.HasPrefix(filepath.Base(object), "libc.so.") {
			continue
		}
		f, err := elf.Open(object)
		if err != nil {
			return errors.Wrap(err, object)
		}
		symbols, err := f.ImportedSymbols()
		_ = f.Close()
		if err != nil {
			return errors.Wrap(err, object)
		}
		if verbose {
			fmt.Fprintf(out, "  %s\n", object)
		}
		for _, s := range symbols {
			function, known := byName[s.Name]
			switch {
			case !known:
			case s.Name == "syscall":
				direct = append(direct, filepath.Base(object))
			case function.Class == preload.Done:
				served++
			default:
				users[s.Name] = append(users[s.Name], filepath.Base(object))
			}
		}
	}
	fmt.Fprintf(out, "%s: %d objects, %d calls are served\n", path, len(objects), served)
	for _, class := range []preload.Class{preload.Refused, preload.Passes} {
		if class == preload.Passes && !verbose {
			continue
		}
		names := []string{}
		for name := range users {
			if byName[name].Class == class {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(out, "  %-8s %s (in %s): %s\n", class, name, strings.Join(users[name], ", "), byName[name].Note)
		}
	}
	if len(direct) > 0 {
		fmt.Fprintf(out, "  direct   syscall(2), calls by number (in %s): what there is a function for is served, others are refused and told in the report\n", strings.Join(direct, ", "))
	}
	return nil
}
