package rpc

// AppendTo appends the encoding of m to b.
func (m *Hello) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, m.Epoch)
	b = le.AppendUint64(b, m.Incarnation)
	b = appendPeer(b, m.Peer)
	b = le.AppendUint32(b, m.PID)
	b = le.AppendUint64(b, m.PIDStart)
	b = le.AppendUint32(b, m.UID)
	b = appendText(b, m.HostID)
	b = appendText(b, m.Secret)
	return appendText(b, m.Build)
}

// Decode reads m from the whole of b; HostID, Secret and Build alias b.
func (m *Hello) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Hello{
		Epoch:       d.u32(),
		Incarnation: d.u64(),
		Peer:        d.peer(),
		PID:         d.u32(),
		PIDStart:    d.u64(),
		UID:         d.u32(),
		HostID:      d.ident(),
		Secret:      d.ident(),
		Build:       d.ident(),
	}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *HelloReply) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, m.Session)
	b = le.AppendUint32(b, m.Epoch)
	b = le.AppendUint64(b, m.Incarnation)
	b = appendPeer(b, m.Peer)
	b = le.AppendUint32(b, m.Shards)
	b = le.AppendUint64(b, m.MaxBulk)
	b = append(b, m.ChunkBits)
	return appendText(b, m.Build)
}

// Decode reads m from the whole of b; Build aliases b.
func (m *HelloReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = HelloReply{
		Session:     d.u32(),
		Epoch:       d.u32(),
		Incarnation: d.u64(),
		Peer:        d.peer(),
		Shards:      d.u32(),
		MaxBulk:     d.u64(),
		ChunkBits:   d.chunkBits(),
		Build:       d.ident(),
	}
	return d.end()
}
