// Package config resolves the configuration: defaults ← TOML file ← environment ← arguments, into one struct.
//
// It is the only reader of the environment, which callers hand in as a map, so that a library in somebody else's process reads it
// when it should (at init, through C) and tests read none. Every key stands once, in the table of keys.go, with its type, default and
// description; the struct, the example file, the manual page and --print-config come from that table or are tested against it.
//
// Nothing is guessed: an unknown key, a bad value or a file that cannot be read is an [Error] with file, line and key.
// What does not belong here: what the values mean to the rooms that use them.
package config

import (
	"errors"
	"time"
)

// Config is the resolved configuration. It is not changed after Load.
type Config struct {
	Cluster Cluster
	Daemon  Daemon
	Store   Store
	Data    Data
	Layout  Layout
	RPC     RPC
	UCX     UCX
	Client  Client
	Cache   Cache
	Session Session

	origin map[string]string // key name → where its value came from, in words
	daemon bool
}

// Cluster says which daemons there are. The descriptions of all fields are those of the keys, see Keys.
type Cluster struct {
	RegistryDir   string
	Nodes         []string // host:port
	ExpectedNodes int      // ≥ 1 after Load
	NodeID        int
	JoinTimeout   time.Duration
	Mode          string // ModeAuto, ModeEmbedded or ModeDistributed, as given; ask Distributed
	Epoch         int    // ≥ 1
	Secret        string
	Host          string // "": ask the system
}

// Daemon is what only benchfsd looks at.
type Daemon struct {
	Listen    string // host:port
	Shards    int    // ≥ 1 after Load; ask ShardsPerNode
	LogLevel  string
	LogFormat string
	Metrics   string // "", "unix:/path" or host:port
}

// Store says where a node keeps its part.
type Store struct {
	Backend   string // as given; ask StoreBackend
	DataDir   string
	Capacity  Bytes // of the node, over all its shards; > 0 after Load
	Segment   Bytes
	HugePages bool
	Populate  bool
	Ahead     Bytes  // of the node
	Recover   string // RecoverRefuse or RecoverCut
}

// Layout is the placement of new files whose directory says nothing.
type Layout struct {
	Strategy  string
	ChunkSize Bytes // power of two, 64 KiB … 64 MiB
}

// RPC is the retry policy and its limits.
type RPC struct {
	Attempts       int
	AttemptTimeout time.Duration
	CallTimeout    time.Duration
	ConnectTimeout time.Duration
	BackoffBase    time.Duration
	BackoffMax     time.Duration
	Jitter         float64 // 0 … 1
	MaxParallel    int
	SelfTest       bool
}

// UCX is handed to UCX; empty and 0 leave the choice to it, or to measured defaults.
type UCX struct {
	TLS        string
	NetDevices string
	Rendezvous Bytes
	Spin       int // polls in vain before a sleep
}

// Client is what an application's process looks at.
type Client struct {
	Workers int
	Umask   int // −1: the process's own; ask ClientUmask
	Prefix  string
}

// Data says how file data moves between an application and the shards of its own machine.
type Data struct {
	Shortcut string // "off", "read" or "readwrite"
	MapLimit Bytes
}

// Cache says what a client keeps of other processes' state.
type Cache struct {
	Mode         string // CacheOff or CacheCloseToOpen
	ChunkBytes   Bytes
	EntryTimeout time.Duration
}

// Session says how long a server waits for a client that has vanished.
type Session struct {
	Grace         time.Duration
	CheckInterval time.Duration
}

// Values of keys that take one of a few words.
const (
	ModeAuto         = "auto"
	ModeEmbedded     = "embedded"
	ModeDistributed  = "distributed"
	BackendAuto      = "auto"
	BackendMemory    = "memory"
	BackendArena     = "arena"
	BackendURing     = "uring"
	RecoverRefuse    = "refuse"
	RecoverCut       = "cut"
	CacheOff         = "off"
	CacheCloseToOpen = "close-to-open"
)

// FileVariable names the environment variable that names the configuration file when Sources does not.
const FileVariable = "BENCHFS_CONFIG"

// Sources are what a configuration is resolved from; later ones win: File, Text, Env, Overrides.
type Sources struct {
	File      string            // path of a TOML file; "" = what Env says under FileVariable, or none
	Text      string            // TOML, e.g. an argument of benchfs_init
	Env       map[string]string // the environment; nil = none
	Overrides map[string]string // key name → value as in the environment, e.g. from flags
	// Daemon resolves for benchfsd: always distributed, and refused when a daemon could not run with it.
	Daemon bool
}

// Load resolves the configuration and checks it. All defects are reported at once, joined; each is an *Error.
func Load(s Sources) (*Config, error) {
	c := &Config{origin: map[string]string{}, daemon: s.Daemon}
	l := loader{c: c}
	for _, k := range keys {
		l.set(k, k.Default, "default", 0)
	}
	if s.File == "" {
		s.File = s.Env[FileVariable]
	}
	if s.File != "" {
		text, err := readFile(s.File)
		if err != nil {
			return nil, &Error{Source: s.File, Reason: err.Error(), code: err}
		}
		l.toml(s.File, text)
		if l.secretIn(s.File) {
			l.fail(checkSecretFile(s.File))
		}
	}
	if s.Text != "" {
		l.toml("configuration text", s.Text)
	}
	l.environment(s.Env)
	l.overrides(s.Overrides)
	if len(l.errs) == 0 { // what follows looks at several keys; on bad ones it would only repeat the news
		l.resolve()
		l.check()
	}
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return c, nil
}

// Distributed tells whether the file system is served by daemons. The answer is the configuration's alone: mode "distributed",
// or mode "auto" with cluster.registry_dir or cluster.nodes given. A cluster that is not there never turns it into false.
func (c *Config) Distributed() bool {
	switch {
	case c.daemon:
		return true
	case c.Cluster.Mode == ModeAuto:
		return c.Cluster.RegistryDir != "" || len(c.Cluster.Nodes) > 0
	}
	return c.Cluster.Mode == ModeDistributed
}

// StoreBackend is the store to use: BackendMemory, BackendArena or BackendURing.
func (c *Config) StoreBackend() string {
	if c.Store.Backend != BackendAuto {
		return c.Store.Backend
	}
	if !c.Distributed() && c.Store.DataDir == "" {
		return BackendMemory
	}
	return BackendArena
}

// ShardsPerNode is the number of shards of each node; an embedded file system is one.
func (c *Config) ShardsPerNode() int {
	if !c.Distributed() {
		return 1
	}
	return c.Daemon.Shards
}

// ClientUmask is the umask of a process whose own one is given.
func (c *Config) ClientUmask(own uint32) uint32 {
	if c.Client.Umask >= 0 {
		return uint32(c.Client.Umask)
	}
	return own & 0o777
}
