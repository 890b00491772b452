package shm

import "sync/atomic"

// owner is the process that a cell of the board or a table of pins belongs to: words in a shared file. Cells and tables are claimed in order,
// and what was claimed once is never nobody's again.
type owner struct {
	pid   uint64 // 0: nobody's yet; abandoned: anybody's; with the bit seized: of a process that has ended, being cleared
	start uint64 // of that process, as in /proc/PID/stat; 0: not known yet
}

const (
	abandoned = 1 << 63
	seized    = 1 << 62
)

// claim takes what belongs to nobody.
func (o *owner) claim(pid, start uint64) bool {
	if !atomic.CompareAndSwapUint64(&o.pid, 0, pid) && !atomic.CompareAndSwapUint64(&o.pid, abandoned, pid) {
		return false
	}
	atomic.StoreUint64(&o.start, start)
	return true
}

// holder is the pid that the claim is of, with or without the bit seized: 0 or abandoned when there is none.
func (o *owner) holder() uint64 { return atomic.LoadUint64(&o.pid) }

// leave gives back what this process holds, or has seized. What goes with it must be clear.
func (o *owner) leave() {
	atomic.StoreUint64(&o.start, 0)
	atomic.StoreUint64(&o.pid, abandoned)
}

// seize takes what a holder (not 0) has left who ended, so that it can be cleared; leave must follow. It is for the shard alone. false: the holder
// runs, or gave it back meanwhile, and somebody else may have it. A shard that dies in between leaves a seized owner, which its successor seizes
// again.
func (o *owner) seize(holder uint64, runs func(pid uint32, start uint64) bool) bool {
	return holder != abandoned && !runs(uint32(holder), atomic.LoadUint64(&o.start)) &&
		atomic.CompareAndSwapUint64(&o.pid, holder, holder|seized)
}
