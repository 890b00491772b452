// Package rpc is how clients and shards talk: messages and their codec, the [Transport] that carries them, the connection
// [Pool], deadlines and retry.
//
// A request is a [Call]: the caller fills header, body and buffers, and [Pool.Exchange] runs any number of them to
// their end on the caller's thread: it connects where there is no connection, posts all calls, waits for all, and repeats those whose
// failure another attempt can mend. At the other end a [Service] gets a [Request] and answers it, at once or later. docs/wire.md has the
// format and the rules; a test holds the two against each other.
//
// Two rooms implement Transport: ucx (the network) and rpc/inproc (inside a process). What messages do is core/server's, which ones are sent is
// core/client's; neither belongs here.
//
// No lock is held while dialling or waiting.
package rpc
