package client

import (
	"context"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// DirEntry is one entry of a directory stream.
type DirEntry struct {
	Name    string
	Ino     inode.Ino
	Kind    inode.Kind
	Cookie  uint64 // Dir.Seek with it goes on right after this entry; fits in a positive 64-bit off_t
	Attr    inode.Attr
	HasAttr bool
}

// Dir is a directory stream: "." and "..", then the entries of shard after shard, each in the order they were made. An entry that
// is there throughout a listing is shown once, whatever comes and goes meanwhile. What is read ahead is as old as its page.
//
// At most dirWindow pages are in memory. A shard that cannot answer is an error, never a shorter listing.
type Dir struct {
	f *File

	mu     sync.Mutex
	pos    uint64 // cookie of the entry returned last
	parent inode.Ino
	place  dirPlace    // where the next page begins
	queue  []listEntry // entries of the current page that have not been returned
	ahead  []dirPage   // first pages of the shards after place.shard, in order, without gaps
}

// listEntry is an entry and what NextPlus has done to it.
type listEntry struct {
	DirEntry
	complete bool // Attr is what Stat would say
	gone     bool // the inode went after the page was read
}

// dirPlace is a position in a listing.
type dirPlace struct {
	shard uint32
	after uint64 // the shard's cookie; 0: from its start
	done  bool   // the shard has no more
}

// dirPage is an answer to ReadDir.
type dirPage struct {
	place   dirPlace // after the page
	entries []listEntry
}

const (
	// dirWindow is how many shards are asked in parallel: each gets a dirWindow-th part of scratchBytes for its page.
	dirWindow = 16
	// maxPage is the most that is asked of one shard at once: bytes.
	maxPage = 256 << 10

	// Cookies: 0 before ".", 1 after it, 2 after "..", then 2 + the shard in the upper bits and its cookie in the lower.
	cookieDot    = 1
	cookieDotDot = 2
	cookieBits   = 47
)

// cookieOf is the position after a shard's entry; false if it does not fit.
func cookieOf(shard uint32, cookie uint64) (uint64, bool) {
	if cookie >= 1<<cookieBits-cookieDotDot || shard >= inode.MaxShards {
		return 0, false
	}
	return cookieDotDot + (uint64(shard)<<cookieBits | cookie), true
}

// placeOf is the inverse of cookieOf, for cookies from cookieDotDot on.
func placeOf(cookie uint64) dirPlace {
	cookie -= cookieDotDot
	return dirPlace{shard: uint32(cookie >> cookieBits), after: cookie & (1<<cookieBits - 1)}
}

// OpenDir opens a directory for listing. It must be closed.
func (c *Client) OpenDir(ctx context.Context, at At, path string) (*Dir, error) {
	f, err := c.Open(ctx, at, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{f: f}, nil
}

// FdOpenDir makes a stream of an open directory. It holds a reference to f, which Close drops.
func (c *Client) FdOpenDir(f *File) (*Dir, error) {
	if f.in.kind != inode.Dir {
		o := c.begin(context.Background(), opOpen)
		return nil, o.end(f.name, syscall.ENOTDIR)
	}
	f.Retain()
	return &Dir{f: f}, nil
}

// File is the open directory behind the stream; the reference stays the stream's.
func (d *Dir) File() *File { return d.f }

// Close ends the stream.
func (d *Dir) Close(ctx context.Context) error { return d.f.Close(ctx) }

// Tell is the cookie of the entry returned last.
func (d *Dir) Tell() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pos
}

// Rewind starts again, with the directory as it is then.
func (d *Dir) Rewind() { d.Seek(0) }

// Seek goes to right after the entry that had the cookie; 0 is the start.
func (d *Dir) Seek(cookie uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pos = cookie
	d.queue, d.ahead, d.place = nil, nil, dirPlace{}
	if cookie >= cookieDotDot {
		d.place = placeOf(cookie)
	}
}

// Next returns the next entry, io.EOF after the last. Attributes are there where they came with it (HasAttr); those of directories
// lack what only all shards together know.
func (d *Dir) Next(ctx context.Context) (DirEntry, error) { return d.read(ctx, false) }

// NextPlus returns the next entry with the attributes that Stat would give. An entry whose inode has gone meanwhile is skipped.
func (d *Dir) NextPlus(ctx context.Context) (DirEntry, error) { return d.read(ctx, true) }

func (d *Dir) read(ctx context.Context, plus bool) (DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pos >= cookieDotDot && len(d.queue) > 0 && !plus {
		return d.pop().DirEntry, nil // the usual case: no message
	}
	o := d.f.c.begin(ctx, opReadDir)
	e, err := d.next(o, plus)
	if err == io.EOF {
		o.release()
		return DirEntry{}, io.EOF
	}
	return e, o.end(d.f.name, o.fileGone(err))
}

func (d *Dir) pop() listEntry {
	e := d.queue[0]
	d.queue = d.queue[1:]
	d.pos = e.Cookie
	return e
}

func (d *Dir) next(o *op, plus bool) (DirEntry, error) {
	if d.pos < cookieDotDot {
		return d.dots(o, plus)
	}
	for {
		for len(d.queue) > 0 {
			if plus && !d.queue[0].complete {
				if err := o.complete(d.queue[:min(len(d.queue), o.c.o.MaxParallel)]); err != nil {
					return DirEntry{}, err
				}
			}
			if e := d.pop(); !e.gone || !plus {
				return e.DirEntry, nil
			}
		}
		if d.place.done {
			d.place = dirPlace{shard: d.place.shard + 1}
		}
		if d.place.shard >= o.c.shards() {
			return DirEntry{}, io.EOF
		}
		if len(d.ahead) == 0 || d.ahead[0].place.shard != d.place.shard {
			if err := d.fetch(o); err != nil {
				return DirEntry{}, err
			}
		}
		page := d.ahead[0]
		d.ahead = d.ahead[1:]
		d.queue, d.place = page.entries, page.place
	}
}

// dots returns "." and then "..". A removed directory has neither.
func (d *Dir) dots(o *op, plus bool) (DirEntry, error) {
	e := DirEntry{Name: ".", Ino: d.f.in.ino, Kind: inode.Dir, Cookie: cookieDot}
	if d.pos == 0 {
		attr, err := o.getAttr(d.f.in.ino)
		if err != nil {
			return e, err
		}
		if attr.Nlink == 0 {
			return e, io.EOF
		}
		d.parent = attr.Parent
	} else {
		e.Name, e.Cookie, e.Ino = "..", cookieDotDot, d.parent
		if e.Ino == 0 { // the root, or a seek that skipped "."
			attr, err := o.getAttr(d.f.in.ino)
			if err != nil {
				return e, err
			}
			if e.Ino = attr.Parent; e.Ino == 0 {
				e.Ino = d.f.in.ino
			}
		}
	}
	if plus {
		var err error
		if e.Attr, err = o.stat(&rpc.EntryReply{Ino: e.Ino, Kind: inode.Dir}); err != nil {
			return e, err
		}
		e.HasAttr = true
	}
	d.pos = e.Cookie
	return e, nil
}

// fetch asks the current shard for its next page, and the shards after it for their first.
func (d *Dir) fetch(o *op) error {
	memory, err := o.payload()
	if err != nil {
		return err
	}
	places := make([]dirPlace, 0, dirWindow)
	places = append(places, d.place)
	next := d.place.shard + 1
	if n := len(d.ahead); n > 0 {
		next = d.ahead[n-1].place.shard + 1
	}
	for ; next < o.c.shards() && len(places)+len(d.ahead) < min(dirWindow, o.c.o.MaxParallel); next++ {
		places = append(places, dirPlace{shard: next})
	}
	share := min(len(memory)/len(places), maxPage)
	o.reset()
	for i, at := range places {
		m := rpc.ReadDir{Dir: d.f.in.ino, Cookie: at.after, Max: uint32(share)}
		call := o.call(rpc.MsgReadDir, at.shard)
		call.Body = m.AppendTo(call.Body)
		call.In = memory[i*share : (i+1)*share]
	}
	if err := o.run(); err != nil {
		return o.lookAgain(err)
	}
	pages := make([]dirPage, len(places))
	for i, at := range places {
		if pages[i], err = o.pageOf(o.calls[i], at); err != nil {
			return err
		}
	}
	ahead := append(pages[:1:1], d.ahead...)
	d.ahead = append(ahead, pages[1:]...)
	return nil
}

// pageOf reads the answer to ReadDir at a place. It must lead on: a page that ends where it began, or goes back, would be
// asked for again for ever.
func (o *op) pageOf(call *rpc.Call, at dirPlace) (dirPage, error) {
	var reply rpc.ReadDirReply
	if err := reply.Decode(call.Answer); err != nil {
		return dirPage{}, o.broken(call, "answer to a listing does not parse")
	}
	const smallest = 16 // bytes of an encoded entry at least
	if uint64(reply.Count) > uint64(call.Received)/smallest {
		return dirPage{}, o.broken(call, "a page with fewer entries than it says")
	}
	page := dirPage{place: dirPlace{shard: at.shard, after: at.after, done: reply.EOF}}
	page.entries = make([]listEntry, 0, reply.Count)
	rest := call.In[:call.Received]
	for range reply.Count {
		var e rpc.DirEntry
		var err error
		if e, rest, err = rpc.DecodeDirEntry(rest); err != nil {
			return dirPage{}, o.broken(call, "a directory entry does not parse")
		}
		cookie, fits := cookieOf(at.shard, e.Cookie)
		switch {
		case !fits || e.Cookie <= page.place.after:
			return dirPage{}, o.broken(call, "directory entries out of order")
		case e.Ino == 0 || !e.Kind.Valid() || len(e.Name) == 0 || len(e.Name) > NameMax:
			return dirPage{}, o.broken(call, "a directory entry that stands for nothing")
		case e.HasAttr && checkAttr(&e.Attr, e.Ino, o.c.shards()) != "":
			return dirPage{}, o.broken(call, "a directory entry with wrong attributes")
		}
		page.place.after = e.Cookie
		page.entries = append(page.entries, listEntry{DirEntry: DirEntry{
			Name: string(e.Name), Ino: e.Ino, Kind: e.Kind, Cookie: cookie, Attr: e.Attr, HasAttr: e.HasAttr,
		}})
	}
	if len(rest) != 0 {
		return dirPage{}, o.broken(call, "a page with more than its entries")
	}
	if reply.Next < page.place.after || !reply.EOF && reply.Next <= at.after {
		return dirPage{}, o.broken(call, "a page that does not lead on")
	}
	page.place.after = reply.Next
	return page, nil
}

// complete fills in the attributes of entries (at most MaxParallel).
func (o *op) complete(list []listEntry) error {
	o.reset()
	asked := make([]*listEntry, 0, len(list))
	for i := range list {
		e := &list[i]
		e.complete = true
		if in := o.c.inodes.find(e.Ino); in != nil && e.Kind == inode.File {
			e.HasAttr = false // what this process has written counts
		}
		if !e.HasAttr && e.Kind != inode.Dir {
			asked = append(asked, e)
		}
	}
	for _, e := range asked {
		if in := o.c.inodes.find(e.Ino); in != nil {
			if err := o.tellMtime(in); err != nil {
				return err
			}
		}
	}
	o.reset()
	for _, e := range asked {
		m := rpc.InodeRequest{Ino: e.Ino}
		call := o.call(rpc.MsgGetAttr, e.Ino.Shard())
		call.Body = m.AppendTo(call.Body)
	}
	o.exchange()
	for i, e := range asked {
		if err := e.take(o.attrOf(o.calls[i], e.Ino)); err != nil {
			return err
		}
	}
	for i := range list {
		e := &list[i]
		if e.Kind != inode.Dir {
			continue
		}
		if err := e.take(o.stat(&rpc.EntryReply{Ino: e.Ino, Kind: e.Kind})); err != nil {
			return err
		}
	}
	return nil
}

// take sets the attributes, or notes that the inode is gone.
func (e *listEntry) take(attr inode.Attr, err error) error {
	if err == errVanished {
		e.gone = true
		return nil
	}
	e.Attr, e.HasAttr = attr, err == nil
	return err
}
