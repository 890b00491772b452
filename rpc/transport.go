package rpc

import (
	"context"
	"time"
)

// PeerID names one shard of one node: what a client connects to.
type PeerID struct {
	Node  uint32 // node id, 0 … nodes−1
	Shard uint32 // global shard number in the cluster map, 0 … shards−1
}

// Target is where a peer is to be found now.
type Target struct {
	Peer        PeerID
	Incarnation uint64 // of the daemon; 0 = any. A connection to another incarnation is refused by the handshake
	HostID      string // of the machine (boot id); equal to ours = same host, shared memory is expected
	SameHost    bool
	Worker      []byte // UCX worker address of the shard; preferred
	Door        string // path of the daemon's door, for a target on this machine: used by package shm
	Socket      string // host:port of the daemon's listener: used when Worker is empty
}

// LinkInfo tells what a link runs over.
type LinkInfo struct {
	Transport string // e.g. "posix+cma", "tcp", "inproc"; as the transport itself reports it
	Remote    string // for messages: "node 3 shard 12 (10.0.0.7:7600)"
	PID       uint32 // of a Peer's process, where the kernel says that it is one of this machine; else 0
}

// Transport is the client's side of a network: it makes links and runs calls on them. One Transport is one progress
// context (one UCX worker). Its methods may be called from several threads; a call makes progress on the thread that made it.
type Transport interface {
	// Name is "ucx" or "inproc".
	Name() string
	// Dial makes a link: transport level only, no handshake. It returns by ctx's deadline.
	Dial(ctx context.Context, target Target) (Link, error)
	// NewCall and FreeCall keep a free list: a Call is reused, and its Body has room for MaxBody bytes of memory
	// that suits the transport.
	NewCall() *Call
	FreeCall(c *Call)
	// Run posts the calls and makes progress on the caller's thread until each has its reply, has failed, or the deadline has
	// passed (then Err is a *Timeout). When Run returns, the transport uses no memory of any of the calls: Out
	// and In belong to the caller again. Nothing is allocated.
	Run(deadline time.Time, calls []*Call)
	// Alloc returns zeroed memory that may be used for Out and In: never from the Go heap where the transport hands it to a device.
	Alloc(bytes int) ([]byte, error)
	Free(memory []byte)
	// Close ends all links. Calls in flight fail with *ConnectionError.
	Close() error
}

// Link is one connected peer of one Transport.
type Link interface {
	Info() LinkInfo
	// Alive is false once the transport knows that the peer is gone.
	Alive() bool
	Close() error
}

// Call is one request and its reply. The fields above the line are the caller's to fill, those below are filled by Run.
type Call struct {
	To   PeerID // for Pool.Exchange; Run itself looks at Link only
	Link Link
	// Header: Type and Op are the caller's; Conn.Prepare fills the session, client and epoch; the transport fills Kind, ID,
	// TimeoutMS and the lengths.
	Header Header
	Body   []byte // encoded message: c.Body = msg.AppendTo(c.Body[:0])
	Out    []byte // bulk payload to send, or nil. Not modified, not kept after Run
	In     []byte // where the reply's bulk payload goes, or nil. Never more than len(In) bytes are written; a longer payload fails the call

	// ----
	Err      error  // nil, or *TransportError, *ConnectionError, *Timeout, *InvalidHeader, *HandlerError
	Reply    Header // the reply's header, when a reply came
	Answer   []byte // the reply's body; memory of the Call, good until it is reused
	Received int    // bytes of bulk payload that arrived in In

	Impl any // the transport's own part; set once in NewCall

	conn *Conn // Pool.Exchange's: the connection that the attempt under way is counted on
}

// Reset makes a Call ready for another use; Body keeps its memory.
func (c *Call) Reset() {
	c.To, c.Link, c.Header = PeerID{}, nil, Header{}
	c.Body, c.Out, c.In = c.Body[:0], nil, nil
	c.Err, c.Reply, c.Answer, c.Received = nil, Header{}, nil, 0
	c.conn = nil
}

// Service is the server's side: what a shard is to its transport. All methods are called on the shard's thread (in the
// inproc transport: under the shard's lock), never concurrently, and must not block.
type Service interface {
	// Serve takes a new request. The service owns it until its Reply is finished. An unknown type is answered, not dropped.
	Serve(r *Request)
	// Received is called once for a Recv that returned done == false.
	Received(r *Request, err error)
	// Replied is called once for a Reply that returned done == false: the bulk memory is free again, r is gone after it.
	Replied(r *Request, err error)
	// Gone tells that a peer's connection failed or was closed by it.
	Gone(p Peer)
}

// Poller is a Service that waits for something beside the network. Its methods are called like those of Service.
type Poller interface {
	// EventFD is a descriptor that is readable as long as Poll has something to do; −1: there is no such thing. It stays the same.
	EventFD() int
	// Poll does what there is to do. The transport calls it after the service was busy, often while it says that it still is, and
	// when EventFD is readable.
	Poll() (busy bool)
}

// Peer is a connected client as a server transport sees it. It is made when a Hello arrives, before Serve sees the Hello.
type Peer interface {
	Client() uint64  // from the Hello's header
	Session() uint32 // the slot that later frames of this client must carry (≥ 1)
	Info() LinkInfo
	Close() // forget the peer; its later frames are dropped and counted
}

// Request is one request at the server. Transports keep a free list of them.
type Request struct {
	Header Header
	Body   []byte // good until the request is finished
	Peer   Peer
	// Payload is the bulk payload when it has already arrived whole (len == Header.BulkLen), readable until the request is finished;
	// nil when there is none or when it waits at the sender to be fetched with Recv.
	Payload []byte
	// Op is the service's own state for this request. The transport sets it to nil when the request is new.
	Op any

	Impl RequestImpl // the transport's part
}

// RequestImpl is what a transport does for a Request.
type RequestImpl interface {
	Recv(r *Request, dst []byte) (done bool, err error)
	Reply(r *Request, status Status, errno uint32, body, bulk []byte) (done bool)
}

// Recv moves the bulk payload into dst (len(dst) must be ≥ Header.BulkLen): at once (done), or later, with
// a call of Service.Received. dst must stay put until then. At most one Recv a request.
func (r *Request) Recv(dst []byte) (done bool, err error) { return r.Impl.Recv(r, dst) }

// Reply answers. body (≤ MaxBody) is copied. bulk is sent from where it is: with done == false it must stay put until Service.Replied.
// done == true: r is finished and must not be touched. A reply to a peer that is gone is dropped silently (done == true).
func (r *Request) Reply(status Status, errno uint32, body, bulk []byte) (done bool) {
	return r.Impl.Reply(r, status, errno, body, bulk)
}

// Loop runs functions on a shard's thread.
type Loop interface {
	// Submit has fn run on the shard's thread, in order of submission, from any goroutine. It wakes the shard if it
	// sleeps. After the loop has ended, fn is not run and Submit returns false.
	Submit(fn func()) bool
	// Flush has the answers given so far leave now, and not when the service has done all that there is to do, unless other requests
	// wait for it. It is for a service that has work left which nobody waits for; on the shard's thread.
	Flush()
}
