package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/errors"
)

// perftest is what ucx_perftest says about one message size, from end to end.
type perftest struct {
	latency   float64 // µs, median, one way: half a round trip
	bandwidth float64 // GB/s, all messages of the test
}

// ucxTest runs ucx_perftest between two processes, over TCP between the namespaces of the stage. The payloads lie in memory that is touched; nobody
// verifies them.
func (s *stage) ucxTest(ctx context.Context, test string, size, iterations int) (perftest, error) {
	env := append(cleanEnvironment(), "UCX_TLS=tcp")
	server, client := inNamespace(s.run.box.server), inNamespace(s.run.box.client)
	port, err := freePort()
	if err != nil {
		return perftest{}, err
	}
	listener := command(ctx, env, append(server, "ucx_perftest", "-p", port)...)
	if err := listener.Start(); err != nil {
		return perftest{}, err
	}
	defer func() {
		_ = listener.Process.Kill()
		_ = listener.Wait()
	}()
	args := append(client, "ucx_perftest", serverAddress, "-p", port, "-t", test, "-s", strconv.Itoa(size),
		"-n", strconv.Itoa(iterations), "-w", strconv.Itoa(max(10, iterations/20)), "-f", "-v")
	// The listener does not tell when it listens, and serves one connection only: a probe would take it.
	for attempt := 0; ; attempt++ {
		time.Sleep(50 * time.Millisecond)
		out, err := command(ctx, env, args...).CombinedOutput()
		if err == nil {
			return parsePerftest(string(out))
		}
		if attempt == 40 || ctx.Err() != nil {
			return perftest{}, errors.Wrapf(err, "ucx_perftest -t %s: %s", test, strings.TrimSpace(string(out)))
		}
	}
}

// parsePerftest reads the line of numbers of `ucx_perftest -f -v`: iterations, median, average and overall latency (µs), average and overall
// bandwidth (MiB/s), average and overall message rate.
func parsePerftest(output string) (perftest, error) {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	if len(fields) != 8 {
		return perftest{}, errors.Errorf("ucx_perftest printed %q", output)
	}
	numbers := make([]float64, len(fields))
	for i, field := range fields {
		var err error
		if numbers[i], err = strconv.ParseFloat(strings.TrimSpace(field), 64); err != nil {
			return perftest{}, errors.Wrapf(err, "ucx_perftest printed %q", output)
		}
	}
	return perftest{latency: numbers[1], bandwidth: numbers[5] * (1 << 20) / 1e9}, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
