// Package registry is the directory in which the daemons of a cluster find each other and clients find them.
//
// One JSON file a daemon, node-<id>.json, put in place by an atomic rename once the daemon serves, and one lock file beside it,
// node-<id>.lock, on which the daemon holds an open-file-description lock while it lives: "is it alive?" has an answer on
// the same host at any moment, however the daemon ended. The file secret holds the job's secret.
//
// The directory may be on a shared file system. It is private to one user: mode 0700, files 0600; anything looser is refused, because
// whoever can write here can redirect the job's data, and whoever can read here can take part.
//
// The package runs in applications' processes: plain system calls, no os.File and no Go timers (both start Go's poller).
package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pkg/errors"
)

// Record is what a daemon tells about itself.
type Record struct {
	Node        uint32   `json:"node"`
	Nodes       uint32   `json:"nodes"` // how many it expects in the cluster
	Epoch       uint32   `json:"epoch"`
	HostID      string   `json:"host_id"`     // HostID of its machine
	Door        string   `json:"door"`        // path of the socket for processes of its machine
	Listen      string   `json:"listen"`      // host:port of its listener
	FirstShard  uint32   `json:"first_shard"` // number of its first shard in the cluster
	Workers     [][]byte `json:"workers"`     // UCX worker address of each shard
	PID         int      `json:"pid"`
	Incarnation uint64   `json:"incarnation"` // another one after each start
	ChunkBits   uint8    `json:"chunk_bits"`
	Build       string   `json:"build"`
}

// maxRecordBytes bounds a record: 4096 shards with addresses of 2 KiB, in base64.
const maxRecordBytes = 16 << 20

const (
	recordPrefix = "node-"
	recordSuffix = ".json"
	lockSuffix   = ".lock"
)

func recordPath(dir string, node uint32) string { return fmt.Sprintf("%s/node-%d.json", dir, node) }
func lockPath(dir string, node uint32) string   { return fmt.Sprintf("%s/node-%d.lock", dir, node) }

// Publication is a published record and the lock that says that its daemon lives.
type Publication struct {
	dir    string
	node   uint32
	lockFD int
}

// Publish makes a daemon known, atomically: readers see the whole record or none. The directory is made if it is missing. EBUSY when
// a living daemon has published this node; what a dead one has left is replaced. The process's end, of whatever kind, releases
// the lock. The caller owns the Publication and ends it with Withdraw.
func Publish(dir string, r Record) (*Publication, error) {
	if err := makePrivateDir(dir); err != nil {
		return nil, err
	}
	fd, err := openFile(lockPath(dir, r.Node), syscall.O_RDWR|syscall.O_CREAT, 0o600)
	if err != nil {
		return nil, errors.Wrapf(err, "registry: cannot open %s", lockPath(dir, r.Node))
	}
	p := &Publication{dir: dir, node: r.Node, lockFD: fd}
	if err := p.publish(r); err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return p, nil
}

func (p *Publication) publish(r Record) error {
	if err := lock(p.lockFD); err != nil {
		if err == syscall.EAGAIN || err == syscall.EACCES {
			return errors.Wrapf(syscall.EBUSY, "registry %s: node %d is already published by a daemon that runs%s", p.dir, p.node, publisher(p.dir, p.node))
		}
		return errors.Wrapf(err, "registry: cannot lock %s", lockPath(p.dir, p.node))
	}
	if err := p.sweep(); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return errors.Wrap(err, "registry record")
	}
	return writeAtomic(recordPath(p.dir, p.node), append(text, '\n'), syscall.Rename)
}

// publisher names the process behind a record, for messages.
func publisher(dir string, node uint32) string {
	r, err := readRecord(dir, node)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %d, %s)", r.PID, r.Listen)
}

// sweep removes what a dead predecessor of this node has left: its record, and half-written ones. The lock must be held.
func (p *Publication) sweep() error {
	names, err := listDir(p.dir)
	if err != nil {
		return err
	}
	mine := recordPath("", p.node)[1:]
	for _, name := range names {
		if name == mine || strings.HasPrefix(name, mine+".") {
			if err := syscall.Unlink(p.dir + "/" + name); err != nil && err != syscall.ENOENT {
				return errors.Wrapf(err, "registry: cannot remove %s/%s, left by a dead daemon", p.dir, name)
			}
		}
	}
	return nil
}

// Withdraw takes the record away and gives the lock back. The lock file stays: removing it while another daemon
// waits for it would give two of them the lock. A second Withdraw does nothing.
func (p *Publication) Withdraw() error {
	if p.lockFD < 0 {
		return nil
	}
	err := syscall.Unlink(recordPath(p.dir, p.node))
	if err == syscall.ENOENT { // somebody has removed the directory: it is gone, as asked
		err = nil
	}
	if closeErr := syscall.Close(p.lockFD); err == nil {
		err = closeErr
	}
	p.lockFD = -1
	return errors.Wrapf(err, "registry: cannot withdraw node %d", p.node)
}

// Read returns the records that are there, by node id in numeric order. Those of dead daemons are among them; ask Alive. A record
// that does not parse is an error that names the file.
func Read(dir string) ([]Record, error) {
	if err := checkPrivateDir(dir); err != nil {
		return nil, err
	}
	names, err := listDir(dir)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, name := range names {
		node, ok := nodeOf(name)
		if !ok {
			continue
		}
		r, err := readRecord(dir, node)
		if errors.Is(err, syscall.ENOENT) { // withdrawn meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b Record) int { return int(int64(a.Node) - int64(b.Node)) })
	return records, nil
}

// nodeOf reads the node id out of the name of a record's file.
func nodeOf(name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, recordPrefix)
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, recordSuffix); !ok {
		return 0, false
	}
	node, err := strconv.ParseUint(digits, 10, 32)
	return uint32(node), err == nil && strconv.FormatUint(node, 10) == digits
}

func readRecord(dir string, node uint32) (Record, error) {
	var r Record
	path := recordPath(dir, node)
	text, err := readPrivate(path, maxRecordBytes)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, errors.Wrapf(syscall.EINVAL, "registry: %s does not parse: %v", path, err)
	}
	if r.Node != node {
		return r, errors.Wrapf(syscall.EINVAL, "registry: %s is the record of node %d", path, r.Node)
	}
	return r, nil
}

// Alive tells whether the node's daemon lives: whether it holds its lock. known is false where that cannot be told: no lock
// file, or a file system without locks. Locks are seen across processes of one host, and over NFS as far as its server keeps them;
// ask only for records with this machine's HostID.
func Alive(dir string, node uint32) (alive, known bool) {
	fd, err := openFile(lockPath(dir, node), syscall.O_RDWR, 0)
	if err != nil {
		return false, false
	}
	defer func() { _ = syscall.Close(fd) }()
	held, err := isLocked(fd)
	return held, err == nil
}
