// Command benchfs is the operator's tool: it starts daemons on this machine for the length of a command, tells how a file system is, and moves
// files in and out of it.
//
// Exit status: 0 it worked; 1 it did not; 2 it was called or configured wrongly. `benchfs run` returns the status of its command.
//
//   - main.go, session.go: commands, flags, configuration, the client.
//   - run.go, up.go: daemons for the length of a command, or until `benchfs down`. daemons.go, place.go: their processes and directories.
//   - preload.go, checkapp.go: programs that know nothing of BenchFS.
//   - list.go, files.go, transfer.go, status.go: the commands that look into a file system.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/internal/compose"
)

func main() {
	err := command().Execute()
	code := exitCode(err)
	if err != nil && err.Error() != "" {
		fmt.Fprintln(os.Stderr, "benchfs:", err)
		if hint := advice(err); hint != "" {
			fmt.Fprintln(os.Stderr, "benchfs:", hint)
		}
	}
	os.Exit(code)
}

// failure is an error of what was asked for, not of how it was asked. Its text may be empty: all is said already.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// exitCode is 0, 1 or 2, or what a command under `benchfs run` ended with. What is no failure comes from the command line.
func exitCode(err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.code
	}
	return 2
}

// action makes a RunE out of a function whose errors are failures, except those of the configuration. The context ends when
// the user interrupts.
func action(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		err := f(ctx, args)
		var f *failure
		var configured *config.Error
		switch {
		case err == nil || errors.As(err, &f) || errors.As(err, &configured) || errors.Is(err, errUsage):
			return err
		case ctx.Err() != nil:
			return &failure{code: 128 + int(syscall.SIGINT), err: errors.New("interrupted")}
		}
		return &failure{code: 1, err: err}
	}
}

// errUsage marks errors of the command line that only the command itself can see.
var errUsage = errors.New("see --help")

func usage(format string, arguments ...any) error {
	return fmt.Errorf(format+" (%w)", append(arguments, errUsage)...)
}

func command() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:   "benchfs",
		Short: "Run and use BenchFS file systems",
		Long: "benchfs starts BenchFS daemons on this machine, shows how a file system is, and moves files in and out of it.\n\n" +
			"Paths in BenchFS are absolute: /dir/file. Which file system is meant is a matter of configuration: inside `benchfs run` it is given,\n" +
			"elsewhere name it with --registry and --expected-nodes, --config or the environment (docs/configuration.md).",
		SilenceErrors: true,
		Version:       compose.Build,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&g.config, "config", "", "TOML configuration `file`")
	flags.StringArrayVar(&g.set, "set", nil, "set any key of the configuration: `key=value`; may be repeated")
	flags.StringVar(&g.registry, "registry", "", "registry `directory` of the file system (cluster.registry_dir)")
	flags.IntVar(&g.expected, "expected-nodes", 0, "`number` of its daemons (cluster.expected_nodes)")
	root.AddCommand(runCommand(g), execCommand(g), checkAppCommand(), upCommand(g), downCommand(g), statusCommand(g),
		lsCommand(g), statCommand(g), catCommand(g), putCommand(g), getCommand(g), rmCommand(g), mkdirCommand(g), dfCommand(g), locateCommand(g))
	return root
}
