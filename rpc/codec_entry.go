package rpc

// AppendTo appends the encoding of m to b.
func (m *Lookup) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Parent)
	b = appendFlag(b, m.Open)
	b = le.AppendUint64(b, m.Handle)
	b = appendFlag(b, m.Share)
	return appendText(b, m.Name)
}

// Decode reads m from the whole of b; Name aliases b.
func (m *Lookup) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Lookup{Parent: d.ino(), Open: d.flag(), Handle: d.u64(), Share: d.flag(), Name: d.name()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *Create) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Parent)
	b = le.AppendUint32(b, m.Mode)
	b = le.AppendUint32(b, m.UID)
	b = le.AppendUint32(b, m.GID)
	b = appendFlag(b, m.Exclusive)
	b = appendFlag(b, m.Open)
	b = le.AppendUint64(b, m.Handle)
	b = appendLayout(b, &m.Layout)
	return appendText(b, m.Name)
}

// Decode reads m from the whole of b; Name aliases b.
func (m *Create) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Create{
		Parent:    d.ino(),
		Mode:      d.u32(),
		UID:       d.u32(),
		GID:       d.u32(),
		Exclusive: d.flag(),
		Open:      d.flag(),
		Handle:    d.u64(),
		Layout:    d.layout(),
		Name:      d.name(),
	}
	return d.end()
}

// The bits of an EntryReply's second byte.
const (
	entryCreated = 1 << iota
	entryOpened
	entryHasAttr
	entryFlagsEnd
)

// AppendTo appends the encoding of m to b. Attr is there only if HasAttr.
func (m *EntryReply) AppendTo(b []byte) []byte {
	var flags byte
	if m.Created {
		flags |= entryCreated
	}
	if m.Opened {
		flags |= entryOpened
	}
	if m.HasAttr {
		flags |= entryHasAttr
	}
	b = appendIno(b, m.Ino)
	b = append(b, byte(m.Kind), flags)
	if m.HasAttr {
		b = appendAttr(b, &m.Attr)
	}
	return appendPlace(b, &m.Place)
}

// Decode reads m from the whole of b. Attr is zero unless HasAttr.
func (m *EntryReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = EntryReply{Ino: d.ino(), Kind: d.kind()}
	flags := d.u8()
	if flags >= entryFlagsEnd {
		d.fail("unknown flag")
	}
	m.Created = flags&entryCreated != 0
	m.Opened = flags&entryOpened != 0
	m.HasAttr = flags&entryHasAttr != 0
	if m.HasAttr {
		d.attr(&m.Attr)
	}
	m.Place = d.place()
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *Delete) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Parent)
	b = appendIno(b, m.Ino)
	return appendText(b, m.Name)
}

// Decode reads m from the whole of b; Name aliases b.
func (m *Delete) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Delete{Parent: d.ino(), Ino: d.ino(), Name: d.name()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *Rename) AppendTo(b []byte) []byte {
	b = appendIno(b, m.OldParent)
	b = appendIno(b, m.NewParent)
	b = appendIno(b, m.Ino)
	b = append(b, byte(m.Kind))
	b = appendIno(b, m.Target)
	b = append(b, byte(m.TargetKind))
	b = appendText(b, m.OldName)
	return appendText(b, m.NewName)
}

// Decode reads m from the whole of b; the names alias b. TargetKind is 0 exactly if Target is.
func (m *Rename) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Rename{
		OldParent:  d.ino(),
		NewParent:  d.ino(),
		Ino:        d.ino(),
		Kind:       d.kind(),
		Target:     d.ino(),
		TargetKind: d.kindOrNone(),
		OldName:    d.name(),
		NewName:    d.name(),
	}
	if (m.Target == 0) != (m.TargetKind == 0) {
		d.fail("target and its kind do not go together")
	}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *LinkEntry) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = append(b, byte(m.Kind))
	b = appendIno(b, m.Parent)
	return appendText(b, m.Name)
}

// Decode reads m from the whole of b; Name aliases b.
func (m *LinkEntry) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = LinkEntry{Ino: d.ino(), Kind: d.kind(), Parent: d.ino(), Name: d.name()}
	return d.end()
}
