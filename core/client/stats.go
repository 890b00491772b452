package client

import (
	"sync/atomic"

	"github.com/benchfs/benchfs/rpc"
)

// opKind is what the application asked for.
type opKind uint8

const (
	opOpen opKind = iota
	opClose
	opRead
	opWrite
	opSeek
	opSync
	opStat
	opAccess
	opChmod
	opChown
	opUtimens
	opTruncate
	opAllocate
	opMkdir
	opRmdir
	opUnlink
	opRename
	opLink
	opSymlink
	opReadlink
	opReadDir
	opStatfs
	opLayout
	opLock
	opKinds // how many there are
)

var opNames = [opKinds]string{
	opOpen: "open", opClose: "close", opRead: "read", opWrite: "write", opSeek: "lseek", opSync: "fsync", opStat: "stat",
	opAccess: "access", opChmod: "chmod", opChown: "chown", opUtimens: "utimens", opTruncate: "truncate", opAllocate: "fallocate",
	opMkdir: "mkdir", opRmdir: "rmdir", opUnlink: "unlink", opRename: "rename", opLink: "link", opSymlink: "symlink",
	opReadlink: "readlink", opReadDir: "readdir", opStatfs: "statfs", opLayout: "layout", opLock: "lock",
}

func (k opKind) String() string { return opNames[k] }

// counters count since the client was made.
type counters struct {
	ops          [opKinds]atomic.Uint64
	failed       atomic.Uint64
	restarts     atomic.Uint64
	reopened     atomic.Uint64
	bytesRead    atomic.Uint64
	bytesWritten atomic.Uint64
	direct       atomic.Uint64
	inPlace      atomic.Uint64
	byMessage    atomic.Uint64
}

// add takes in what a file has counted.
func (c *counters) add(t *tally) {
	if t.reads.Load()|t.writes.Load()|t.stats.Load() == 0 {
		return
	}
	reads, writes := t.reads.Swap(0), t.writes.Swap(0)
	c.ops[opRead].Add(reads)
	c.ops[opWrite].Add(writes)
	stats := t.stats.Swap(0)
	c.ops[opStat].Add(stats)
	c.direct.Add(reads + writes + stats)
	bytesRead, bytesWritten := t.bytesRead.Swap(0), t.bytesWritten.Swap(0)
	c.bytesRead.Add(bytesRead)
	c.bytesWritten.Add(bytesWritten)
	c.inPlace.Add(bytesRead + bytesWritten)
}

// Stats is what a client has done. It is made to be printed as JSON.
type Stats struct {
	Operations   map[string]uint64 `json:"operations"` // calls by kind
	Direct       uint64            `json:"direct"`     // reads, writes and fstats among them that took no message
	Failed       uint64            `json:"failed"`     // calls that ended with an error
	Restarts     uint64            `json:"restarts"`   // attempts begun anew because something had changed
	Reopened     uint64            `json:"reopened_handles"`
	BytesRead    uint64            `json:"bytes_read"`
	BytesWritten uint64            `json:"bytes_written"`
	InPlace      uint64            `json:"bytes_in_place"`   // read and written by this process in a shard's memory: copied once
	ByMessage    uint64            `json:"bytes_by_message"` // asked for, and sent, with chunk messages, failed attempts included
	OpenFiles    int               `json:"open_files"`
	Distributed  bool              `json:"distributed"`
	Nodes        int               `json:"nodes"`
	Shards       uint32            `json:"shards"`
	Cache        any               `json:"cache,omitempty"`
	Pools        []rpc.PoolStats   `json:"connections"` // one a client worker
}

// Stats returns the counters; the result can be printed as JSON.
func (c *Client) Stats() any {
	for _, f := range c.inodes.list() {
		c.counts.add(&f.tally)
	}
	s := Stats{
		Operations:   map[string]uint64{},
		Direct:       c.counts.direct.Load(),
		Failed:       c.counts.failed.Load(),
		Restarts:     c.counts.restarts.Load(),
		Reopened:     c.counts.reopened.Load(),
		BytesRead:    c.counts.bytesRead.Load(),
		BytesWritten: c.counts.bytesWritten.Load(),
		InPlace:      c.counts.inPlace.Load(),
		ByMessage:    c.counts.byMessage.Load(),
		OpenFiles:    c.OpenFiles(),
		Distributed:  c.o.Distributed,
		Nodes:        len(c.cluster.Load().Nodes),
		Shards:       c.shards(),
	}
	for k := range opKinds {
		if n := c.counts.ops[k].Load(); n != 0 {
			s.Operations[k.String()] = n
		}
	}
	if c.cache != nil {
		s.Cache = c.cache.stats()
	}
	for _, l := range c.lanes {
		s.Pools = append(s.Pools, l.pool.Stats())
	}
	return s
}
