package registry

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// Missing is the failure of a Wait: not all daemons were there by the deadline.
type Missing struct {
	Dir      string
	Expected int
	Nodes    []uint32 // without a record, in numeric order
	Dead     []Record // with a record of a daemon on this host that does not run any more
	Cause    error    // why the directory could not be read, when that is the reason; else nil
}

func (e *Missing) Error() string {
	var parts []string
	if len(e.Nodes) > 0 {
		names := make([]string, len(e.Nodes))
		for i, node := range e.Nodes {
			names[i] = fmt.Sprintf("node %d", node)
		}
		parts = append(parts, strings.Join(names, ", ")+" not published")
	}
	for _, r := range e.Dead {
		parts = append(parts, fmt.Sprintf("the daemon of node %d (pid %d) does not run any more", r.Node, r.PID))
	}
	text := fmt.Sprintf("registry %s: %d of %d daemons missing: %s", e.Dir, len(e.Nodes)+len(e.Dead), e.Expected, strings.Join(parts, "; "))
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Missing) Unwrap() error { return e.Cause }

// Errno is ETIMEDOUT.
func (e *Missing) Errno() syscall.Errno { return syscall.ETIMEDOUT }

// Wait returns the records of the nodes 0 … expected−1 as soon as all are there and none of them is known to be dead. After the
// deadline the error is a *Missing that names those that are not. EINVAL at once when a daemon was started for another number of
// nodes. It blocks the calling thread.
func Wait(dir string, expected int, deadline time.Time) ([]Record, error) {
	if expected < 1 {
		return nil, errors.Wrapf(syscall.EINVAL, "registry %s: %d expected nodes", dir, expected)
	}
	pause := time.Millisecond
	for {
		records, missing, err := look(dir, expected)
		if err != nil {
			return nil, err
		}
		if missing == nil {
			return records, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, missing
		}
		sleep(min(pause, left))
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// look is one look at the registry: all records, or who is missing.
func look(dir string, expected int) ([]Record, *Missing, error) {
	all, err := Read(dir)
	missing := &Missing{Dir: dir, Expected: expected}
	if errors.Is(err, syscall.ENOENT) {
		missing.Cause = err
	} else if err != nil {
		return nil, nil, err
	}
	host := HostID()
	byNode := map[uint32]Record{}
	for _, r := range all {
		if r.HostID == host {
			if alive, known := Alive(dir, r.Node); known && !alive {
				if int64(r.Node) < int64(expected) {
					missing.Dead = append(missing.Dead, r)
				}
				continue
			}
		}
		if int64(r.Nodes) != int64(expected) {
			return nil, nil, errors.Wrapf(syscall.EINVAL, "registry %s: node %d was started for a cluster of %d nodes, cluster.expected_nodes is %d here",
				dir, r.Node, r.Nodes, expected)
		}
		byNode[r.Node] = r
	}
	records := make([]Record, 0, expected)
	for node := range uint32(expected) {
		if r, ok := byNode[node]; ok {
			records = append(records, r)
		} else if !contains(missing.Dead, node) {
			missing.Nodes = append(missing.Nodes, node)
		}
	}
	if len(records) == expected {
		return records, nil, nil
	}
	return nil, missing, nil
}

func contains(records []Record, node uint32) bool {
	for _, r := range records {
		if r.Node == node {
			return true
		}
	}
	return false
}

// sleep blocks the thread; time.Sleep would start Go's poller.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // woken early by a signal: the caller looks at the clock
}
