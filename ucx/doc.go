// Package ucx is UCX, the way to other machines, behind the interfaces of package rpc: a [Transport] (client) is an rpc.Transport, a [Server]
// a loop.Source for the thread of a shard, which serves an rpc.Service. Processes of one machine use package shm.
//
// # Loading
//
// UCX is loaded by the first [NewContext] (load.c), and linked by nothing.
//
// # How a call runs
//
// Transport.Run is one crossing into C. There the calls are posted as active messages and the worker is progressed on the
// caller's thread until all replies are in: Config.SpinPolls times in vain, then asleep on the worker's event descriptor (run.c).
// Frames (header and body) travel as the header of the active message, bulk payload as its data: up to Config.RendezvousBytes inside the
// message, beyond it by rendezvous straight between the buffers of both sides.
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
// Endpoints have UCX's error handling (peer mode): UCX tells when the other machine or process is gone. Such endpoints do not use shared memory.
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
