package server

import (
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
)

// maxSymlink is the longest target of a symbolic link: bytes.
const maxSymlink = 4095

// maxSize is the largest file size: what a signed 64-bit offset can say.
const maxSize = 1<<63 - 1

// owns checks that an entry's shard is this one: a client with another cluster map never gets here, a broken one may.
func (s *Shard) owns(parent inode.Ino, name []byte) error {
	if layout.EntryShard(uint64(parent), name, s.shards) != s.o.Peer.Shard {
		return &rpc.InvalidHeader{Reason: "the name lives on another shard"}
	}
	return nil
}

// here checks that an inode is this shard's.
func (s *Shard) here(ino inode.Ino) error {
	if ino.Shard() != s.o.Peer.Shard {
		return &rpc.InvalidHeader{Reason: "the inode lives on another shard"}
	}
	return nil
}

// entry answers with what a name stands for, and with its attributes and an open handle where they are to be had here.
func (s *Shard) entry(r *rpc.Request, e meta.Entry, created, open bool, handle uint64) error {
	return s.found(r, e, &rpc.Lookup{Open: open, Handle: handle}, created)
}

// found is entry for a lookup.
func (s *Shard) found(r *rpc.Request, e meta.Entry, m *rpc.Lookup, created bool) error {
	answer := rpc.EntryReply{Ino: e.Ino, Kind: e.Kind, Created: created}
	if e.Ino.Shard() == s.o.Peer.Shard {
		var err error
		if answer.Attr, err = s.o.Meta.Attr(e.Ino); err != nil {
			return err
		}
		answer.HasAttr, answer.Opened = true, m.Open && e.Kind == inode.File
		s.watcher.show(&answer.Attr)
		if answer.Opened && answer.Attr.Size > 0 {
			answer.Place = s.place(e.Ino, 0, answer.Attr.TruncGen, m.Share)
		}
	}
	client, handle := r.Header.Client, m.Handle
	s.body = answer.AppendTo(s.body[:0])
	if !answer.Opened {
		s.ok(r, s.body)
		return nil
	}
	s.okNow(r, s.body)
	_, _ = s.o.Meta.OpenHandle(client, e.Ino, handle) // as Attr was not refused, this is not
	return nil
}

func (s *Shard) lookup(r *rpc.Request) error {
	var m rpc.Lookup
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.owns(m.Parent, m.Name); err != nil {
		return err
	}
	e, err := s.o.Meta.Lookup(m.Parent, m.Name)
	if err != nil {
		return err
	}
	return s.found(r, e, &m, false)
}

func (s *Shard) createFile(r *rpc.Request) error { return s.create(r, inode.File, nil) }
func (s *Shard) createDir(r *rpc.Request) error  { return s.create(r, inode.Dir, nil) }

func (s *Shard) createSymlink(r *rpc.Request) error {
	target, ready, err := s.payload(r, maxSymlink)
	if err != nil || !ready {
		return err
	}
	if len(target) == 0 {
		return errors.WithStack(syscall.ENOENT)
	}
	return s.create(r, inode.Symlink, target)
}

func (s *Shard) create(r *rpc.Request, kind inode.Kind, target []byte) error {
	var m rpc.Create
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.owns(m.Parent, m.Name); err != nil {
		return err
	}
	if done, ok := s.o.Meta.Done(reqID(r)); ok {
		return s.entry(r, meta.Entry{Ino: done.Ino, Kind: kind}, true, m.Open, m.Handle)
	}
	e, attr, err := s.o.Meta.BeginCreate(reqID(r), meta.CreateArgs{
		Parent: m.Parent, Name: m.Name, Kind: kind,
		Mode: m.Mode, UID: m.UID, GID: m.GID,
		Target: target, Layout: m.Layout, Exclusive: m.Exclusive,
	})
	switch {
	case err != nil:
		return err
	case attr.Ino == 0:
		return s.entry(r, e, false, m.Open, m.Handle)
	}
	s.created(r, &m, &attr)
	return nil
}

// created answers that there is a new inode, and does what that takes while the answer is on its way: half of the work, and nobody sees
// anything of the shard before it is done.
func (s *Shard) created(r *rpc.Request, m *rpc.Create, attr *inode.Attr) {
	client, handle := r.Header.Client, m.Handle
	answer := rpc.EntryReply{
		Ino: attr.Ino, Kind: attr.Kind, Created: true, Opened: m.Open && attr.Kind == inode.File, HasAttr: true, Attr: *attr,
	}
	s.body = answer.AppendTo(s.body[:0])
	s.okNow(r, s.body)
	err := s.o.Meta.Settle()
	if err == nil && answer.Opened {
		_, err = s.o.Meta.OpenHandle(client, attr.Ino, handle)
	}
	if err != nil {
		s.log.Error("a new inode is in the log and not in memory", "inode", attr.Ino, "error", err)
	}
}

func (s *Shard) readlink(r *rpc.Request) error {
	ino, err := s.inodeOf(r)
	if err != nil {
		return err
	}
	target, err := s.o.Meta.Readlink(ino)
	if err != nil {
		return err
	}
	o, err := s.newPage(r)
	if err != nil {
		return err
	}
	s.replyPage(r, nil, append(o.page[:0], target...))
	return nil
}

// inodeOf decodes a request that names an inode of this shard and nothing else.
func (s *Shard) inodeOf(r *rpc.Request) (inode.Ino, error) {
	var m rpc.InodeRequest
	if err := m.Decode(r.Body); err != nil {
		return 0, err
	}
	return m.Ino, s.here(m.Ino)
}

// attr answers with attributes.
func (s *Shard) attr(r *rpc.Request, a inode.Attr, err error) error {
	if err != nil {
		return err
	}
	answer := rpc.AttrReply{Attr: a}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}

func (s *Shard) getAttr(r *rpc.Request) error {
	ino, err := s.inodeOf(r)
	if err != nil {
		return err
	}
	a, err := s.o.Meta.Attr(ino)
	if err == nil {
		s.watcher.show(&a)
	}
	return s.attr(r, a, err)
}

func (s *Shard) setAttr(r *rpc.Request) error {
	var m rpc.SetAttr
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	if _, ok := s.o.Meta.Done(reqID(r)); ok {
		a, err := s.o.Meta.Attr(m.Ino)
		return s.attr(r, a, err)
	}
	a, err := s.o.Meta.SetAttr(reqID(r), m.Ino, m.Mask, inode.Attr{
		Mode: m.Mode, UID: m.UID, GID: m.GID, Atime: m.Atime, Mtime: m.Mtime, Layout: m.Layout,
	})
	return s.attr(r, a, err)
}

func (s *Shard) extend(r *rpc.Request) error {
	var m rpc.Extend
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	if m.End > maxSize {
		return errors.WithStack(syscall.EFBIG)
	}
	if s.grows(m.Ino, m.End) && s.atEnd(r, m.Ino) {
		return nil
	}
	a, err := s.o.Meta.Extend(m.Ino, m.End, m.Gen)
	return s.attr(r, a, err)
}

func (s *Shard) getRuns(r *rpc.Request) error {
	ino, err := s.inodeOf(r)
	if err != nil {
		return err
	}
	runs, err := s.o.Meta.Runs(ino)
	if err != nil {
		return err
	}
	return s.replyRuns(r, runs)
}

func (s *Shard) addRun(r *rpc.Request) error {
	var m rpc.AddRun
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	if m.Run.Shard >= s.shards || m.Run.Count == 0 {
		return &rpc.InvalidHeader{Reason: "placement run names no shard or no chunk"}
	}
	runs, err := s.o.Meta.AddRun(m.Ino, m.Gen, m.Run)
	if err != nil {
		return err
	}
	return s.replyRuns(r, runs)
}

func (s *Shard) replyRuns(r *rpc.Request, runs []layout.Run) error {
	o, err := s.newPage(r)
	if err != nil {
		return err
	}
	payload := rpc.AppendRuns(o.page[:0], runs)
	if len(payload) > len(o.page) {
		return errors.Wrapf(syscall.EFBIG, "%d placement runs do not fit in one reply", len(runs))
	}
	s.replyPage(r, nil, payload)
	return nil
}

func (s *Shard) openHandle(r *rpc.Request) error {
	var m rpc.OpenHandle
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	a, err := s.o.Meta.OpenHandle(r.Header.Client, m.Ino, m.Handle)
	return s.attr(r, a, err)
}

func (s *Shard) releaseHandles(r *rpc.Request) error {
	m := &s.releases
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	told := true // nobody can see whether a handle is there, but everybody when a file was changed
	for _, h := range m.Handles {
		if err := s.here(h.Ino); err != nil {
			return err
		}
		told = told && h.Mtime == 0
	}
	client := r.Header.Client
	if told {
		s.okNow(r, nil)
	}
	var failed error
	for _, h := range m.Handles {
		if err := s.o.Meta.ReleaseHandle(client, h.Ino, h.Handle, h.Mtime); err != nil {
			failed = err
		}
	}
	switch {
	case !told && failed != nil:
		return failed
	case !told:
		s.ok(r, nil)
	case failed != nil:
		s.log.Error("closed files that have no name stay until their client's session ends", "error", failed)
	}
	s.purge()
	return nil
}

// readDir fills one page with entries, and with the attributes of those whose inodes are here.
func (s *Shard) readDir(r *rpc.Request) error {
	var m rpc.ReadDir
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	o, err := s.newPage(r)
	if err != nil {
		return err
	}
	limit := min(int(m.Max), len(o.page))
	payload := o.page[:0]
	answer := rpc.ReadDirReply{Next: m.Cookie}
	var failed error
	eof, err := s.o.Meta.ReadDir(m.Dir, m.Cookie, func(d meta.DirEntry) bool {
		e := rpc.DirEntry{Cookie: d.Cookie, Ino: d.Ino, Kind: d.Kind, Name: d.Name}
		if d.Ino.Shard() == s.o.Peer.Shard {
			if e.Attr, failed = s.o.Meta.Attr(d.Ino); failed != nil {
				return false
			}
			e.HasAttr = true
		}
		grown := e.AppendTo(payload)
		if len(grown) > limit {
			return false
		}
		payload = grown
		answer.Count++
		answer.Next = d.Cookie
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		s.release(r)
		return err
	}
	if answer.Count == 0 && !eof {
		s.release(r)
		return &rpc.InvalidHeader{Reason: "page too small for one entry"}
	}
	answer.EOF = eof
	s.body = answer.AppendTo(s.body[:0])
	s.replyPage(r, s.body, payload)
	return nil
}

func (s *Shard) dirInfo(r *rpc.Request) error {
	var m rpc.InodeRequest
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	info, err := s.o.Meta.DirInfo(m.Ino)
	if err != nil {
		return err
	}
	answer := rpc.DirInfoReply{Entries: info.Entries, Subdirs: info.Subdirs, Mtime: info.Mtime}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}
