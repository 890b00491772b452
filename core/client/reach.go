package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// Modes of Options.Shortcut.
const (
	ShortcutOff       = "off"       // all data travels by messages
	ShortcutRead      = "read"      // reads of this machine's shards copy from their memory, which is mapped for reading only
	ShortcutReadWrite = "readwrite" // writes copy to it as well
)

// shortcut is the client's access to the memory of the shards of its own machine.
type shortcut struct {
	write  bool
	host   string
	memory func(ctx context.Context, shard uint32) (*shm.Memory, error)

	shards []atomic.Pointer[reach] // by shard number; nil: not asked yet

	mu  sync.Mutex
	all []*reach // to be closed in the end
}

// reach is what this process has of one shard. memory is nil when the shard cannot be reached into; it is asked again after a while.
type reach struct {
	serial   uint32 // of this one in its process: 1, 2, …
	memory   *shm.Memory
	view     *shm.View     // of memory
	segments *shm.Segments // likewise
	asked    time.Time
}

// askAgain is how long a refusal to be reached into is believed.
const askAgain = 10 * time.Second

func newShortcut(o *Options) *shortcut {
	if o.Shortcut == "" || o.Shortcut == ShortcutOff || o.Memory == nil {
		return nil
	}
	return &shortcut{
		write: o.Shortcut == ShortcutReadWrite, host: o.HostID, memory: o.Memory, shards: make([]atomic.Pointer[reach], o.Map.Shards()),
	}
}

func (s *shortcut) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	for _, r := range s.all {
		if r.memory == nil {
			continue
		}
		if err := r.memory.Close(); err != nil && first == nil {
			first = err
		}
	}
	s.all = nil
	return first
}

// known is what this process has of a shard; nil when it must be asked for.
func (s *shortcut) known(shard uint32) *reach {
	if int(shard) >= len(s.shards) {
		return nil
	}
	r := s.shards[shard].Load()
	if r == nil || r.view != nil && r.view.Valid() {
		return r
	}
	if time.Since(r.asked) < askAgain && r.view == nil {
		return r
	}
	return nil
}

// NearShard is what this process can do with the memory of a shard of its own machine.
type NearShard struct {
	Shard     uint32 `json:"shard"`
	Shortcut  string `json:"shortcut"`   // one of the Shortcut modes: off when the shard cannot be reached into
	HugePages bool   `json:"huge_pages"` // what is there to be mapped is huge pages
}

// NearShards tells of all shards of this machine, attaching to those that it has not been attached to.
func (c *Client) NearShards(ctx context.Context) []NearShard {
	var list []NearShard
	if c.shortcut == nil {
		return list
	}
	o := c.prepare(ctx, opStatfs)
	defer o.release()
	for shard := range c.shards() {
		if !c.near(shard) {
			continue
		}
		s := NearShard{Shard: shard, Shortcut: ShortcutOff}
		if r := o.reachOf(shard); r != nil {
			s.Shortcut, s.HugePages = c.o.Shortcut, r.memory.Huge
		}
		list = append(list, s)
	}
	return list
}

// reachable is known without the rest: for what is done by message when it is not there.
func (s *shortcut) reachable(shard uint32) *reach {
	if s == nil || int(shard) >= len(s.shards) {
		return nil
	}
	if r := s.shards[shard].Load(); r != nil && r.view != nil {
		return r
	}
	return nil
}

// near reports whether a shard is on this machine.
func (c *Client) near(shard uint32) bool {
	node, ok := c.cluster.Load().Node(c.cluster.Load().PeerOf(shard))
	return ok && node.HostID == c.shortcut.host && int(shard) < len(c.shortcut.shards)
}

// attach makes sure that it is known which of the window's shards this process can reach into, and notes it at the pieces.
func (o *op) attach() {
	s := o.c.shortcut
	if s == nil {
		return
	}
	for i := range o.pieces {
		if p := &o.pieces[i]; p.placed {
			p.reach = o.reachOf(p.shard)
		}
	}
}

// reachOf is this process's access to a shard, which is asked for if need be. nil: there is none.
func (o *op) reachOf(shard uint32) *reach {
	s := o.c.shortcut
	if s == nil || !o.c.near(shard) {
		return nil
	}
	r := s.known(shard)
	if r == nil {
		r = o.attachTo(shard)
	}
	if r == nil || r.view == nil {
		return nil
	}
	return r
}

// revoke makes all that is known of a shard's memory void: another daemon is in charge of it.
func (s *shortcut) revoke(shard uint32) {
	if s == nil || int(shard) >= len(s.shards) {
		return
	}
	if r := s.shards[shard].Load(); r != nil && r.view != nil {
		r.view.Revoke()
	}
}

// attachTo asks for a shard's memory. When that does not work, its messages work all the same.
func (o *op) attachTo(shard uint32) *reach {
	s := o.c.shortcut
	r := &reach{asked: time.Now()}
	if m, err := s.memory(rpc.WithDeadline(o.ctx, o.deadline), shard); err == nil {
		r.memory, r.view, r.segments = m, m.View, m.Segments
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known(shard)
	s.all = append(s.all, r)
	r.serial = uint32(len(s.all))
	if known != nil { // another thread was faster
		return known
	}
	s.shards[shard].Store(r)
	return r
}

// grant is a place that this process was told of. It never changes; whether it holds, the board tells.
type grant struct {
	reach *reach
	place shm.Place
	gen   uint32 // of the file
}

// grants are the places known of one inode's chunks. Lookups take no lock.
type grants struct {
	first atomic.Pointer[grant] // of chunk 0, the only one of most files
	mu    sync.Mutex
	pages atomic.Pointer[[]*grantPage]
}

const (
	grantPageBits = 6
	// maxGrantChunk bounds the table: chunks beyond it (of files of terabytes) are read and written by messages.
	maxGrantChunk = 1 << 22
)

type grantPage [1 << grantPageBits]atomic.Pointer[grant]

func (t *grants) get(chunk uint64) *grant {
	if chunk == 0 {
		return t.first.Load()
	}
	pages := t.pages.Load()
	if pages == nil || chunk>>grantPageBits >= uint64(len(*pages)) {
		return nil
	}
	page := (*pages)[chunk>>grantPageBits]
	if page == nil {
		return nil
	}
	return page[chunk&(1<<grantPageBits-1)].Load()
}

func (t *grants) put(chunk uint64, g *grant) {
	switch {
	case chunk == 0:
		t.first.Store(g)
		return
	case chunk >= maxGrantChunk:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var pages []*grantPage
	if old := t.pages.Load(); old != nil {
		pages = *old
	}
	at := int(chunk >> grantPageBits)
	if at >= len(pages) || pages[at] == nil {
		grown := make([]*grantPage, max(len(pages), at+1))
		copy(grown, pages)
		grown[at] = new(grantPage)
		pages = grown
		t.pages.Store(&pages)
	}
	pages[at][chunk&(1<<grantPageBits-1)].Store(g)
}

// learnPlace takes in the place of a chunk. false: it is of no use.
func (in *openInode) learnPlace(r *reach, chunk uint64, place *rpc.Place, gen uint32) bool {
	if !place.Held || r == nil || place.Bytes > 1<<layout.MaxChunkBits {
		return false
	}
	if g := in.grants.get(chunk); g != nil && g.reach == r && g.gen == gen && g.place.Is(place.Slot, place.Serial, place.Bytes) {
		return true
	}
	at, err := r.segments.PlaceAt(place.Slot, place.Serial, place.Segment, place.Offset, place.Bytes)
	if err != nil {
		return false
	}
	in.grants.put(chunk, &grant{reach: r, place: at, gen: gen})
	return true
}

// read copies what the chunk has of [off, off+len(p)). ok is false when the place does not hold any more, or the shard must be asked for another
// reason.
func (g *grant) read(p []byte, off uint32) (n int, ok bool) {
	return g.reach.view.Read(&g.place, p, off)
}

// overwrite puts p over bytes that are present. ok is false when it may not count: then the shard must be asked to write.
func (g *grant) overwrite(p []byte, off uint32) (ok bool) {
	return g.reach.view.Overwrite(&g.place, p, off)
}

// fill puts p where a write that was begun has its room: bare room only by writing to the file. ok is false when the place does not hold any
// more, or the file cannot take it.
func (g *grant) fill(p []byte, off uint32, bare bool) (ok bool) {
	return g.reach.view.Fill(&g.place, p, off, bare)
}
