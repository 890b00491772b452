package rpc

// AppendTo appends the encoding of m to b.
func (m *ReadChunk) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Chunk)
	b = le.AppendUint32(b, m.Offset)
	b = le.AppendUint32(b, m.Length)
	b = le.AppendUint32(b, m.Gen)
	return appendFlag(b, m.Share)
}

// Decode reads m from the whole of b.
func (m *ReadChunk) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReadChunk{Ino: d.ino(), Chunk: d.u64(), Offset: d.u32(), Length: d.u32(), Gen: d.u32(), Share: d.flag()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *ReadChunkReply) AppendTo(b []byte) []byte {
	return appendPlace(le.AppendUint32(b, m.Present), &m.Place)
}

// Decode reads m from the whole of b.
func (m *ReadChunkReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReadChunkReply{Present: d.u32(), Place: d.place()}
	return d.end()
}

func appendPlace(b []byte, p *Place) []byte {
	b = appendFlag(b, p.Held)
	if !p.Held {
		return b
	}
	b = le.AppendUint32(b, p.Slot)
	b = le.AppendUint32(b, p.Serial)
	b = le.AppendUint32(b, p.Segment)
	b = le.AppendUint64(b, p.Offset)
	return le.AppendUint32(b, p.Bytes)
}

func (d *decoder) place() Place {
	if !d.flag() {
		return Place{}
	}
	return Place{Held: true, Slot: d.u32(), Serial: d.u32(), Segment: d.u32(), Offset: d.u64(), Bytes: d.u32()}
}

// AppendTo appends the encoding of m to b.
func (m *WriteChunk) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Chunk)
	b = le.AppendUint32(b, m.Offset)
	b = le.AppendUint32(b, m.Length)
	b = le.AppendUint32(b, m.Gen)
	b = append(b, m.ChunkBits)
	b = appendFlag(b, m.Share)
	return le.AppendUint64(b, m.End)
}

// Decode reads m from the whole of b.
func (m *WriteChunk) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = WriteChunk{
		Ino: d.ino(), Chunk: d.u64(), Offset: d.u32(), Length: d.u32(), Gen: d.u32(), ChunkBits: d.chunkBits(), Share: d.flag(),
		End: d.u64(),
	}
	return d.end()
}

// AppendTo appends the encoding of m to b. Attr is there only if HasAttr.
func (m *WrittenReply) AppendTo(b []byte) []byte {
	b = appendPlace(b, &m.Place)
	b = appendFlag(b, m.HasAttr)
	if m.HasAttr {
		b = appendAttr(b, &m.Attr)
	}
	return b
}

// Decode reads m from the whole of b.
func (m *WrittenReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = WrittenReply{Place: d.place(), HasAttr: d.flag()}
	if m.HasAttr {
		d.attr(&m.Attr)
	}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *BeginWriteReply) AppendTo(b []byte) []byte {
	return appendFlag(appendPlace(b, &m.Place), m.Bare)
}

// Decode reads m from the whole of b.
func (m *BeginWriteReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = BeginWriteReply{Place: d.place(), Bare: d.flag()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *EndWrite) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, m.Ref)
	b = appendFlag(b, m.Commit)
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.End)
	return le.AppendUint32(b, m.Gen)
}

// Decode reads m from the whole of b.
func (m *EndWrite) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = EndWrite{Ref: d.u64(), Commit: d.flag(), Ino: d.ino(), End: d.u64(), Gen: d.u32()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *ReserveChunk) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Chunk)
	b = le.AppendUint32(b, m.Length)
	b = le.AppendUint32(b, m.Gen)
	return append(b, m.ChunkBits)
}

// Decode reads m from the whole of b.
func (m *ReserveChunk) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReserveChunk{Ino: d.ino(), Chunk: d.u64(), Length: d.u32(), Gen: d.u32(), ChunkBits: d.chunkBits()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *TruncateChunks) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint32(b, m.Gen)
	b = le.AppendUint64(b, m.Size)
	return append(b, m.ChunkBits)
}

// Decode reads m from the whole of b.
func (m *TruncateChunks) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = TruncateChunks{Ino: d.ino(), Gen: d.u32(), Size: d.u64(), ChunkBits: d.chunkBits()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *PurgeChunks) AppendTo(b []byte) []byte { return appendIno(b, m.Ino) }

// Decode reads m from the whole of b.
func (m *PurgeChunks) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = PurgeChunks{Ino: d.ino()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *SyncChunks) AppendTo(b []byte) []byte { return appendIno(b, m.Ino) }

// Decode reads m from the whole of b.
func (m *SyncChunks) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = SyncChunks{Ino: d.ino()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *StatStoreReply) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, m.CapacityBytes)
	b = le.AppendUint64(b, m.UsedBytes)
	b = le.AppendUint64(b, m.Chunks)
	return le.AppendUint64(b, m.Inodes)
}

// Decode reads m from the whole of b.
func (m *StatStoreReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = StatStoreReply{CapacityBytes: d.u64(), UsedBytes: d.u64(), Chunks: d.u64(), Inodes: d.u64()}
	return d.end()
}
