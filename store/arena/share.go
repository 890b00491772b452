package arena

import (
	"strconv"
	"strings"
	"unsafe"

	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/store"
)

var _ store.Shareable = (*Store)(nil)

// SegmentFiles implements store.Shareable.
func (s *Store) SegmentFiles() store.SegmentFiles {
	return store.SegmentFiles{Prefix: s.files.prefix, Bytes: s.SegmentBytes(), Huge: s.files.huge()}
}

// What segmentFiles.pages says.
const (
	unknownPages = iota
	smallPages
	hugePages
)

// huge reports whether the kernel gave the segments huge pages: it looks at the first one that has pages at all. What is on
// one medium is alike. To look takes milliseconds once there are many pages.
func (f *segmentFiles) huge() bool {
	if known := f.pages.Load(); known != unknownPages {
		return known == hugePages
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, s := range f.segments {
		if s.mapping == nil || len(s.mapping.Bytes) == 0 {
			continue
		}
		resident, huge := smaps(uintptr(unsafe.Pointer(&s.mapping.Bytes[0])))
		if resident == 0 {
			continue
		}
		if huge >= resident/2 {
			f.pages.Store(hugePages)
			return true
		}
		f.pages.Store(smallPages)
		break
	}
	return false
}

// smaps finds in /proc/self/smaps (proc(5)) how much of the mapping at an address is resident, and how much of that in huge pages: kB.
func smaps(address uintptr) (resident, huge int) {
	text, err := procfs.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, 0
	}
	_, rest, found := strings.Cut("\n"+text, "\n"+strconv.FormatUint(uint64(address), 16)+"-")
	if !found {
		return 0, 0
	}
	for _, line := range strings.Split(rest, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kb, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "Rss:":
			resident = kb
		case "ShmemPmdMapped:", "FilePmdMapped:":
			huge += kb
		case "VmFlags:":
			return resident, huge
		}
	}
	return resident, huge
}
