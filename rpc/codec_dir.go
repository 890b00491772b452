package rpc

// AppendTo appends the encoding of m to b.
func (m *ReadDir) AppendTo(b []byte) []byte {
	return le.AppendUint32(le.AppendUint64(appendIno(b, m.Dir), m.Cookie), m.Max)
}

// Decode reads m from the whole of b.
func (m *ReadDir) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReadDir{Dir: d.ino(), Cookie: d.u64(), Max: d.u32()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *ReadDirReply) AppendTo(b []byte) []byte {
	return appendFlag(le.AppendUint64(le.AppendUint32(b, m.Count), m.Next), m.EOF)
}

// Decode reads m from the whole of b.
func (m *ReadDirReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = ReadDirReply{Count: d.u32(), Next: d.u64(), EOF: d.flag()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *DirInfoReply) AppendTo(b []byte) []byte {
	return appendI64(le.AppendUint64(le.AppendUint64(b, m.Entries), m.Subdirs), m.Mtime)
}

// Decode reads m from the whole of b.
func (m *DirInfoReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = DirInfoReply{Entries: d.u64(), Subdirs: d.u64(), Mtime: d.i64()}
	return d.end()
}

// MaxDirEntryBytes is the largest encoding of a DirEntry: a page with that much room left takes any entry.
const MaxDirEntryBytes = 8 + 8 + 1 + 1 + 2 + MaxName + attrBytes

// AppendTo appends the encoding of one entry of a ReadDir payload to b. Attr is there only if HasAttr.
func (e DirEntry) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, e.Cookie)
	b = appendIno(b, e.Ino)
	b = append(b, byte(e.Kind))
	b = appendFlag(b, e.HasAttr)
	b = appendText(b, e.Name)
	if e.HasAttr {
		b = appendAttr(b, &e.Attr)
	}
	return b
}

// DecodeDirEntry takes one entry off the front of a ReadDir payload; its Name aliases b.
func DecodeDirEntry(b []byte) (e DirEntry, rest []byte, err error) {
	d := decoder{rest: b}
	e = DirEntry{Cookie: d.u64(), Ino: d.ino(), Kind: d.kind(), HasAttr: d.flag(), Name: d.name()}
	if e.HasAttr {
		d.attr(&e.Attr)
	}
	if len(e.Name) == 0 {
		d.fail("directory entry without a name")
	}
	if d.reason != "" {
		return DirEntry{}, nil, &InvalidHeader{Reason: d.reason}
	}
	return e, d.rest, nil
}
