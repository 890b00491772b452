package compose

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/rpc"
)

// describeBytes is the most that a daemon's description takes.
const describeBytes = 256 << 10

// describeAll asks the daemons of a static list who they are, each over its socket address. One that does not answer is
// an error that names it.
func (d *directory) describeAll(ctx context.Context, t rpc.Transport) ([]registry.Record, error) {
	id, err := identity(d.cfg, 0, d.secret, d.host)
	if err != nil {
		return nil, err
	}
	records := make([]registry.Record, 0, len(d.cfg.Cluster.Nodes))
	for _, address := range d.cfg.Cluster.Nodes {
		r, err := describe(ctx, t, id, address)
		if err != nil {
			return nil, errors.WithMessagef(err, "daemon at %s", address)
		}
		records = append(records, r)
	}
	return records, nil
}

// describe has a session of its own for one question.
func describe(ctx context.Context, t rpc.Transport, id rpc.Identity, address string) (registry.Record, error) {
	var record registry.Record
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	link, err := t.Dial(ctx, rpc.Target{Socket: address})
	if err != nil {
		return record, err
	}
	defer func() { _ = link.Close() }()
	memory, err := t.Alloc(describeBytes)
	if err != nil {
		return record, err
	}
	defer t.Free(memory)
	call := t.NewCall()
	defer t.FreeCall(call)
	one := []*rpc.Call{call}

	call.Reset()
	call.Link = link
	call.Header.Type, call.Header.Client = rpc.MsgHello, id.Client
	hello := rpc.Hello{PID: id.PID, PIDStart: id.PIDStart, UID: id.UID, HostID: []byte(id.HostID), Secret: []byte(id.Secret), Build: []byte(id.Build)}
	call.Body = hello.AppendTo(call.Body[:0])
	t.Run(deadline, one)
	if err := answered(call, address); err != nil {
		return record, err
	}
	var welcome rpc.HelloReply
	if err := welcome.Decode(call.Answer); err != nil {
		return record, err
	}

	call.Reset()
	call.Link = link
	call.Header.Type, call.Header.Client, call.Header.Session = rpc.MsgDescribe, id.Client, welcome.Session
	call.In = memory
	t.Run(deadline, one)
	if err := answered(call, address); err != nil {
		return record, err
	}
	if err := json.Unmarshal(memory[:call.Received], &record); err != nil {
		return record, errors.Wrap(err, "description does not parse")
	}

	call.Reset()
	call.Link = link
	call.Header.Type, call.Header.Client, call.Header.Session = rpc.MsgBye, id.Client, welcome.Session
	t.Run(deadline, one) // a courtesy: the server forgets the session by itself too
	return record, nil
}

// answered is the error of a call that was run without a pool.
func answered(call *rpc.Call, address string) error {
	switch {
	case call.Err != nil:
		return call.Err
	case call.Reply.Status == rpc.StatusRefused:
		return &rpc.ConnectionError{Remote: address, Reason: "handshake refused: " + string(call.Answer), Refused: true}
	case call.Reply.Status != rpc.StatusOK:
		return &rpc.ConnectionError{Remote: address, Reason: "handshake answered with " + call.Reply.Status.String()}
	}
	return nil
}
