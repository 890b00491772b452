package rpc

import "github.com/benchfs/benchfs/internal/inode"

// AppendTo appends the encoding of m to b.
func (m *Prepare) AppendTo(b []byte) []byte {
	return le.AppendUint32(le.AppendUint64(b, m.Tx), m.Count)
}

// Decode reads m from the whole of b.
func (m *Prepare) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Prepare{Tx: d.u64(), Count: d.u32()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *TxRequest) AppendTo(b []byte) []byte { return le.AppendUint64(b, m.Tx) }

// Decode reads m from the whole of b.
func (m *TxRequest) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = TxRequest{Tx: d.u64()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *TxStatusReply) AppendTo(b []byte) []byte { return append(b, byte(m.State)) }

// Decode reads m from the whole of b.
func (m *TxStatusReply) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = TxStatusReply{State: inode.TxState(d.u8())}
	if m.State < inode.TxPending || m.State > inode.TxAborted {
		d.fail("unknown state of an operation")
	}
	return d.end()
}

// txOpBytes is the smallest encoding of a step.
const txOpBytes = 1 + 8 + 8 + 8 + 1 + 2

// AppendTxOps appends the encoding of the steps of an operation: the payload of MsgPrepare.
func AppendTxOps(b []byte, ops []inode.TxOp) []byte {
	for i := range ops {
		op := &ops[i]
		b = append(b, byte(op.Kind))
		b = appendIno(b, op.Parent)
		b = appendIno(b, op.Ino)
		b = appendIno(b, op.Target)
		b = append(b, byte(op.Entry))
		b = appendText(b, op.Name)
	}
	return b
}

// DecodeTxOps reads steps from the whole of b; their names alias b. The receiver compares their number with Prepare.Count.
func DecodeTxOps(b []byte) ([]inode.TxOp, error) {
	d := decoder{rest: b}
	ops := make([]inode.TxOp, 0, min(len(b)/txOpBytes, 16))
	for len(d.rest) > 0 {
		op := inode.TxOp{
			Kind:   inode.TxOpKind(d.u8()),
			Parent: d.ino(),
			Ino:    d.ino(),
			Target: d.ino(),
			Entry:  d.kindOrNone(),
			Name:   d.name(),
		}
		switch op.Kind {
		case inode.TxAddEntry, inode.TxRemoveEntry, inode.TxReplaceEntry:
			if len(op.Name) == 0 {
				d.fail("step on an entry without a name")
			}
		case inode.TxLinkInode, inode.TxUnlinkInode, inode.TxTouchInode, inode.TxRemoveDir, inode.TxMoveDir, inode.TxRenameLock:
		default:
			d.fail("unknown step")
		}
		ops = append(ops, op)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return ops, nil
}
