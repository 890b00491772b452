package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/compose"
)

// globals are the flags of all commands.
type globals struct {
	config   string
	set      []string
	registry string
	expected int
}

// overrides are the keys that flags give.
func (g *globals) overrides() (map[string]string, error) {
	values := map[string]string{}
	for _, pair := range g.set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usage("--set %q: write key=value", pair)
		}
		values[strings.TrimSpace(key)] = value
	}
	if g.registry != "" {
		dir, err := filepath.Abs(g.registry)
		if err != nil {
			return nil, err
		}
		values["cluster.registry_dir"] = dir
	}
	if g.expected != 0 {
		values["cluster.expected_nodes"] = strconv.Itoa(g.expected)
	}
	return values, nil
}

// load resolves the configuration of a client.
func (g *globals) load() (*config.Config, error) {
	values, err := g.overrides()
	if err != nil {
		return nil, err
	}
	return config.Load(config.Sources{File: g.config, Env: config.Environ(), Overrides: values})
}

// session is a client for the length of a command.
type session struct {
	*client.Client
	cfg  *config.Config
	ends io.Closer
}

// open connects to the file system that is configured. One that would live in this process's memory only is refused: it would be empty.
func (g *globals) open(ctx context.Context) (*session, error) {
	cfg, err := g.load()
	if err != nil {
		return nil, err
	}
	if !cfg.Distributed() && cfg.Store.DataDir == "" {
		return nil, usage("no file system is configured: run this inside `benchfs run -n N -- …`, or give --registry and --expected-nodes, " +
			"or --set store.data_dir=DIR for an embedded one")
	}
	p, err := thisProcess()
	if err != nil {
		return nil, err
	}
	c, ends, err := compose.Open(ctx, cfg, p)
	if err != nil {
		return nil, errors.WithMessage(err, "cannot open the file system")
	}
	return &session{Client: c, cfg: cfg, ends: ends}, nil
}

func (s *session) close(ctx context.Context) error {
	_, err := s.Client.Close(context.WithoutCancel(ctx))
	return multierr.Append(err, s.ends.Close())
}

// with opens the file system, runs f, and closes it; an error of closing is one of the command.
func (g *globals) with(ctx context.Context, f func(s *session) error) error {
	s, err := g.open(ctx)
	if err != nil {
		return err
	}
	return multierr.Append(f(s), s.close(ctx))
}

// thisProcess is on whose behalf calls are made.
func thisProcess() (compose.Process, error) {
	p := compose.Process{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	groups, err := os.Getgroups()
	if err != nil {
		return p, errors.Wrap(err, "groups of this process")
	}
	for _, group := range groups {
		p.Groups = append(p.Groups, uint32(group))
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	p.Umask = uint32(mask)
	return p, nil
}

// advice says what to do about an error that the words of the system do not explain.
func advice(err error) string {
	switch fserr.Errno(err) {
	case syscall.ETIMEDOUT, syscall.EHOSTUNREACH:
		return "is the daemon running? `benchfs status` shows who is there, the daemon's log says why it is not"
	case syscall.ECONNREFUSED:
		return "the daemon refuses this client: another secret, user or version; use the registry directory that the daemons use"
	case syscall.ENOSPC:
		return "the store is full: `benchfs df` shows it; remove files, or start the daemons with a larger store.capacity"
	case syscall.ESTALE:
		return "the cluster has changed since it was joined: compare cluster.epoch and cluster.expected_nodes with the daemons'"
	}
	return ""
}

// printJSON writes one value, indented.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return errors.WithStack(err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
