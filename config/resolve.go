package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// maxDefaultShards bounds daemon.shards when it is not given: the application owns the other cores.
const maxDefaultShards = 4

// What a handshake has room for.
const (
	maxSecretBytes = 64
	maxHostBytes   = 64
)

// resolve works out what depends on other keys or on the machine.
func (l *loader) resolve() {
	c := l.c
	if c.Cluster.ExpectedNodes == 0 && (len(c.Cluster.Nodes) > 0 || c.Cluster.RegistryDir == "") {
		c.Cluster.ExpectedNodes = max(len(c.Cluster.Nodes), 1)
	}
	if c.Daemon.Shards == 0 {
		c.Daemon.Shards = min(maxDefaultShards, runtime.NumCPU())
	}
	if c.Store.Capacity == 0 {
		c.Store.Capacity = defaultCapacity(c.Store.DataDir)
	}
}

// bad reports a value that is wrong beside the others.
func (l *loader) bad(key, format string, arguments ...any) {
	source := l.c.origin[key]
	if source == "default" { // nobody wrote it: what is wrong is that nobody did
		source = "configuration"
	}
	l.fail(&Error{Source: source, Key: key, Reason: fmt.Sprintf(format, arguments...)})
}

// check looks at what one key alone does not show.
func (l *loader) check() {
	c := l.c
	if c.Distributed() {
		l.checkCluster()
	}
	for key, size := range map[string]Bytes{"layout.chunk_size": c.Layout.ChunkSize, "store.segment": c.Store.Segment} {
		if size&(size-1) != 0 {
			l.bad(key, "%s is not a power of two", size)
		}
	}
	// A client of daemons may be given their settings; it keeps nothing itself.
	if !c.Distributed() && (c.Store.Backend == BackendArena || c.Store.Backend == BackendURing) && c.Store.DataDir == "" {
		l.bad("store.backend", "%q needs store.data_dir", c.Store.Backend)
	}
	if c.Store.Backend == BackendMemory && c.Store.DataDir != "" {
		l.bad("store.backend", `"memory" keeps nothing, but store.data_dir is %q: take one of them away`, c.Store.DataDir)
	}
	if c.RPC.BackoffBase > c.RPC.BackoffMax {
		l.bad("rpc.backoff_base", "%s is more than rpc.backoff_max, %s", c.RPC.BackoffBase, c.RPC.BackoffMax)
	}
	if len(c.Cluster.Host) > maxHostBytes {
		l.bad("cluster.host", "it is longer than %d bytes", maxHostBytes)
	}
	if len(c.Cluster.Secret) > maxSecretBytes {
		l.bad("cluster.secret", "it is longer than %d bytes", maxSecretBytes)
	}
	for _, address := range c.Cluster.Nodes {
		if err := checkAddress(address, false); err != nil {
			l.bad("cluster.nodes", "%v", err)
		}
	}
	if err := checkAddress(c.Daemon.Listen, true); err != nil {
		l.bad("daemon.listen", "%v", err)
	}
	if m := c.Daemon.Metrics; m != "" && !strings.HasPrefix(m, "unix:/") {
		if err := checkAddress(m, true); err != nil {
			l.bad("daemon.metrics", "%v, nor unix:/path", err)
		}
	}
	if c.daemon {
		l.checkDaemon()
	}
}

func (l *loader) checkCluster() {
	c := l.c
	static := len(c.Cluster.Nodes) > 0
	switch {
	case c.Cluster.RegistryDir == "" && !static && !c.daemon:
		l.bad("cluster.mode", `"distributed" needs cluster.registry_dir or cluster.nodes, to find the daemons`)
	case c.Cluster.RegistryDir != "" && static:
		l.bad("cluster.nodes", "cluster.registry_dir is set too: take one of them away")
	case c.Cluster.ExpectedNodes == 0:
		l.bad("cluster.expected_nodes", "must be given with cluster.registry_dir: how many daemons are there?")
	case static && c.Cluster.ExpectedNodes != len(c.Cluster.Nodes):
		l.bad("cluster.expected_nodes", "%d, but cluster.nodes lists %d", c.Cluster.ExpectedNodes, len(c.Cluster.Nodes))
	case c.Cluster.RegistryDir == "" && c.Cluster.Secret == "":
		l.bad("cluster.secret", "must be given where there is no cluster.registry_dir to hold the job's secret")
	}
	if c.Cluster.RegistryDir != "" && !filepath.IsAbs(c.Cluster.RegistryDir) {
		l.bad("cluster.registry_dir", "%q is not an absolute path", c.Cluster.RegistryDir)
	}
}

func (l *loader) checkDaemon() {
	c := l.c
	if c.Cluster.Mode == ModeEmbedded {
		l.bad("cluster.mode", `"embedded" needs no daemon`)
	}
	if n := c.Cluster.ExpectedNodes; n > 0 && c.Cluster.NodeID >= n {
		l.bad("cluster.node_id", "%d is not below cluster.expected_nodes, %d: ids count from 0", c.Cluster.NodeID, n)
	}
	if c.StoreBackend() != BackendMemory && c.Store.DataDir == "" {
		l.bad("store.data_dir", `must be given, or store.backend = "memory" for data that ends with the daemon`)
	}
	if c.Cluster.RegistryDir == "" && strings.HasSuffix(c.Daemon.Listen, ":0") {
		l.bad("daemon.listen", "needs a port where there is no cluster.registry_dir to publish a free one in")
	}
}

// checkAddress accepts host:port with a name or a numeric address; port 0 only where any port will do.
func checkAddress(address string, anyPort bool) error {
	if parsed, err := netip.ParseAddrPort(address); err == nil {
		if parsed.Port() != 0 || anyPort {
			return nil
		}
		return fmt.Errorf("%q has no port", address)
	}
	host, port, ok := strings.Cut(address, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if !ok || host == "" || err != nil || strings.ContainsAny(host, " /[]") {
		return fmt.Errorf("%q is not host:port", address)
	}
	if number == 0 && !anyPort {
		return fmt.Errorf("%q has no port", address)
	}
	return nil
}

// defaultCapacity is half of the medium: of the file system that holds dir (or will), or of the memory that this process may use.
// It is a limit, not a reservation, and half leaves room for the logs and the neighbours.
func defaultCapacity(dir string) Bytes {
	const least = 64 << 20
	if dir == "" {
		return max(least, Bytes(memoryBytes()/2))
	}
	for {
		var fs syscall.Statfs_t
		err := syscall.Statfs(dir, &fs)
		if err == nil {
			return max(least, Bytes(fs.Blocks*uint64(fs.Bsize)/2))
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return least
		}
		dir = parent
	}
}

// memoryBytes is the machine's memory, or the control group's limit where that is lower.
func memoryBytes() uint64 {
	var info syscall.Sysinfo_t
	total := uint64(1 << 30)
	if err := syscall.Sysinfo(&info); err == nil {
		total = uint64(info.Totalram) * uint64(info.Unit)
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := readFile(file)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil && limit > 0 {
			total = min(total, limit)
		}
	}
	return total
}
