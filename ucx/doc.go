// Package ucx is UCX behind the interfaces of package rpc: a [Transport] (client) is an rpc.Transport, a [Server]
// (server) a loop.Source for the thread of a shard, which serves an rpc.Service.
//
// # How a call runs
//
// Transport.Run is one crossing into C. There the calls are posted as active messages and the worker is progressed on the
// caller's thread until all replies are in: first by polling, then by sched_yield, then asleep on the worker's event
// descriptor. The budget of polls shrinks when a yield shows that others want the core. Frames (header and body) travel as
// the header of the active message, bulk payload as its data: up to Config.RendezvousBytes inside the message, beyond it by
// rendezvous straight between the buffers of both sides.
//
// # Memory
//
// Whatever UCX may touch after a C call has returned lives in C memory: calls, requests, frames, buffers of
// Transport.Alloc. Out and In of a call must not lie in the Go heap: UCX may register them with a device. When Run returns,
// nobody reads Out or writes In any more. UCX 1.13 cannot cancel an active message, so a call whose transfer is under way
// at its deadline first revokes it at the server, waits for it up to a second, then ends the endpoint, and in the last
// resort gives the worker up (the links of the Transport are then dead, the next Dial starts with a new worker).
//
// # Failure
//
// Endpoints have UCX's error handling (peer mode), also within a host: MM_ERROR_HANDLING makes UCX use shared memory for such
// endpoints, which it would silently leave out otherwise. UCX notices a death on the same host late; it is noticed by looking at
// the process, whose pid and start time every worker address of this package carries in front.
//
// Over shared memory a worker has one queue for all that write to it, and one writer that dies or stands still in the middle of a
// message stops it for good. Servers and clients look after their queues (probe.c) and go over to another worker (renew.c,
// am_client.c); LoopOptions.Moved tells a server's owner its new address.
//
// # Ports
//
// UCX's own listener aborts the process when it is sent bytes that are no UCX. Server.Listen therefore opens a port of
// ours, which tells a caller that greets it rightly the shard's worker address; Dial by socket address asks there.
//
// # Threads
//
// A Context and a Transport may be used by any number of threads. A Server belongs to the thread of its shard; only
// Stats may be called from elsewhere.
//
// What does not belong here: sessions, retries, the meaning of messages.
package ucx
