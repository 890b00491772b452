package client_test

import (
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
)

func TestAttributes(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	put(t, a, "f", pattern(1, 100))
	ok(t, "chmod", a.Chmod(ctx, 0, "f", 0o6755, true))
	ok(t, "chown", a.Chown(ctx, 0, "f", 5, client.Keep, true))
	if s := stat(t, b, "f"); s.Mode != 0o755 || s.UID != 5 || s.GID != 0 {
		t.Fatalf("%o %d %d", s.Mode, s.UID, s.GID)
	}
	ok(t, "utimens", a.Utimens(ctx, 0, "f", client.Time{NS: 111}, client.Time{NS: 222}, true))
	if s := stat(t, b, "f"); s.Mtime != 222 {
		t.Fatalf("mtime %d", s.Mtime)
	}
	// An overwrite advances mtime: at once for whoever wrote, at fsync or close for others.
	f := open(t, a, "f", syscall.O_RDWR)
	writeAt(t, f, []byte("x"), 0)
	if s := stat(t, a, "f"); s.Mtime < 1000 {
		t.Fatal("the writer's own stat does not see its overwrite")
	}
	ok(t, "utimens", f.Utimens(ctx, client.Time{Omit: true}, client.Time{NS: 333}))
	writeAt(t, f, []byte("x"), 0)
	ok(t, "fsync", f.Sync(ctx, false))
	if s := stat(t, b, "f"); s.Mtime < 1000 {
		t.Fatal("fsync does not tell the time")
	}
	ok(t, "utimens", f.Utimens(ctx, client.Time{Omit: true}, client.Time{NS: 444}))
	writeAt(t, f, []byte("x"), 0)
	ok(t, "close", f.Close(ctx))
	if s := stat(t, b, "f"); s.Mtime < 1000 {
		t.Fatal("close does not tell the time")
	}
	// Directories: the time that was set holds until an entry comes or goes, and chmod does not lose the time of an entry.
	ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
	create(t, a, "d/x")
	ok(t, "utimens", a.Utimens(ctx, 0, "d", client.Time{Omit: true}, client.Time{NS: 555}, true))
	if s := stat(t, b, "d"); s.Mtime != 555 {
		t.Fatalf("mtime of a directory %d", s.Mtime)
	}
	create(t, a, "d/y")
	before := stat(t, b, "d").Mtime
	if before == 555 {
		t.Fatal("a new entry does not advance mtime")
	}
	ok(t, "chmod", a.Chmod(ctx, 0, "d", 0o700, true))
	if s := stat(t, b, "d"); s.Mtime != before || s.Mode != 0o700 {
		t.Fatalf("after chmod: mtime %d, before %d, mode %o", s.Mtime, before, s.Mode)
	}
	ok(t, "rename", a.Rename(ctx, 0, "d", 0, "dd"))
	if s := stat(t, b, "dd"); s.Mtime != before {
		t.Fatalf("after rename: mtime %d, before %d", s.Mtime, before)
	}
	check(t, "truncate a directory", a.Truncate(ctx, 0, "dd", 0), syscall.EISDIR)
	check(t, "truncate nothing", a.Truncate(ctx, 0, "nope", 0), syscall.ENOENT)
	check(t, "chmod of a link", func() error {
		ok(t, "symlink", a.Symlink(ctx, "f", 0, "l"))
		return a.Chmod(ctx, 0, "l", 0o700, false)
	}(), syscall.EOPNOTSUPP)
}

func TestPermissionChecks(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	root, u, v := c.client(nil), c.user(10, 100, 200), c.user(20, 300)
	check(t, "create without the right", func() error { _, err := u.Open(ctx, 0, "f", syscall.O_CREAT, 0o644); return err }(), syscall.EACCES)
	ok(t, "mkdir", root.Mkdir(ctx, 0, "tmp", 0o777))
	ok(t, "chmod", root.Chmod(ctx, 0, "tmp", 0o1777, true))
	put(t, u, "tmp/u", []byte("mine"))
	if s := stat(t, v, "tmp/u"); s.UID != 10 || s.GID != 100 || s.Mode != 0o644 {
		t.Fatalf("%+v", s)
	}
	openErr := func(c *client.Client, path string, flags int) error {
		f, err := c.Open(ctx, 0, path, flags, 0o644)
		if err == nil {
			_ = f.Close(ctx)
		}
		return err
	}
	ok(t, "read", openErr(v, "tmp/u", syscall.O_RDONLY))
	check(t, "write", openErr(v, "tmp/u", syscall.O_WRONLY), syscall.EACCES)
	check(t, "truncate by open", openErr(v, "tmp/u", syscall.O_TRUNC), syscall.EACCES)
	check(t, "truncate", v.Truncate(ctx, 0, "tmp/u", 0), syscall.EACCES)
	check(t, "sticky unlink", v.Unlink(ctx, 0, "tmp/u"), syscall.EPERM)
	check(t, "sticky rename", v.Rename(ctx, 0, "tmp/u", 0, "tmp/v"), syscall.EPERM)
	check(t, "chmod", v.Chmod(ctx, 0, "tmp/u", 0o777, true), syscall.EPERM)
	check(t, "chown away", u.Chown(ctx, 0, "tmp/u", 20, client.Keep, true), syscall.EPERM)
	check(t, "chgrp elsewhere", u.Chown(ctx, 0, "tmp/u", client.Keep, 300, true), syscall.EPERM)
	ok(t, "chgrp", u.Chown(ctx, 0, "tmp/u", client.Keep, 200, true))
	check(t, "utimens", v.Utimens(ctx, 0, "tmp/u", client.Time{NS: 1}, client.Time{NS: 1}, true), syscall.EPERM)
	check(t, "touch", v.Utimens(ctx, 0, "tmp/u", client.Time{Now: true}, client.Time{Now: true}, true), syscall.EACCES)
	ok(t, "chmod", u.Chmod(ctx, 0, "tmp/u", 0o666, true))
	ok(t, "touch", v.Utimens(ctx, 0, "tmp/u", client.Time{Now: true}, client.Time{Now: true}, true))
	ok(t, "mkdir", u.Mkdir(ctx, 0, "tmp/private", 0o700))
	put(t, u, "tmp/private/f", nil)
	check(t, "search", openErr(v, "tmp/private/f", 0), syscall.EACCES)
	check(t, "list", openErr(v, "tmp/private", 0), syscall.EACCES)
	ok(t, "root may", openErr(root, "tmp/private/f", syscall.O_RDWR))
	ok(t, "chmod", u.Chmod(ctx, 0, "tmp/private", 0o755, true))
	ok(t, "open what exists with O_CREAT", openErr(v, "tmp/private/f", syscall.O_CREAT))
	check(t, "O_EXCL on what exists", openErr(v, "tmp/private/f", syscall.O_CREAT|syscall.O_EXCL), syscall.EEXIST)
	check(t, "mkdir over what exists", v.Mkdir(ctx, 0, "tmp/private/f", 0o755), syscall.EEXIST)
	check(t, "access", v.Access(ctx, 0, "tmp/private/f", 2, true, true), syscall.EACCES)
	ok(t, "access", v.Access(ctx, 0, "tmp/private/f", 4, false, true))
	// set-group-id directories hand on their group.
	ok(t, "chown", root.Chown(ctx, 0, "tmp/private", client.Keep, 200, true))
	ok(t, "chmod", root.Chmod(ctx, 0, "tmp/private", 0o2775, true))
	ok(t, "mkdir", u.Mkdir(ctx, 0, "tmp/private/d", 0o755))
	put(t, u, "tmp/private/g", nil)
	if d, f := stat(t, u, "tmp/private/d"), stat(t, u, "tmp/private/g"); d.GID != 200 || d.Mode != 0o2755 || f.GID != 200 || f.Mode != 0o644 {
		t.Fatalf("%+v %+v", d, f)
	}
	// A file may be opened for writing by whoever makes it, whatever its mode.
	f, err := u.Open(ctx, 0, "tmp/readonly", syscall.O_CREAT|syscall.O_RDWR, 0o444)
	ok(t, "create read-only", err)
	writeAt(t, f, []byte("x"), 0)
	ok(t, "close", f.Close(ctx))
	check(t, "open it again", openErr(u, "tmp/readonly", syscall.O_RDWR), syscall.EACCES)
	if n := u.OpenFiles() + v.OpenFiles() + root.OpenFiles(); n != 0 {
		t.Fatalf("%d files open", n)
	}
}
