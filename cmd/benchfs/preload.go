package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/preload"
)

// prefixVariable names where programs see the file system.
const prefixVariable = "BENCHFS_PREFIX"

// preloadOptions are the flags of commands that put the interposer before a program's libc.
type preloadOptions struct {
	prefix  string
	library string
	log     string
	report  bool
}

func (o *preloadOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.prefix, "prefix", "", "`directory` under which the program sees the file system (BENCHFS_PREFIX, or /benchfs)")
	f.StringVar(&o.library, "preload-library", "", "the interposer's `file`; default: beside benchfs, in ../lib, or where the loader finds it")
	f.StringVar(&o.log, "preload-log", "", "tell what is refused and what fails: `stderr` or a file (BENCHFS_PRELOAD_LOG)")
	f.BoolVar(&o.report, "preload-report", false, "tell at the end which calls there were (BENCHFS_PRELOAD_REPORT)")
}

// environment is base with the interposer in it.
func (o *preloadOptions) environment(base []string) ([]string, error) {
	library, err := findPreload(o.library)
	if err != nil {
		return nil, err
	}
	set := map[string]string{}
	if o.prefix != "" {
		if !filepath.IsAbs(o.prefix) || filepath.Clean(o.prefix) == "/" {
			return nil, usage("--prefix %q: an absolute path below /", o.prefix)
		}
		set[prefixVariable] = filepath.Clean(o.prefix)
	}
	if o.log != "" {
		set["BENCHFS_PRELOAD_LOG"] = o.log
		if o.log != "stderr" {
			if set["BENCHFS_PRELOAD_LOG"], err = filepath.Abs(o.log); err != nil {
				return nil, err
			}
		}
	}
	if o.report {
		set["BENCHFS_PRELOAD_REPORT"] = "1"
	}
	var env []string
	before, tunables := "", ""
	for _, pair := range base {
		name, value, _ := strings.Cut(pair, "=")
		if name == "LD_PRELOAD" {
			before = value
		} else if name == "GLIBC_TUNABLES" {
			tunables = value
		} else if _, ours := set[name]; !ours {
			env = append(env, pair)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	list := library
	for _, other := range strings.FieldsFunc(before, func(r rune) bool { return r == ':' || r == ' ' }) {
		if filepath.Base(other) != preload.Library {
			list += ":" + other
		}
	}
	return append(env, "LD_PRELOAD="+list, "GLIBC_TUNABLES="+withNamespaces(tunables)), nil
}

// withNamespaces asks the loader for room for thread-local variables of as many copies of the library as it has namespaces for: each generation of a
// program that forks and uses files takes one. Without that, there is room for about seven.
func withNamespaces(tunables string) string {
	const name = "glibc.rtld.nns="
	if strings.Contains(tunables, name) {
		return tunables
	}
	return strings.TrimPrefix(tunables+":"+name+"16", ":")
}

// findPreload is the interposer: the one that was named, beside this program, in ../lib, or by its name, for the loader to find.
func findPreload(named string) (string, error) {
	if named != "" {
		path, err := filepath.Abs(named)
		if err == nil {
			_, err = os.Stat(path)
		}
		return path, errors.WithMessage(err, "--preload-library")
	}
	self, err := os.Executable()
	if err != nil {
		return "", errors.WithStack(err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", errors.WithStack(err)
	}
	dir := filepath.Dir(self)
	candidates := []string{filepath.Join(dir, preload.Library), filepath.Join(dir, "..", "lib", preload.Library)}
	installed, _ := filepath.Glob(filepath.Join(dir, "..", "lib", "*-linux-*", preload.Library))
	system := []string{"/usr/lib/", "/usr/local/lib/", "/usr/lib64/"}
	candidates = append(candidates, installed...)
	for _, place := range system {
		candidates = append(candidates, place+preload.Library)
	}
	for _, candidate := range candidates {
		if _, err := os.Stat(candidate); err == nil {
			return filepath.Clean(candidate), nil
		}
	}
	return "", errors.Errorf("%s is neither beside %s nor in %s: name it with --preload-library", preload.Library, self, filepath.Join(dir, "..", "lib"))
}

func execCommand(g *globals) *cobra.Command {
	o := &preloadOptions{}
	c := &cobra.Command{
		Use:   "exec [flags] -- program [argument …]",
		Short: "Run an unmodified program on the file system",
		Long: "exec replaces itself by the program, for which paths under the prefix (/benchfs by default) are those of the file system. The daemons must\n" +
			"run: inside `benchfs run` they are known, elsewhere name them with --registry and --expected-nodes. docs/preload.md says what works.",
		Example: "  benchfs exec -- ls -l /benchfs\n  benchfs exec --prefix /scratch --preload-report -- ./simulation /scratch/out",
		Args:    cobra.MinimumNArgs(1),
	}
	o.flags(c)
	c.Flags().SetInterspersed(false)
	c.RunE = func(_ *cobra.Command, args []string) error {
		err := o.exec(g, args)
		var f *failure
		var configured *config.Error
		if errors.As(err, &f) || errors.As(err, &configured) || errors.Is(err, errUsage) {
			return err
		}
		return &failure{code: 1, err: err}
	}
	return c
}

// exec starts the program in this process; it returns with an error only.
func (o *preloadOptions) exec(g *globals, args []string) error {
	cfg, err := g.load()
	if err != nil {
		return err
	}
	if !cfg.Distributed() {
		return usage("no daemons are known: run this inside `benchfs run -n N -- …`, or give --registry and --expected-nodes")
	}
	env, err := g.environment(os.Environ())
	if err != nil {
		return err
	}
	if env, err = o.environment(env); err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if err != nil {
		// It may lie in BenchFS, where only the interposer finds it: a shell with the interposer looks for it.
		prefix := "/benchfs"
		for _, pair := range env {
			if value, ok := strings.CutPrefix(pair, prefixVariable+"="); ok && value != "" {
				prefix = value
			}
		}
		if !strings.HasPrefix(args[0], prefix+"/") {
			return &failure{code: 127, err: err}
		}
		path, args = "/bin/sh", append([]string{"sh", "-c", `exec "$0" "$@"`}, args...)
	}
	err = syscall.Exec(path, args, env)
	return &failure{code: 126, err: errors.Wrap(err, path)}
}

// environment adds what --registry, --set and their like say to an environment.
func (g *globals) environment(base []string) ([]string, error) {
	values, err := g.overrides()
	if err != nil {
		return nil, err
	}
	set := map[string]string{}
	if g.config != "" {
		if set[config.FileVariable], err = filepath.Abs(g.config); err != nil {
			return nil, err
		}
	}
	if g.registry != "" {
		set["BENCHFS_CLUSTER_MODE"] = config.ModeDistributed
	}
	for _, k := range config.Keys() {
		if value, ok := values[k.Name]; ok {
			set[k.Env()] = value
		}
	}
	var env []string
	for _, pair := range base {
		name, _, _ := strings.Cut(pair, "=")
		if _, ours := set[name]; !ours {
			env = append(env, pair)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	return env, nil
}
