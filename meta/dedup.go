package meta

// maxClients bounds the tables of remembered results: beyond it the client that has been idle longest is forgotten.
const maxClients = 65536

// dedup remembers the results of each client's last operations that must not run twice. Its content, including the order in
// which things will be forgotten, follows from the log alone: looking something up changes nothing.
type dedup struct {
	perClient  int
	maxClients int
	clients    map[uint64]*clientResults
	// The clients as a ring through this sentinel, longest idle first.
	idle clientResults
}

// clientResults is one client's table.
type clientResults struct {
	client     uint64
	results    map[uint64]Result
	ring       []uint64 // operations in the order they were done; once full, next is the oldest
	next       int
	prev, succ *clientResults
}

func newDedup(perClient, maxClients int) dedup {
	return dedup{perClient: perClient, maxClients: maxClients, clients: map[uint64]*clientResults{}}
}

func (d *dedup) find(r ReqID) (Result, bool) {
	c := d.clients[r.Client]
	if c == nil {
		return Result{}, false
	}
	result, ok := c.results[r.Op]
	return result, ok
}

// remember stores a result; Op 0 is ignored. An operation that is remembered already keeps its place in the order.
func (d *dedup) remember(r ReqID, result Result) {
	if r.Op == 0 {
		return
	}
	c := d.touch(r.Client)
	if _, known := c.results[r.Op]; known {
		c.results[r.Op] = result
		return
	}
	if len(c.ring) < d.perClient {
		c.ring = append(c.ring, r.Op)
	} else {
		delete(c.results, c.ring[c.next])
		c.ring[c.next] = r.Op
		c.next = (c.next + 1) % len(c.ring)
	}
	c.results[r.Op] = result
}

// touch returns the client's table as the most recently used one, making it if needed.
func (d *dedup) touch(client uint64) *clientResults {
	if d.idle.succ == nil {
		d.idle.prev, d.idle.succ = &d.idle, &d.idle
	}
	c := d.clients[client]
	if c == nil {
		if len(d.clients) >= d.maxClients {
			oldest := d.idle.succ
			oldest.unlink()
			delete(d.clients, oldest.client)
		}
		c = &clientResults{client: client, results: map[uint64]Result{}}
		d.clients[client] = c
	} else {
		c.unlink()
	}
	c.prev, c.succ = d.idle.prev, &d.idle
	c.prev.succ, c.succ.prev = c, c
	return c
}

func (c *clientResults) unlink() {
	c.prev.succ, c.succ.prev = c.succ, c.prev
}

// each visits everything in the order that remember needs to build the same table again.
func (d *dedup) each(visit func(r ReqID, result Result) error) error {
	if d.idle.succ == nil {
		return nil
	}
	for c := d.idle.succ; c != &d.idle; c = c.succ {
		for i := range c.ring {
			op := c.ring[(c.next+i)%len(c.ring)]
			if err := visit(ReqID{Client: c.client, Op: op}, c.results[op]); err != nil {
				return err
			}
		}
	}
	return nil
}
