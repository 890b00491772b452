package bridge

import (
	"encoding/json"

	"github.com/benchfs/benchfs/fserr"
)

// Stats is the object that benchfs_stats prints.
type Stats struct {
	Version     string `json:"version"`
	OpenHandles int    `json:"open_handles"` // files and directory streams
	Client      any    `json:"client"`       // what core/client counts
}

// Stats stores the counters as JSON and a NUL in buf, as much as fits, and returns the length of the whole text.
func (l *Library) Stats(buf []byte) int64 {
	c, err := l.begin("stats")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	text, err := json.Marshal(Stats{Version: l.hooks.Version, OpenHandles: l.handles.Open(), Client: c.s.client.Stats()})
	if err != nil {
		return l.fail(fserr.New("stats", "", fserr.Errno(err), err))
	}
	if len(buf) > 0 {
		buf[copy(buf[:len(buf)-1], text)] = 0
	}
	return int64(len(text))
}
