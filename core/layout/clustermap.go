package layout

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// NoNode is the answer of Map.PeerOf for a shard that the map does not have.
const NoNode = ^uint32(0)

// MaxShards is how many shards a map can have: what the upper 16 bits of an inode number can name.
const MaxShards = 1 << 16

// Node is one daemon of the cluster: it runs the shards [FirstShard, FirstShard+Shards).
type Node struct {
	ID         uint32
	Name       string
	HostID     string // of the machine; nodes with equal host ids share memory
	FirstShard uint32
	Shards     uint32
}

// Map is what every party of a cluster agrees on: the nodes in order of their ids, with consecutive shards.
// A Map is not changed once it is in use; a new one has another epoch.
type Map struct {
	Epoch uint32
	Nodes []Node
}

// NewMap orders the nodes by id and numbers their shards consecutively from 0. The error, an *Invalid, names duplicates,
// nodes without shards, and too many shards. nodes is not kept.
func NewMap(epoch uint32, nodes []Node) (*Map, error) {
	m := &Map{Epoch: epoch, Nodes: slices.Clone(nodes)}
	slices.SortStableFunc(m.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	var next uint64
	for i := range m.Nodes {
		m.Nodes[i].FirstShard = uint32(next)
		next += uint64(m.Nodes[i].Shards)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// Validate checks that ids ascend, that every node has shards, and that shards are consecutive from 0. The error is an *Invalid.
func (m *Map) Validate() error {
	if len(m.Nodes) == 0 {
		return &Invalid{Reason: "a cluster map without nodes"}
	}
	var next uint64
	for i, node := range m.Nodes {
		switch {
		case i > 0 && node.ID <= m.Nodes[i-1].ID:
			return &Invalid{Reason: fmt.Sprintf("node %d is there twice or out of order", node.ID)}
		case node.ID == NoNode:
			return &Invalid{Reason: fmt.Sprintf("node id %d is reserved", node.ID)}
		case node.Shards == 0:
			return &Invalid{Reason: fmt.Sprintf("node %d has no shards", node.ID)}
		case uint64(node.FirstShard) != next:
			return &Invalid{Reason: fmt.Sprintf("node %d begins with shard %d instead of %d", node.ID, node.FirstShard, next)}
		}
		next += uint64(node.Shards)
	}
	if next > MaxShards {
		return &Invalid{Reason: fmt.Sprintf("%d shards; at most %d are possible", next, MaxShards)}
	}
	return nil
}

// Shards is the number of shards in the whole cluster.
func (m *Map) Shards() uint32 {
	if len(m.Nodes) == 0 {
		return 0
	}
	last := m.Nodes[len(m.Nodes)-1]
	return last.FirstShard + last.Shards
}

// PeerOf is the id of the node that runs the shard, or NoNode.
func (m *Map) PeerOf(shard uint32) (node uint32) {
	i := sort.Search(len(m.Nodes), func(i int) bool { return m.Nodes[i].FirstShard+m.Nodes[i].Shards > shard })
	if i == len(m.Nodes) {
		return NoNode
	}
	return m.Nodes[i].ID
}

// Node finds a node by its id.
func (m *Map) Node(id uint32) (Node, bool) {
	i := sort.Search(len(m.Nodes), func(i int) bool { return m.Nodes[i].ID >= id })
	if i == len(m.Nodes) || m.Nodes[i].ID != id {
		return Node{}, false
	}
	return m.Nodes[i], true
}

// CompareNames orders names as people number them: runs of digits compare as numbers, so that "node_2" comes before
// "node_10". Everybody who derives node ids from names must use it, or two clients place the same file differently.
// Names that differ only in leading zeros compare as text. The result is negative, 0 (equal) or positive.
func CompareNames(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if !isDigit(x[0]) || !isDigit(y[0]) {
			if x[0] != y[0] {
				return int(x[0]) - int(y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		var p, q string
		p, x = cutNumber(x)
		q, y = cutNumber(y)
		if len(p) != len(q) {
			return len(p) - len(q)
		}
		if p != q {
			return strings.Compare(p, q)
		}
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b)
}

// cutNumber takes the digits off the front of s, without their leading zeros.
func cutNumber(s string) (digits, rest string) {
	end := 0
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	return strings.TrimLeft(s[:end], "0"), s[end:]
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// NodeOnHost is the id of a node on the machine with this host id, or −1: the first one of several.
func (m *Map) NodeOnHost(hostID string) int {
	for _, n := range m.Nodes {
		if hostID != "" && n.HostID == hostID {
			return int(n.ID)
		}
	}
	return -1
}
