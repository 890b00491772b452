package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pkg/errors"
	"go.uber.org/multierr"
	"golang.org/x/sys/unix"
)

// The addresses of the two ends of the TCP cases, from the range that is set apart for benchmarks (RFC 2544).
const (
	serverAddress = "198.18.0.1"
	clientAddress = "198.18.0.2"
	serverDevice  = "bfsserver"
	clientDevice  = "bfsclient"
)

// mountBytes bounds each tmpfs that is mounted; pages are taken as files grow.
const mountBytes = "8g"

// sandbox is what a run has made outside its results: directories, mounts, network namespaces. Names are unique to the run.
type sandbox struct {
	base   string // on tmpfs
	disk   string // on the disk
	plain  string // 4 KiB pages
	huge   string // huge pages for whoever asks; "" if there are none
	server string // network namespaces; "" without
	client string
	mounts []string
	notes  []string // what could not be had, and so is not measured
}

// newSandbox makes what the machine and our rights allow. The caller calls remove also after an error.
func newSandbox(ctx context.Context, diskDir string) (*sandbox, error) {
	s := &sandbox{}
	var err error
	if s.base, err = os.MkdirTemp("/dev/shm", "benchfs-bench-"); err != nil {
		return s, errors.Wrap(err, "no place on a tmpfs")
	}
	if s.disk, err = os.MkdirTemp(diskDir, "benchfs-bench-"); err != nil {
		return s, err
	}
	s.plain = filepath.Join(s.base, "plain")
	if err := os.Mkdir(s.plain, 0o700); err != nil {
		return s, err
	}
	if os.Geteuid() != 0 {
		s.notes = append(s.notes, "not root: no huge pages (mount), no TCP between network namespaces")
		return s, nil
	}
	if err := s.mount(s.plain, "huge=never"); err != nil {
		s.notes = append(s.notes, fmt.Sprintf("no tmpfs of its own for the run, /dev/shm is used: %v", err))
	}
	huge := filepath.Join(s.base, "huge")
	if err := os.Mkdir(huge, 0o700); err != nil {
		return s, err
	}
	if err := s.mount(huge, "huge=advise"); err != nil {
		s.notes = append(s.notes, fmt.Sprintf("no tmpfs with huge pages: %v", err))
	} else {
		s.huge = huge
	}
	// Not stopped half-way: what is made has to be known, to be removed.
	if err := s.network(context.WithoutCancel(ctx)); err != nil {
		s.notes = append(s.notes, fmt.Sprintf("no TCP between network namespaces: %v", err))
	}
	return s, nil
}

// wakeMemory takes memory from the system once, and gives it back. On a virtual machine, pages that were never used cost several times as much
// as others, and would tell more about the order of the cases than about the file systems.
func (s *sandbox) wakeMemory() error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	size := min(int64(uint64(info.Freeram)*uint64(info.Unit)/4), capacityGiB<<30)
	f, err := os.CreateTemp(s.plain, "memory-")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	// In pieces, as a signal undoes what the call has done so far.
	const piece = 64 << 20
	for at := int64(0); at+piece <= size; {
		switch err := unix.Fallocate(int(f.Fd()), 0, at, piece); {
		case err == nil:
			at += piece
		case errors.Is(err, unix.ENOSPC):
			return nil // full is as good
		case !errors.Is(err, unix.EINTR):
			return errors.Wrap(err, "cannot take memory of the tmpfs")
		}
	}
	return nil
}

func (s *sandbox) mount(dir, pages string) error {
	err := unix.Mount("benchfs-bench", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size="+mountBytes+","+pages)
	if err == nil {
		s.mounts = append(s.mounts, dir)
	}
	return err
}

// network makes two network namespaces with a pair of virtual devices between them.
func (s *sandbox) network(ctx context.Context) error {
	if _, err := exec.LookPath("ip"); err != nil {
		return err
	}
	prefix := fmt.Sprintf("benchfs-bench-%d-", os.Getpid())
	if err := ip(ctx, "netns", "add", prefix+"server"); err != nil {
		return err
	}
	s.server = prefix + "server"
	if err := ip(ctx, "netns", "add", prefix+"client"); err != nil {
		return err
	}
	s.client = prefix + "client"
	if err := ip(ctx, "link", "add", serverDevice, "netns", s.server, "type", "veth", "peer", "name", clientDevice, "netns", s.client); err != nil {
		return err
	}
	for _, end := range []struct{ space, device, address string }{{s.server, serverDevice, serverAddress}, {s.client, clientDevice, clientAddress}} {
		steps := [][]string{{"addr", "add", end.address + "/24", "dev", end.device}, {"link", "set", end.device, "up"}, {"link", "set", "lo", "up"}}
		for _, step := range steps {
			if err := ip(ctx, append([]string{"-n", end.space}, step...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func ip(ctx context.Context, args ...string) error {
	out, err := command(ctx, os.Environ(), append([]string{"ip"}, args...)...).CombinedOutput()
	return errors.Wrapf(err, "ip %s: %s", strings.Join(args, " "), strings.TrimSpace(string(out)))
}

// connected tells whether the TCP cases can run.
func (s *sandbox) connected() bool { return s.client != "" }

// inNamespace is what stands before a command line to run it in a network namespace.
func inNamespace(space string) []string {
	if space == "" {
		return nil
	}
	return []string{"ip", "netns", "exec", space}
}

// remove undoes everything, as far as it can.
func (s *sandbox) remove() (err error) {
	for _, space := range []string{s.client, s.server} {
		if space != "" {
			err = multierr.Append(err, ip(context.Background(), "netns", "del", space))
		}
	}
	for _, dir := range s.mounts {
		if failed := unix.Unmount(dir, 0); failed != nil {
			// Something still has a file open there; the mount goes with its last user.
			err = multierr.Append(err, errors.Wrapf(unix.Unmount(dir, unix.MNT_DETACH), "cannot unmount %s", dir))
		}
	}
	for _, dir := range []string{s.base, s.disk} {
		if dir != "" {
			err = multierr.Append(err, os.RemoveAll(dir))
		}
	}
	return err
}
