package client

import (
	"context"
	"sync"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// A handle keeps an inode from going with its last name, and that is all that it does. So a close need not wait for the inode's shard to hear
// of it: closed handles are collected, and told a batch at a time, or when releaseDelay has passed without a batch. Until then a file that was unlinked
// keeps its space. A close that has something to tell that others may look at, the time of overwrites, tells it at once.

const (
	releaseBatch = rpc.MaxReleases
	releaseDelay = 5 * time.Millisecond
	leaveMost    = 20 // delays in a row in which others told what there was to tell
)

// releases are the handles that were closed and not told yet.
type releases struct {
	mu      sync.Mutex
	byShard map[uint32][]rpc.ReleaseHandle
	teller  bool   // a goroutine sees to it that they are told
	batches uint64 // that those who closed have filled, and tell
	ended   sync.WaitGroup
	open    context.Context // ends when the client is closed: the goroutine does not wait then
	close   context.CancelFunc
}

// releaseSoon gives a handle up.
func (c *Client) releaseSoon(ctx context.Context, ino inode.Ino, handle uint64) {
	q := &c.releases
	shard := ino.Shard()
	q.mu.Lock()
	if q.byShard == nil {
		q.byShard = map[uint32][]rpc.ReleaseHandle{}
	}
	list := append(q.byShard[shard], rpc.ReleaseHandle{Ino: ino, Handle: handle})
	q.byShard[shard] = list
	full := len(list) >= releaseBatch
	if full {
		q.batches++
	}
	if !q.teller && !c.closed.Load() {
		q.teller = true
		q.ended.Add(1)
		go c.tellReleases()
	}
	q.mu.Unlock()
	if full {
		o := c.prepare(ctx, opClose)
		_, _ = o.tellSome(shard) // those that could not be told stay
		o.release()
	}
}

// tellReleases runs while there is something to tell. While those who close fill batches themselves, it leaves it to them.
func (c *Client) tellReleases() {
	q := &c.releases
	defer q.ended.Done()
	seen, left := uint64(0), 0
	for {
		_ = rpc.SleepUntil(q.open, time.Now().Add(releaseDelay)) // closed or not: what there is is told
		q.mu.Lock()
		filled := q.batches != seen
		seen = q.batches
		q.mu.Unlock()
		if filled && left < leaveMost && !c.closed.Load() {
			left++ // there may be a few for another shard among them
			continue
		}
		left = 0
		o := c.prepareAside(context.Background(), opClose)
		idle := o.tellAllReleases() == nil
		o.release()
		q.mu.Lock()
		if idle && len(q.byShard) == 0 || c.closed.Load() {
			q.teller = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
	}
}

// tellAllReleases tells everything that is known now. The error is the last one; what it concerns stays.
func (o *op) tellAllReleases() (err error) {
	q := &o.c.releases
	q.mu.Lock()
	shards := make([]uint32, 0, len(q.byShard))
	for shard := range q.byShard {
		shards = append(shards, shard)
	}
	q.mu.Unlock()
	for _, shard := range shards {
		for more := true; more; {
			var tellErr error
			if more, tellErr = o.tellSome(shard); tellErr != nil {
				err = tellErr
				break
			}
		}
	}
	return err
}

// tellSome takes a batch of a shard's handles and tells it. more: there are others.
func (o *op) tellSome(shard uint32) (more bool, err error) {
	q := &o.c.releases
	q.mu.Lock()
	list := q.byShard[shard]
	batch := list[:min(len(list), releaseBatch)]
	if rest := list[len(batch):]; len(rest) > 0 {
		q.byShard[shard] = rest
		more = true
	} else {
		delete(q.byShard, shard)
	}
	q.mu.Unlock()
	if len(batch) == 0 {
		return false, nil
	}
	o.reset()
	m := rpc.ReleaseHandles{Handles: batch}
	call := o.call(rpc.MsgRelease, shard)
	call.Body = m.AppendTo(call.Body)
	o.exchange()
	var answer *rpc.HandlerError
	if call.Err == nil || errors.As(call.Err, &answer) {
		return more, nil // an answer, whatever it is, settles it: a shard that lost the session has lost the handles
	}
	q.mu.Lock()
	q.byShard[shard] = append(q.byShard[shard], batch...)
	q.mu.Unlock()
	return false, call.Err
}

// endReleases tells what is left, as far as that is possible: the end of the session gives up the rest.
func (c *Client) endReleases(ctx context.Context) {
	c.releases.close()
	c.releases.ended.Wait()
	o := c.prepare(ctx, opClose)
	_ = o.tellAllReleases()
	o.release()
}
