// Command benchfsd is the daemon of BenchFS: the shards of one node.
//
// It says "ready" (in the registry, on --ready-fd, to the service manager) only when it serves, stops cleanly with status 0 on SIGTERM
// or SIGINT, and at once on the second signal. Status 1: it could not start or a shard failed; 2: bad arguments or configuration.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/internal/compose"
)

func main() {
	// What the daemon makes (segments, logs, sockets) is its user's alone.
	setPrivateUmask()
	err := command().Execute()
	var failed *failure
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &failed):
		fmt.Fprintln(os.Stderr, "benchfsd:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "benchfsd:", err)
	os.Exit(2)
}

// failure is an error of the daemon itself, not of how it was called.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// options are the flags that are no keys of the configuration.
type options struct {
	config      string
	set         []string
	printConfig bool
	readyFD     int
}

// keyFlags are the flags that stand for a key of the configuration.
var keyFlags = []struct{ flag, key string }{
	{"registry", "cluster.registry_dir"},
	{"nodes", "cluster.nodes"},
	{"expected-nodes", "cluster.expected_nodes"},
	{"node-id", "cluster.node_id"},
	{"listen", "daemon.listen"},
	{"shards", "daemon.shards"},
	{"log-level", "daemon.log_level"},
	{"log-format", "daemon.log_format"},
	{"metrics", "daemon.metrics"},
	{"data-dir", "store.data_dir"},
	{"capacity", "store.capacity"},
	{"recover", "store.recover"},
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "benchfsd [flags]",
		Short: "The daemon of BenchFS: one a node",
		Long: "benchfsd serves one node's part of a BenchFS file system.\n\n" +
			"Its configuration is resolved from defaults, a TOML file, the environment (BENCHFS_SECTION_KEY) and the flags below, later ones winning;\n" +
			"docs/configuration.md lists every key. `benchfs run -n N -- command` starts daemons on this machine for the length of a command.",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		Version:       compose.Build,
		SilenceUsage:  true,
	}
	flags := c.Flags()
	flags.StringVar(&o.config, "config", "", "TOML configuration `file`")
	flags.StringArrayVar(&o.set, "set", nil, "set any key of the configuration: `key=value`; may be repeated")
	flags.BoolVar(&o.printConfig, "print-config", false, "print the resolved configuration, with the source of each value, and exit")
	flags.IntVar(&o.readyFD, "ready-fd", -1, "write \"READY=1\" to this open file `descriptor` once the daemon serves, and close it")
	addKeyFlags(flags)
	c.RunE = func(c *cobra.Command, _ []string) error {
		overrides, err := o.overrides(flags)
		if err != nil {
			return err
		}
		cfg, err := config.Load(config.Sources{File: o.config, Env: config.Environ(), Overrides: overrides, Daemon: true})
		if err != nil {
			return err
		}
		if o.printConfig {
			_, err := fmt.Fprint(c.OutOrStdout(), cfg.TOML())
			return err
		}
		if err := serve(cfg, o.readyFD); err != nil {
			return &failure{err}
		}
		return nil
	}
	return c
}

// addKeyFlags makes a flag for each of keyFlags; its description is the first sentence of the key's.
func addKeyFlags(flags *pflag.FlagSet) {
	docs := map[string]string{}
	for _, k := range config.Keys() {
		docs[k.Name], _, _ = strings.Cut(strings.ReplaceAll(k.Doc, "`", "'"), ". ")
	}
	for _, f := range keyFlags {
		flags.String(f.flag, "", fmt.Sprintf("%s (%s)", strings.TrimSuffix(docs[f.key], "."), f.key))
	}
}

// overrides are the keys that flags give: those of --set first, then those of the flags with a name of their own.
func (o *options) overrides(flags *pflag.FlagSet) (map[string]string, error) {
	values := map[string]string{}
	for _, pair := range o.set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("--set %s: write key=value", strconv.Quote(pair))
		}
		values[strings.TrimSpace(key)] = value
	}
	for _, f := range keyFlags {
		if flags.Changed(f.flag) {
			value, err := flags.GetString(f.flag)
			if err != nil {
				return nil, err
			}
			values[f.key] = value
		}
	}
	return values, nil
}
