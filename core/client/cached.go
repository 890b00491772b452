package client

import (
	"github.com/benchfs/benchfs/cache"
	"github.com/benchfs/benchfs/internal/inode"
)

// dataCache keeps what was read (Options.CacheMode "close-to-open"). What is cached belongs to the version that the inode had at this
// process's newest open of it: others' changes show after the next open, this process's own at once, because it invalidates when its
// change is acknowledged. Bytes beyond the known size are not cached: the end of the file is asked for each time.
type dataCache struct {
	chunks *cache.ChunkCache
}

const (
	defaultCacheBytes = 64 << 20
	// maxAhead bounds what is read ahead of a sequential reader: bytes.
	maxAhead = 1 << 20
)

func newDataCache(bytes int64) (*dataCache, error) {
	if bytes == 0 {
		bytes = defaultCacheBytes
	}
	chunks, err := cache.NewChunkCache(cache.ChunkOptions{CapacityBytes: bytes})
	if err != nil {
		return nil, err
	}
	return &dataCache{chunks: chunks}, nil
}

func (d *dataCache) close() error { return d.chunks.Close() }

func (d *dataCache) stats() any { return d.chunks.Stats() }

// changed drops all of a file.
func (d *dataCache) changed(ino inode.Ino) { d.chunks.InvalidateFile(uint64(ino)) }

// wrote drops what a write that has ended (well or not) may have changed.
func (d *dataCache) wrote(in *openInode, pos, n uint64, err error) {
	bits := in.snapshot().layout.ChunkBits
	if err != nil || n == 0 {
		d.changed(in.ino)
		return
	}
	for chunk := pos >> bits; chunk <= (pos+n-1)>>bits; chunk++ {
		d.chunks.InvalidateChunk(cache.Key{Ino: uint64(in.ino), Chunk: chunk})
	}
}

// read is readRange through the cache.
func (d *dataCache) read(o *op, f *File, bufs [][]byte, pos, want uint64) (uint64, error) {
	in := f.in
	k := in.snapshot()
	version := in.opened.Load()
	end := max(pos, min(pos+want, k.size))
	ahead := f.sequence.Next(pos, want, maxAhead)
	c := newCursor(bufs, 0, pos, end-pos, k.layout.ChunkBits)
	for {
		p, ok := c.next()
		if !ok {
			break
		}
		start := p.chunk << k.layout.ChunkBits
		fetch := func(off uint32, parts [][]byte) (int, error) {
			total, err := vector(parts)
			if err != nil {
				return 0, err
			}
			n, err := o.readRange(in, parts, start+uint64(off), total)
			return int(n), err
		}
		more := min(ahead, k.size-(p.pos+uint64(len(p.buf))))
		n, err := d.chunks.Read(cache.Key{Ino: uint64(in.ino), Chunk: p.chunk}, version, p.off, p.buf, uint32(more), fetch)
		if err != nil {
			return 0, err
		}
		if n < len(p.buf) { // the file was cut, or has grown behind a block that was its end
			d.changed(in.ino)
			return o.readRange(in, bufs, pos, want)
		}
	}
	if end == pos+want {
		return want, nil
	}
	rest := make([][]byte, 0, len(c.bufs))
	for i, b := range c.bufs {
		if i == 0 {
			b = b[c.at:]
		}
		rest = append(rest, b)
	}
	n, err := o.readRange(in, rest, end, pos+want-end)
	if err != nil {
		return 0, err
	}
	if n == 0 && in.snapshot().gen != k.gen { // cut below what came out of the cache
		return o.readRange(in, bufs, pos, want)
	}
	return end - pos + n, nil
}
