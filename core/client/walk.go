package client

import (
	"strings"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// dirRef is a directory on the way: its number, and its attributes once they were needed.
type dirRef struct {
	ino  inode.Ino
	full bool // attr is there
	attr inode.Attr
}

// walk follows a path. After advance, dir is the directory that holds the last component, which has not been looked up yet.
// Components are resolved one by one, never by editing the text: "a/../b" needs a to be a directory, and leads
// elsewhere when a is a symbolic link to one.
type walk struct {
	o     *op
	dir   dirRef
	name  string // the last component; "" with lastRoot
	last  lastKind
	slash bool // it had a slash after it: it must be, or become, a directory
	links int  // symbolic links followed
}

// start checks the path and goes to its last component.
func (w *walk) start(o *op, at At, path string) error {
	*w = walk{o: o}
	if err := checkPath(path); err != nil {
		return err
	}
	if at == 0 || path[0] == '/' {
		at = inode.Root
	}
	if !o.c.inodes.maybeDir(at) {
		return syscall.ENOTDIR
	}
	w.dir = dirRef{ino: at}
	return w.advance(path)
}

// advance follows a path from dir to its last component.
func (w *walk) advance(path string) error {
	if path[0] == '/' {
		w.dir = dirRef{ino: inode.Root}
	}
	for {
		name, rest, slash := cut(path)
		w.name, w.last, w.slash = name, kindOfLast(name), slash
		if name == "" {
			return nil
		}
		if err := w.maySearch(); err != nil {
			return err
		}
		if len(name) > NameMax {
			return syscall.ENAMETOOLONG
		}
		if rest == "" {
			return nil
		}
		next, err := w.into(rest)
		if err != nil {
			return err
		}
		path = next
	}
}

// into goes through the component in name to what follows it, and returns the path that remains: rest, or more if the
// component is a symbolic link.
func (w *walk) into(rest string) (path string, err error) {
	switch w.last {
	case lastDot:
		return rest, nil
	case lastDotDot:
		return rest, w.up()
	}
	parent, dirs := w.dir.ino, w.o.c.dirs
	if !w.o.asksAll {
		if dir, ok := dirs.find(parent, w.name); ok {
			w.dir, w.o.remembered = dir, true
			return rest, nil
		}
	}
	began := dirs.begin(parent, w.name)
	e, err := w.o.lookup(parent, w.name, 0)
	if err != nil {
		return "", err
	}
	switch e.Kind {
	case inode.Dir:
		dirs.learn(began, parent, w.name, &e)
		w.dir = dirRef{ino: e.Ino, full: e.HasAttr, attr: e.Attr}
		return rest, nil
	case inode.Symlink:
		if path, err = w.through(e.Ino, rest, true); err == nil && path[0] == '/' {
			w.dir = dirRef{ino: inode.Root}
		}
		return path, err
	}
	return "", syscall.ENOTDIR
}

// through reads a symbolic link and returns the path that takes its place.
func (w *walk) through(link inode.Ino, rest string, slash bool) (string, error) {
	if w.links++; w.links > maxLinks {
		return "", syscall.ELOOP
	}
	target, err := w.o.readlink(link)
	if err != nil {
		return "", err
	}
	if prefix := w.o.c.o.Prefix; prefix != "" && target != "" && target[0] == '/' {
		inside, found := strings.CutPrefix(target, prefix)
		if !found || inside != "" && inside[0] != '/' {
			return "", errors.Wrapf(syscall.EREMOTE, "a symbolic link leads out of the file system, to %q", target)
		}
		target = "/" + inside
	}
	return splice(target, rest, slash)
}

// follow goes on through a symbolic link that is the last component, to the last component of its target.
func (w *walk) follow(link inode.Ino) error {
	path, err := w.through(link, "", w.slash)
	if err != nil {
		return err
	}
	return w.advance(path)
}

// up goes to the parent of dir; that of the root is the root.
func (w *walk) up() error {
	if w.dir.ino == inode.Root {
		return nil
	}
	attr, err := w.dirAttr()
	if err != nil {
		return err
	}
	if attr.Parent == 0 {
		return errVanished
	}
	w.dir = dirRef{ino: attr.Parent}
	return nil
}

// dirAttr makes sure that the attributes of dir are there. They are good for mode, owner, parent and layout; what is merged
// from all shards (fillDir) is not filled in.
func (w *walk) dirAttr() (*inode.Attr, error) {
	if w.dir.full {
		return &w.dir.attr, nil
	}
	attr, err := w.o.attrOfInode(w.dir.ino)
	if err != nil {
		return nil, err
	}
	if attr.Kind != inode.Dir {
		return nil, syscall.ENOTDIR
	}
	w.dir.attr, w.dir.full = attr, true
	return &w.dir.attr, nil
}

// find looks up the last component without following it. "." , ".." and the root are found as the directories that they are.
func (w *walk) find() (rpc.EntryReply, error) {
	switch w.last {
	case lastName:
		return w.o.lookup(w.dir.ino, w.name, 0)
	case lastDotDot:
		if err := w.up(); err != nil {
			return rpc.EntryReply{}, err
		}
	}
	return rpc.EntryReply{Ino: w.dir.ino, Kind: inode.Dir, HasAttr: w.dir.full, Attr: w.dir.attr}, nil
}

// resolve looks up the last component, through symbolic links if follow is set or a slash comes after it.
// ENOTDIR when a slash follows something that is no directory.
func (w *walk) resolve(follow bool) (rpc.EntryReply, error) {
	for {
		slash := w.slash
		e, err := w.find()
		if err != nil {
			return e, err
		}
		if e.Kind == inode.Symlink && (follow || slash) {
			if err := w.follow(e.Ino); err != nil {
				return e, err
			}
			continue
		}
		if slash && e.Kind != inode.Dir {
			return e, syscall.ENOTDIR
		}
		return e, nil
	}
}

// resolvePath is start and resolve.
func (o *op) resolvePath(at At, path string, follow bool) (rpc.EntryReply, error) {
	var w walk
	if err := w.start(o, at, path); err != nil {
		return rpc.EntryReply{}, err
	}
	return w.resolve(follow)
}

// resolveAttr is resolvePath with the attributes, which are as the inode's shard has them: see stat for what else there is
// to directories and files in use.
func (o *op) resolveAttr(at At, path string, follow bool) (inode.Attr, error) {
	e, err := o.resolvePath(at, path, follow)
	if err != nil {
		return inode.Attr{}, err
	}
	return o.entryAttr(&e)
}

// entryAttr is the attributes of what an entry stands for.
func (o *op) entryAttr(e *rpc.EntryReply) (inode.Attr, error) {
	if e.HasAttr {
		return e.Attr, nil
	}
	return o.attrOfInode(e.Ino)
}

// lookup finds one entry. With handle ≠ 0 a file whose inode is on the entry's shard is opened in the same step.
func (o *op) lookup(dir inode.Ino, name string, handle uint64) (rpc.EntryReply, error) {
	n := nameIn(dir, name)
	if reply, ok := o.c.lookups.find(o.c, &n); ok {
		if handle == 0 || reply.Kind != inode.File {
			reply.Attr, reply.HasAttr = o.c.attrNow(reply.Ino)
			return reply, nil
		}
		if o.openDirectly(&reply) {
			return reply, nil
		}
	}
	shard := n.key.Shard(o.c.shards())
	o.near = o.reachOf(shard)
	v := versionOf(o.near, &n)
	o.reset()
	m := rpc.Lookup{Parent: dir, Name: bytesOf(name), Open: handle != 0, Handle: handle, Share: o.near != nil}
	call := o.call(rpc.MsgLookup, shard)
	call.Body = m.AppendTo(call.Body)
	if err := o.run(); err != nil {
		return rpc.EntryReply{}, o.lookAgain(err)
	}
	reply, err := o.entryOf(call)
	if err == nil {
		o.c.lookups.learn(v, &n, reply.Ino, reply.Kind)
	}
	return reply, err
}

// lookAgain turns the ESTALE of a directory or inode that has just gone into errVanished.
func (o *op) lookAgain(err error) error {
	if errors.Is(err, syscall.ESTALE) {
		return errVanished
	}
	return err
}

// entryOf reads the EntryReply of a call.
func (o *op) entryOf(call *rpc.Call) (reply rpc.EntryReply, err error) {
	if err := reply.Decode(call.Answer); err != nil {
		return reply, o.broken(call, "entry does not parse")
	}
	if reply.Ino == 0 || !reply.Kind.Valid() || reply.Ino.Shard() >= o.c.shards() {
		return reply, o.broken(call, "an entry that stands for nothing")
	}
	if reply.HasAttr {
		if reason := checkAttr(&reply.Attr, reply.Ino, o.c.shards()); reason != "" {
			return reply, o.broken(call, reason)
		}
	}
	return reply, nil
}

// readlink asks for the target of a symbolic link.
func (o *op) readlink(ino inode.Ino) (string, error) {
	memory, err := o.payload()
	if err != nil {
		return "", err
	}
	o.reset()
	m := rpc.InodeRequest{Ino: ino}
	call := o.call(rpc.MsgReadlink, ino.Shard())
	call.Body = m.AppendTo(call.Body)
	call.In = memory[:PathMax+1]
	if o.exchange(); call.Err != nil {
		return "", o.gone(call)
	}
	if call.Received == 0 || call.Received > PathMax {
		return "", o.broken(call, "a symbolic link without a usable target")
	}
	return string(memory[:call.Received]), nil
}
