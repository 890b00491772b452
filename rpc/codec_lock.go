package rpc

// AppendTo appends the encoding of m to b.
func (m *Lock) AppendTo(b []byte) []byte {
	b = append(b, byte(m.Op), byte(m.Kind), byte(m.Type))
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Owner)
	b = le.AppendUint64(b, m.Holder)
	b = le.AppendUint64(b, m.Start)
	b = le.AppendUint64(b, m.End)
	b = le.AppendUint32(b, m.PID)
	b = le.AppendUint64(b, m.Lease)
	b = le.AppendUint64(b, m.Ticket)
	return le.AppendUint64(b, m.Turn)
}

// Decode reads m from the whole of b. An empty range is refused, and one that goes further than files do.
func (m *Lock) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Lock{
		Op:     LockOp(d.oneOf(uint8(LockCancel), "unknown operation on a lock")),
		Kind:   LockKind(d.oneOf(uint8(LockFile), "unknown kind of lock")),
		Type:   LockType(d.oneOf(uint8(LockNone), "unknown type of lock")),
		Ino:    d.ino(),
		Owner:  d.u64(),
		Holder: d.u64(),
		Start:  d.u64(),
		End:    d.u64(),
		PID:    d.u32(),
		Lease:  d.u64(),
		Ticket: d.u64(),
		Turn:   d.u64(),
	}
	if m.Start >= m.End || m.End > MaxLockEnd {
		d.fail("range of a lock is empty or too long")
	}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *LockReply) AppendTo(b []byte) []byte {
	b = appendFlag(append(b, byte(m.Outcome)), m.Held)
	b = le.AppendUint64(b, m.Lease)
	b = le.AppendUint64(b, m.Turn)
	b = append(b, byte(m.Type))
	b = le.AppendUint64(b, m.Start)
	b = le.AppendUint64(b, m.End)
	b = le.AppendUint64(b, m.Owner)
	return le.AppendUint32(b, m.PID)
}

// Decode reads m from the whole of b.
func (m *LockReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = LockReply{
		Outcome: LockOutcome(d.oneOf(uint8(LockWaiting), "unknown outcome of a lock")),
		Held:    d.flag(),
		Lease:   d.u64(),
		Turn:    d.u64(),
		Type:    LockType(d.oneOf(uint8(LockNone), "unknown type of lock")),
		Start:   d.u64(),
		End:     d.u64(),
		Owner:   d.u64(),
		PID:     d.u32(),
	}
	return d.end()
}
