package config

import "strings"

// Key describes one key of the configuration.
type Key struct {
	Name    string // "section.key"
	Type    Type
	Default string   // as in the environment; "" = none
	Doc     string   // one sentence or a few, without line breaks
	OneOf   []string // the words that a String takes; nil = any
	Min     int64    // smallest value of an Int, Size or Duration (ns)
	Max     int64    // largest; 0 = no limit
	Secret  bool     // not printed

	field func(*Config) any // pointer to the field
}

// Type is how a value is written.
type Type string

// The types. In a TOML file, Int, Bool, Float and List are TOML's own; Duration is a string; Size is a string or a number of
// bytes; Mode is a string of octal digits. In the environment and in arguments all are text, a List separated by commas.
const (
	String   Type = "string"
	Int      Type = "integer"
	Bool     Type = "boolean"
	Float    Type = "number"
	List     Type = "list of strings"
	Duration Type = "duration" // as time.ParseDuration: "250ms", "30s", "2m"
	Size     Type = "size"     // bytes, or with a unit: B, KiB, MiB, GiB, TiB; "auto" where the key allows it
	Mode     Type = "octal"    // "022"; "" = not set
)

// Env is the environment variable of the key: cluster.node_id is BENCHFS_CLUSTER_NODE_ID.
func (k Key) Env() string {
	return "BENCHFS_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Section is the part before the dot, Short what follows it.
func (k Key) Section() string { return k.Name[:strings.IndexByte(k.Name, '.')] }

// Short is the key's name inside its section.
func (k Key) Short() string { return k.Name[strings.IndexByte(k.Name, '.')+1:] }

// Keys are all keys, section by section.
func Keys() []Key { return append([]Key(nil), keys...) }

// sectionDocs introduce the sections, in their order.
var sectionDocs = []struct{ name, doc string }{
	{"cluster", "Which daemons there are, and how to find them. Clients and daemons use the same values."},
	{"daemon", "What only benchfsd looks at."},
	{"store", "Where a node (or an embedded file system) keeps its part."},
	{"data", "How file data moves between an application and the daemon of its own machine. Daemons and clients look at it."},
	{"layout", "Placement of new files whose directory does not say otherwise: what the client that makes a file has set, else what the daemons have."},
	{"rpc", "Deadlines and retries. A call ends by its deadline with a true errno, whatever happens to the other side."},
	{"ucx", "The network layer. UCX chooses well by itself: change these with a measurement in hand."},
	{"client", "What an application's process looks at."},
	{"cache", "What a client keeps of other processes' state. By default nothing: every write that has returned is seen by every later read."},
	{"session", "How long a daemon waits for a client that has vanished."},
}

const (
	second = int64(1e9)
	milli  = int64(1e6)
	kib    = int64(1) << 10
	mib    = int64(1) << 20
)

var keys = []Key{
	{Name: "cluster.mode", Type: String, Default: ModeAuto, OneOf: []string{ModeAuto, ModeEmbedded, ModeDistributed},
		Doc: `"embedded": the store lives in this process. "distributed": daemons serve it. "auto": distributed exactly if cluster.registry_dir or cluster.nodes is set. ` +
			`A cluster that cannot be reached is an error; it never turns a distributed file system into an embedded one.`,
		field: func(c *Config) any { return &c.Cluster.Mode }},
	{Name: "cluster.registry_dir", Type: String,
		Doc:   `Directory in which each daemon publishes itself, seen by all nodes of the job (on one machine: any). It belongs to the job's user and nobody else may write or enter it (mode 0700). It also holds the job's secret.`,
		field: func(c *Config) any { return &c.Cluster.RegistryDir }},
	{Name: "cluster.nodes", Type: List,
		Doc:   `Instead of a registry directory: host:port of every daemon. The place in the list is the node id. Needs cluster.secret.`,
		field: func(c *Config) any { return &c.Cluster.Nodes }},
	{Name: "cluster.expected_nodes", Type: Int, Default: "0", Max: 65535,
		Doc:   `Number of daemons of the cluster. A client or daemon that does not see them all in time fails and names those missing. Required with cluster.registry_dir; with cluster.nodes it is the length of the list.`,
		field: func(c *Config) any { return &c.Cluster.ExpectedNodes }},
	{Name: "cluster.node_id", Type: Int, Default: "0", Max: 65534,
		Doc:   `Number of this daemon, from 0 to cluster.expected_nodes − 1. Clients do not look at it.`,
		field: func(c *Config) any { return &c.Cluster.NodeID }},
	{Name: "cluster.join_timeout", Type: Duration, Default: "30s", Min: milli,
		Doc:   `How long a client waits for all daemons to be there.`,
		field: func(c *Config) any { return &c.Cluster.JoinTimeout }},
	{Name: "cluster.epoch", Type: Int, Default: "1", Min: 1, Max: 1<<32 - 1,
		Doc:   `Number of the cluster map. Parties with different epochs refuse each other. Raise it when the set of nodes changes.`,
		field: func(c *Config) any { return &c.Cluster.Epoch }},
	{Name: "cluster.secret", Type: String, Secret: true,
		Doc:   `The job's secret, at most 64 bytes, where there is no registry directory to hold it. A file with this key must not be readable by others (mode 0600).`,
		field: func(c *Config) any { return &c.Cluster.Secret }},
	{Name: "cluster.host", Type: String,
		Doc:   `Name of this machine, at most 64 bytes; empty: what the system says. A process and a daemon with the same name share memory, others use the network.`,
		field: func(c *Config) any { return &c.Cluster.Host }},

	{Name: "daemon.listen", Type: String, Default: "127.0.0.1:0",
		Doc:   `Address and port of the daemon's listener; port 0 takes a free one. On several machines give an address that the others reach.`,
		field: func(c *Config) any { return &c.Daemon.Listen }},
	{Name: "daemon.shards", Type: Int, Default: "0", Max: 4096,
		Doc:   `Shards (threads) of a daemon, the same on all nodes. 0: one a core, at most 4. A data directory stays with the number that it was made with.`,
		field: func(c *Config) any { return &c.Daemon.Shards }},
	{Name: "daemon.log_level", Type: String, Default: "info", OneOf: []string{"debug", "info", "warn", "error"},
		Doc:   `What is logged, on standard error.`,
		field: func(c *Config) any { return &c.Daemon.LogLevel }},
	{Name: "daemon.log_format", Type: String, Default: "text", OneOf: []string{"text", "json"},
		Doc:   `How it is logged.`,
		field: func(c *Config) any { return &c.Daemon.LogFormat }},
	{Name: "daemon.metrics", Type: String,
		Doc:   `Where to serve counters as Prometheus text: "unix:/path/to/socket" (mode 0600) or host:port. Empty: nowhere.`,
		field: func(c *Config) any { return &c.Daemon.Metrics }},

	{Name: "store.backend", Type: String, Default: BackendAuto, OneOf: []string{BackendAuto, BackendMemory, BackendArena, BackendURing},
		Doc: `"memory": chunks end with the process. "arena": mapped segment files under store.data_dir. ` +
			`"uring": segment files under store.data_dir on a disk, read and written past the page cache through io_uring, with 64MiB of memory for transfers a shard. ` +
			`"auto": memory when embedded without store.data_dir, else arena. A data directory stays with the backend that it was made with.`,
		field: func(c *Config) any { return &c.Store.Backend }},
	{Name: "store.data_dir", Type: String,
		Doc:   `Directory of this node's data: tmpfs, persistent memory or a local file system. One process at a time uses it. An embedded file system without one ends with its process.`,
		field: func(c *Config) any { return &c.Store.DataDir }},
	{Name: "store.capacity", Type: Size, Default: "auto", Min: mib,
		Doc:   `Most that this node stores, over all its shards. "auto": half of the file system of store.data_dir, or half of the memory. Give it where several daemons share a medium.`,
		field: func(c *Config) any { return &c.Store.Capacity }},
	{Name: "store.segment", Type: Size, Default: "256MiB", Min: 64 * mib,
		Doc:   `Size of one segment file, a power of two, at least 64MiB. A data directory stays with the size that it was made with.`,
		field: func(c *Config) any { return &c.Store.Segment }},
	{Name: "store.huge_pages", Type: Bool, Default: "true",
		Doc:   `Ask for huge pages where the medium has them (arena).`,
		field: func(c *Config) any { return &c.Store.HugePages }},
	{Name: "store.populate", Type: Bool, Default: "true",
		Doc:   `Touch the pages of a segment ahead of their first use (arena).`,
		field: func(c *Config) any { return &c.Store.Populate }},
	{Name: "store.ahead", Type: Size, Default: "256MiB", Min: mib,
		Doc:   `Space of a node that is allocated (and touched, see store.populate) beyond what is in use, at most an eighth of the capacity: new data is written into pages that are there already.`,
		field: func(c *Config) any { return &c.Store.Ahead }},
	{Name: "store.recover", Type: String, Default: RecoverRefuse, OneOf: []string{RecoverRefuse, RecoverCut},
		Doc:   `What a bad record in the middle of a log does at start: "refuse" to start, or "cut" the log there and lose what follows. (A torn record at the end is the mark of a crash; it is cut in either case.)`,
		field: func(c *Config) any { return &c.Store.Recover }},

	{Name: "data.shortcut", Type: String, Default: "readwrite", OneOf: []string{"off", "read", "readwrite"},
		Doc: `What a process does itself with chunks that are on its own machine, in the daemon's memory (store.backend = "arena"): ` +
			`"readwrite": reads and writes them in place. "read": reads; the memory is mapped for reading only, so that a stray pointer of the application harms nothing. ` +
			`"off": all data goes through the daemon.`,
		field: func(c *Config) any { return &c.Data.Shortcut }},
	{Name: "data.map_limit", Type: Size, Default: "8GiB", Min: mib,
		Doc:   `What a process keeps mapped of that memory, where there are no huge pages. It counts as resident (shared) memory of the process.`,
		field: func(c *Config) any { return &c.Data.MapLimit }},

	{Name: "layout.strategy", Type: String, Default: "round_robin", OneOf: []string{"round_robin", "hash", "local"},
		Doc:   `"round_robin": the shards in turn, from the file's own. "hash": spread by a hash, for strided access. "local": the writer's node first.`,
		field: func(c *Config) any { return &c.Layout.Strategy }},
	{Name: "layout.chunk_size", Type: Size, Default: "4MiB", Min: 64 * kib, Max: 64 * mib,
		Doc:   `Size of a chunk, a power of two from 64KiB to 64MiB.`,
		field: func(c *Config) any { return &c.Layout.ChunkSize }},

	{Name: "rpc.attempts", Type: Int, Default: "10", Min: 1, Max: 1000,
		Doc:   `How often a request is tried at most. Only errors that another attempt can mend are retried, and nothing takes effect twice.`,
		field: func(c *Config) any { return &c.RPC.Attempts }},
	{Name: "rpc.attempt_timeout", Type: Duration, Default: "3s", Min: milli,
		Doc:   `Longest time of one attempt.`,
		field: func(c *Config) any { return &c.RPC.AttemptTimeout }},
	{Name: "rpc.call_timeout", Type: Duration, Default: "30s", Min: milli,
		Doc:   `Deadline of a whole call, all its messages, attempts and waits included.`,
		field: func(c *Config) any { return &c.RPC.CallTimeout }},
	{Name: "rpc.connect_timeout", Type: Duration, Default: "5s", Min: milli,
		Doc:   `Longest time of connecting to a shard, handshake included.`,
		field: func(c *Config) any { return &c.RPC.ConnectTimeout }},
	{Name: "rpc.backoff_base", Type: Duration, Default: "5ms",
		Doc:   `Wait before the second attempt; it doubles with each further one.`,
		field: func(c *Config) any { return &c.RPC.BackoffBase }},
	{Name: "rpc.backoff_max", Type: Duration, Default: "1s", Min: milli,
		Doc:   `Upper bound of that wait.`,
		field: func(c *Config) any { return &c.RPC.BackoffMax }},
	{Name: "rpc.jitter", Type: Float, Default: "0.5", Max: 1,
		Doc:   `Part of the wait that is drawn at random, 0 to 1, so that clients do not come back in step.`,
		field: func(c *Config) any { return &c.RPC.Jitter }},
	{Name: "rpc.max_parallel", Type: Int, Default: "64", Min: 1, Max: 65536,
		Doc:   `Messages that one call has in flight at most.`,
		field: func(c *Config) any { return &c.RPC.MaxParallel }},
	{Name: "rpc.self_test", Type: Bool, Default: "true",
		Doc:   `Move a small and a large message both ways at connect and refuse a connection that fails it.`,
		field: func(c *Config) any { return &c.RPC.SelfTest }},

	{Name: "ucx.tls", Type: String,
		Doc:   `Transports that UCX may use (its UCX_TLS), e.g. "tcp,self". Empty: its choice, without shared memory.`,
		field: func(c *Config) any { return &c.UCX.TLS }},
	{Name: "ucx.net_devices", Type: String,
		Doc:   `Network devices that UCX may use (its UCX_NET_DEVICES). Empty: its choice.`,
		field: func(c *Config) any { return &c.UCX.NetDevices }},
	{Name: "ucx.rendezvous", Type: Size, Default: "0", Max: 64 * mib,
		Doc:   `Payloads from this size on go by rendezvous instead of inside the message. 0: the measured default of the transport.`,
		field: func(c *Config) any { return &c.UCX.Rendezvous }},
	{Name: "ucx.spin", Type: Int, Default: "0", Max: 1 << 30,
		Doc:   `Looks at the network in vain before a thread that waits for another machine sleeps in the kernel. 0: 1, measured over TCP. With a fabric that answers in a few microseconds, and cores to spare, thousands are faster.`,
		field: func(c *Config) any { return &c.UCX.Spin }},

	{Name: "client.workers", Type: Int, Default: "4", Min: 1, Max: 1024,
		Doc:   `Network workers of a process: so many threads make calls without waiting for each other.`,
		field: func(c *Config) any { return &c.Client.Workers }},
	{Name: "client.umask", Type: Mode,
		Doc:   `The umask of new files and directories, octal. Empty: the process's own at init.`,
		field: func(c *Config) any { return &c.Client.Umask }},
	{Name: "client.prefix", Type: String,
		Doc:   `The directory under which programs see this file system, when the interposer shows it to them. An absolute symbolic link that leads under it starts at the root of the file system, every other one leads out of it: EREMOTE. Empty: every absolute link starts at the root.`,
		field: func(c *Config) any { return &c.Client.Prefix }},

	{Name: "cache.mode", Type: String, Default: CacheOff, OneOf: []string{CacheOff, CacheCloseToOpen},
		Doc:   `"off": nothing is kept. "close-to-open": data that was read is kept and checked at open only; until a process opens the file again it may not see what others have written.`,
		field: func(c *Config) any { return &c.Cache.Mode }},
	{Name: "cache.chunk_bytes", Type: Size, Default: "64MiB", Min: mib,
		Doc:   `Memory for cached file data of a process.`,
		field: func(c *Config) any { return &c.Cache.ChunkBytes }},
	{Name: "cache.entry_timeout", Type: Duration, Default: "1s", Min: 0,
		Doc:   `With "close-to-open", for how long the directories on the way to a file are kept: what other processes do to them (rename, removal, mode) may go unnoticed for so long. 0: not at all.`,
		field: func(c *Config) any { return &c.Cache.EntryTimeout }},

	{Name: "session.grace", Type: Duration, Default: "30s", Min: milli,
		Doc:   `How long the open files of a vanished client on another machine are kept, and of all clients after a restart. (On the same machine a daemon sees at once that a process is gone.)`,
		field: func(c *Config) any { return &c.Session.Grace }},
	{Name: "session.check_interval", Type: Duration, Default: "1s", Min: milli, Max: 3600 * second,
		Doc:   `How often a daemon looks for vanished clients.`,
		field: func(c *Config) any { return &c.Session.CheckInterval }},
}

func findKey(name string) (*Key, bool) {
	for i := range keys {
		if keys[i].Name == name {
			return &keys[i], true
		}
	}
	return nil, false
}

func isSection(name string) bool {
	for _, s := range sectionDocs {
		if s.name == name {
			return true
		}
	}
	return false
}
