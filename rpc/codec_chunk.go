package rpc

// AppendTo appends the encoding of m to b.
func (m *ReadChunk) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Chunk)
	b = le.AppendUint32(b, m.Offset)
	b = le.AppendUint32(b, m.Length)
	return le.AppendUint32(b, m.Gen)
}

// Decode reads m from the whole of b.
func (m *ReadChunk) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReadChunk{Ino: d.ino(), Chunk: d.u64(), Offset: d.u32(), Length: d.u32(), Gen: d.u32()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *ReadChunkReply) AppendTo(b []byte) []byte { return le.AppendUint32(b, m.Present) }

// Decode reads m from the whole of b.
func (m *ReadChunkReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReadChunkReply{Present: d.u32()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *WriteChunk) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Chunk)
	b = le.AppendUint32(b, m.Offset)
	b = le.AppendUint32(b, m.Length)
	b = le.AppendUint32(b, m.Gen)
	return append(b, m.ChunkBits)
}

// Decode reads m from the whole of b.
func (m *WriteChunk) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = WriteChunk{Ino: d.ino(), Chunk: d.u64(), Offset: d.u32(), Length: d.u32(), Gen: d.u32(), ChunkBits: d.chunkBits()}
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
