package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/internal/compose"
)

// stopTime is how long a clean stop may take. What was acknowledged is safe also when it takes longer and the process just ends.
const stopTime = 30 * time.Second

// serve runs the daemon until a signal or a failure ends it.
func serve(cfg *config.Config, readyFD int) error {
	log := newLog(cfg, os.Stderr)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go watch(signals, cancel, log)

	d, err := compose.StartDaemon(ctx, cfg, log)
	if err != nil {
		if ctx.Err() != nil { // told to stop before it was up: that is a clean end
			return nil
		}
		return errors.WithMessage(err, "cannot start")
	}
	closeMetrics, err := serveMetrics(cfg.Daemon.Metrics, d.Stats, log)
	if err == nil {
		<-d.Ready()
		err = announce(readyFD)
	}
	if err != nil {
		return multierr.Append(err, stop(d, closeMetrics))
	}
	record := d.Record()
	log.Info("ready", "node", record.Node, "of", record.Nodes, "shards", len(record.Workers), "listen", record.Listen,
		"data_dir", cfg.Store.DataDir, "store", cfg.StoreBackend(), "capacity", cfg.Store.Capacity.String(), "incarnation", record.Incarnation)

	ended := make(chan error, 1)
	go func() { ended <- d.Wait() }()
	select {
	case err := <-ended:
		return multierr.Append(errors.WithMessage(err, "a shard failed"), stop(d, closeMetrics))
	case <-ctx.Done():
	}
	err = stop(d, closeMetrics)
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// stop ends the daemon in order.
func stop(d *compose.Daemon, closeMetrics func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if closeMetrics != nil {
		closeMetrics()
	}
	return errors.WithMessage(d.Stop(ctx), "stop")
}

// watch turns the first signal into a clean stop and the second into an end.
func watch(signals <-chan os.Signal, cancel func(), log *slog.Logger) {
	first := <-signals
	log.Info("stopping", "signal", first.String())
	cancel()
	second := <-signals
	log.Warn("forced to end", "signal", second.String())
	os.Exit(1)
}

// announce tells whoever started the daemon that it serves: on the given descriptor, and to a service manager (sd_notify(3)).
func announce(fd int) error {
	if fd >= 0 {
		pipe := os.NewFile(uintptr(fd), "ready-fd")
		if pipe == nil {
			return errors.Errorf("--ready-fd %d is no open descriptor", fd)
		}
		_, err := io.WriteString(pipe, "READY=1\n")
		if err = multierr.Append(err, pipe.Close()); err != nil {
			return errors.WithMessage(err, fmt.Sprintf("--ready-fd %d", fd))
		}
	}
	address := config.Environ()["NOTIFY_SOCKET"]
	if address == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return errors.WithMessage(err, "service manager")
	}
	_, err = io.WriteString(conn, "READY=1\n")
	return errors.WithMessage(multierr.Append(err, conn.Close()), "service manager")
}

// newLog makes the daemon's log. The configuration has been checked: level and format are among those known.
func newLog(cfg *config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Daemon.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.Daemon.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func setPrivateUmask() { syscall.Umask(0o077) }
