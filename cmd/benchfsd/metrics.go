package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// serveMetrics serves the daemon's statistics as Prometheus text under /metrics at "unix:/path" or host:port; "" = not at all.
// The returned function ends it.
func serveMetrics(where string, stats func() any, log *slog.Logger) (end func(), err error) {
	if where == "" {
		return func() {}, nil
	}
	network, address := "tcp", where
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		network, address = "unix", path
		if err := removeDeadSocket(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, errors.WithMessage(err, "daemon.metrics")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if err := writeMetrics(w, stats()); err != nil {
			log.Debug("metrics", "error", err)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics ended", "error", err)
		}
	}()
	log.Info("metrics", "at", listener.Addr().String())
	return func() { _ = server.Close() }, nil
}

// removeDeadSocket takes away the socket of a daemon that was killed. One that answers, or another kind of file, stays.
func removeDeadSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.WithMessage(err, "daemon.metrics")
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.Errorf("daemon.metrics: %s is there and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return errors.Errorf("daemon.metrics: %s is in use by another process", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return errors.WithMessage(err, "daemon.metrics")
	}
	return errors.WithMessage(os.Remove(path), "daemon.metrics")
}

// labelled are the parts of the statistics that are maps from something to a number: the keys become a label of that name.
var labelled = map[string]string{"requests": "type"}

// writeMetrics writes every number of a JSON-able value in the Prometheus text format. {"shards":[{"shard":3,"sessions":1}]} becomes
// benchfs_shards_sessions{shard="3"} 1: names are the path, elements of a list carry their number as a label.
func writeMetrics(w io.Writer, stats any) error {
	text, err := json.Marshal(stats)
	if err != nil {
		return errors.WithStack(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber() // 64-bit counters do not survive a float64
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return errors.WithStack(err)
	}
	families := map[string][]string{}
	flatten(families, "benchfs", nil, tree)
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := fmt.Fprintf(w, "# TYPE %s untyped\n%s", name, strings.Join(families[name], "")); err != nil {
			return err
		}
	}
	return nil
}

func flatten(out map[string][]string, name string, labels []string, value any) {
	switch v := value.(type) {
	case json.Number:
		add(out, name, labels, v.String())
	case bool:
		add(out, name, labels, map[bool]string{false: "0", true: "1"}[v])
	case []any:
		for i, element := range v {
			// The element's own number, where it has one: {"shards":[{"shard":3, …}]}.
			label, number := "index", strconv.Itoa(i)
			if object, ok := element.(map[string]any); ok {
				own := strings.TrimSuffix(name[strings.LastIndexByte(name, '_')+1:], "s")
				if id, ok := object[own].(json.Number); ok {
					label, number = own, id.String()
				}
			}
			flatten(out, name, withLabel(labels, label, number), element)
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		label, isMap := labelled[name[strings.LastIndexByte(name, '_')+1:]]
		for _, key := range keys {
			if isMap {
				flatten(out, name, withLabel(labels, label, key), v[key])
			} else {
				flatten(out, name+"_"+metricName(key), labels, v[key])
			}
		}
	}
}

func add(out map[string][]string, name string, labels []string, value string) {
	set := ""
	if len(labels) > 0 {
		set = "{" + strings.Join(labels, ",") + "}"
	}
	out[name] = append(out[name], name+set+" "+value+"\n")
}

func withLabel(labels []string, name, value string) []string {
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value)
	return append(slices.Clone(labels), metricName(name)+`="`+escaped+`"`)
}

// metricName replaces what Prometheus does not allow in a name.
func metricName(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, key)
}
