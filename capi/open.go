package main

import (
	"context"
	"io"

	"github.com/benchfs/benchfs/capi/bridge"
	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/compose"
)

// open resolves the configuration and joins the parts.
func open(ctx context.Context, s bridge.Settings) (*client.Client, io.Closer, error) {
	sources := config.Sources{File: s.ConfigFile, Text: s.ConfigText, Env: s.Environment}
	switch s.Mode {
	case bridge.ModeEmbedded:
		sources.Overrides = map[string]string{"cluster.mode": config.ModeEmbedded}
	case bridge.ModeDistributed:
		sources.Overrides = map[string]string{"cluster.mode": config.ModeDistributed}
	}
	cfg, err := config.Load(sources)
	if err != nil {
		return nil, nil, err
	}
	return compose.Open(ctx, cfg, compose.Process{
		UID: s.Process.UID, GID: s.Process.GID, Groups: s.Process.Groups, Umask: s.Process.Umask,
	})
}
