package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/registry"
)

// report is what `benchfs status` tells.
type report struct {
	Mode          string       `json:"mode"`
	Registry      string       `json:"registry,omitempty"`
	ExpectedNodes int          `json:"expected_nodes"`
	CacheMode     string       `json:"cache_mode"`
	Nodes         []nodeReport `json:"nodes"`
	Problem       string       `json:"problem,omitempty"` // why there is no usage
	Usage         *usageReport `json:"usage,omitempty"`
}

type nodeReport struct {
	Node        uint32   `json:"node"`
	State       string   `json:"state"` // "alive", "dead", "missing", "published" (another machine: not known)
	Shards      int      `json:"shards,omitempty"`
	FirstShard  uint32   `json:"first_shard"`
	PID         int      `json:"pid,omitempty"`
	Listen      string   `json:"listen,omitempty"`
	SameHost    bool     `json:"same_host"`
	Incarnation uint64   `json:"incarnation,omitempty"`
	Build       string   `json:"build,omitempty"`
	Transports  []string `json:"transports,omitempty"` // that this client uses to its shards

	// What processes of this machine can do with the shards' memory.
	NearShards []client.NearShard `json:"near_shards,omitempty"`
}

type usageReport struct {
	CapacityBytes uint64 `json:"capacity_bytes"`
	UsedBytes     uint64 `json:"used_bytes"`
	FreeBytes     uint64 `json:"free_bytes"`
	Inodes        uint64 `json:"inodes"`
}

func statusCommand(g *globals) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the daemons, whether they live, how full they are and how they are reached",
		Long:  "The exit status is 0 when all daemons are there and answer, else 1.",
		Args:  cobra.NoArgs,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = action(func(ctx context.Context, _ []string) error {
		r, err := g.status(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(os.Stdout, r)
		} else {
			err = r.print()
		}
		if err == nil && r.Problem != "" {
			err = &failure{code: 1, err: errors.New(r.Problem)}
		}
		return err
	})
	return c
}

// status looks first into the registry, which answers also when daemons do not.
func (g *globals) status(ctx context.Context) (*report, error) {
	cfg, err := g.load()
	if err != nil {
		return nil, err
	}
	r := &report{Mode: config.ModeEmbedded, Registry: cfg.Cluster.RegistryDir, ExpectedNodes: cfg.Cluster.ExpectedNodes, CacheMode: cfg.Cache.Mode, Nodes: []nodeReport{}}
	if cfg.Distributed() {
		r.Mode = config.ModeDistributed
	}
	if cfg.Distributed() && cfg.Cluster.RegistryDir != "" {
		if r.Nodes, err = published(cfg); err != nil {
			return nil, err
		}
		var absent []string
		for _, n := range r.Nodes {
			if n.State == "dead" || n.State == "missing" {
				absent = append(absent, fmt.Sprintf("node %d is %s", n.Node, n.State))
			}
		}
		if len(absent) > 0 {
			r.Problem = strings.Join(absent, ", ")
			return r, nil
		}
	}
	hasty := *g
	for key, value := range map[string]string{"rpc.call_timeout": "5s", "cluster.join_timeout": "5s"} {
		if cfg.Origin(key) == "default" { // who asks for the status expects that something may be wrong
			hasty.set = append([]string{key + "=" + value}, hasty.set...)
		}
	}
	err = hasty.with(ctx, func(s *session) error { return r.ask(ctx, s) })
	if errors.Is(err, errUsage) {
		return nil, err
	}
	if err != nil {
		r.Problem = err.Error()
	}
	return r, nil
}

// published is what the registry says of each node that is expected.
func published(cfg *config.Config) ([]nodeReport, error) {
	dir := cfg.Cluster.RegistryDir
	records, err := registry.Read(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	host := registry.HostID()
	nodes := make([]nodeReport, cfg.Cluster.ExpectedNodes)
	for i := range nodes {
		nodes[i] = nodeReport{Node: uint32(i), State: "missing"}
	}
	for _, r := range records {
		if int(r.Node) >= len(nodes) {
			continue
		}
		state := "published"
		if alive, known := registry.Alive(dir, r.Node); r.HostID == host && known {
			state = "dead"
			if alive {
				state = "alive"
			}
		}
		nodes[r.Node] = nodeReport{
			Node: r.Node, State: state, Shards: len(r.Workers), FirstShard: r.FirstShard, PID: r.PID, Listen: r.Listen,
			SameHost: r.HostID == host, Incarnation: r.Incarnation, Build: r.Build,
		}
	}
	return nodes, nil
}

// ask adds what only the daemons know. Statfs asks every shard, so that there is a connection to each.
func (r *report) ask(ctx context.Context, s *session) error {
	fs, err := s.Statfs(ctx)
	if err != nil {
		return err
	}
	r.Usage = &usageReport{CapacityBytes: fs.CapacityBytes, UsedBytes: fs.UsedBytes, FreeBytes: fs.FreeBytes, Inodes: fs.Inodes}
	if len(r.Nodes) == 0 {
		for _, n := range s.Map().Nodes {
			r.Nodes = append(r.Nodes, nodeReport{Node: n.ID, State: "alive", Shards: int(n.Shards), FirstShard: n.FirstShard, SameHost: n.HostID == registry.HostID()})
		}
	}
	for _, near := range s.NearShards(ctx) {
		for i := range r.Nodes {
			if n := &r.Nodes[i]; near.Shard >= n.FirstShard && near.Shard < n.FirstShard+uint32(n.Shards) {
				n.NearShards = append(n.NearShards, near)
			}
		}
	}
	stats, ok := s.Stats().(client.Stats)
	if !ok {
		return errors.New("statistics of the client are of another kind")
	}
	for _, pool := range stats.Pools {
		for _, peer := range pool.Peers {
			for i := range r.Nodes {
				n := &r.Nodes[i]
				if n.Node == peer.Node && !slices.Contains(n.Transports, peer.Transport) {
					n.Transports = append(n.Transports, peer.Transport)
				}
			}
		}
	}
	return nil
}

func (r *report) print() error {
	fmt.Printf("mode        %s\n", r.Mode)
	if r.Registry != "" {
		fmt.Printf("registry    %s\n", r.Registry)
	}
	fmt.Printf("cache       %s\n", r.CacheMode)
	if u := r.Usage; u != nil {
		fmt.Printf("capacity    %s, used %s, free %s, %d inodes\n", human(u.CapacityBytes), human(u.UsedBytes), human(u.FreeBytes), u.Inodes)
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tSHARDS\tPID\tLISTEN\tTRANSPORT\tSHORTCUT")
	for _, n := range r.Nodes {
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\t%s\n", n.Node, n.State, n.Shards, orDash(n.PID), orDash(n.Listen),
			orDash(strings.Join(n.Transports, " ")), orDash(n.shortcut()))
	}
	return w.Flush()
}

// shortcut is NearShards in two words. The first shard speaks for the node.
func (n *nodeReport) shortcut() string {
	switch {
	case len(n.NearShards) == 0:
		return ""
	case n.NearShards[0].Shortcut == client.ShortcutOff:
		return client.ShortcutOff
	case n.NearShards[0].HugePages:
		return n.NearShards[0].Shortcut + ", huge pages"
	}
	return n.NearShards[0].Shortcut + ", small pages"
}

func orDash[T comparable](v T) string {
	var zero T
	if v == zero {
		return "-"
	}
	return fmt.Sprint(v)
}

// human writes bytes for people: three digits and a unit.
func human(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
