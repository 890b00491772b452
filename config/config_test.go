package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/config"
)

var update = flag.Bool("update", false, "write the generated documents instead of comparing them")

func load(t *testing.T, s config.Sources) *config.Config {
	t.Helper()
	c, err := config.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "benchfs.toml")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask has no say
		t.Fatal(err)
	}
	return path
}

func TestNothingConfiguredIsEmbeddedInMemory(t *testing.T) {
	c := load(t, config.Sources{})
	if c.Distributed() || c.StoreBackend() != config.BackendMemory || c.ShardsPerNode() != 1 {
		t.Errorf("distributed %v, backend %q, %d shards", c.Distributed(), c.StoreBackend(), c.ShardsPerNode())
	}
	if c.Store.Capacity < 64<<20 || c.Daemon.Shards < 1 || c.Daemon.Shards > 4 || c.Cluster.ExpectedNodes != 1 {
		t.Errorf("not resolved: %+v", c)
	}
	if c.Cache.Mode != config.CacheOff {
		t.Errorf("cache.mode is %q by default: stale data without asking", c.Cache.Mode)
	}
	if c.ClientUmask(0o27) != 0o27 {
		t.Error("the process's umask does not count")
	}
}

func TestLaterSourcesWin(t *testing.T) {
	file := writeFile(t, "[rpc]\nattempts = 3\nmax_parallel = 3\njitter = 0\n[store]\ncapacity = 1048576\n", 0o644)
	env := map[string]string{"BENCHFS_RPC_ATTEMPTS": "5", "BENCHFS_RPC_MAX_PARALLEL": "5", "HOME": "/root"}
	c := load(t, config.Sources{File: file, Env: env, Overrides: map[string]string{"rpc.attempts": "7"}})
	if c.RPC.Attempts != 7 || c.RPC.MaxParallel != 5 || c.RPC.Jitter != 0 || c.Store.Capacity != 1<<20 {
		t.Errorf("attempts %d, max_parallel %d, jitter %v, capacity %v", c.RPC.Attempts, c.RPC.MaxParallel, c.RPC.Jitter, c.Store.Capacity)
	}
	for key, want := range map[string]string{
		"rpc.attempts": "argument", "rpc.max_parallel": "environment BENCHFS_RPC_MAX_PARALLEL",
		"rpc.jitter": file + ":4", "rpc.call_timeout": "default",
	} {
		if got := c.Origin(key); got != want {
			t.Errorf("origin of %s: %q instead of %q", key, got, want)
		}
	}
	named := load(t, config.Sources{Env: map[string]string{config.FileVariable: file}})
	if named.RPC.Attempts != 3 {
		t.Error(config.FileVariable + " is ignored")
	}
}

func TestModeIsTheConfigurationsAlone(t *testing.T) {
	dir := map[string]string{"cluster.registry_dir": "/nowhere", "cluster.expected_nodes": "2"}
	if c := load(t, config.Sources{Overrides: dir}); !c.Distributed() {
		t.Error("a registry directory does not make it distributed")
	}
	c := load(t, config.Sources{Overrides: map[string]string{"cluster.nodes": "a:1,[::1]:2", "cluster.secret": "s"}})
	if !c.Distributed() || c.Cluster.ExpectedNodes != 2 || !reflect.DeepEqual(c.Cluster.Nodes, []string{"a:1", "[::1]:2"}) {
		t.Errorf("static list: %+v", c.Cluster)
	}
	dir["cluster.mode"] = "embedded"
	if c := load(t, config.Sources{Overrides: dir}); c.Distributed() {
		t.Error("mode embedded is not obeyed")
	}
}

// TestRefusals has one case for each way to be wrong; the error names the place and the key.
func TestRefusals(t *testing.T) {
	static := "[cluster]\nnodes = [\"a:1\"]\nsecret = \"s\"\n"
	for name, c := range map[string]struct {
		text   string
		daemon bool
		want   []string
	}{
		"unknown key":       {text: "[store]\n\ncapcity = 1\n", want: []string{":3", "store.capcity", "store.capacity"}},
		"unknown section":   {text: "[stores]\nx = 1\n", want: []string{":1", "stores"}},
		"key outside":       {text: "attempts = 1\n", want: []string{":1", "attempts"}},
		"nested":            {text: "[rpc.attempts]\nx = 1\n", want: []string{"rpc.attempts", "integer"}},
		"syntax":            {text: "[rpc]\nattempts = \n", want: []string{":2"}},
		"twice":             {text: "[rpc]\nattempts = 1\nattempts = 2\n", want: []string{":3", "attempts"}},
		"type":              {text: "[rpc]\nattempts = \"1\"\n", want: []string{":2", "rpc.attempts", "integer"}},
		"bare duration":     {text: "[rpc]\ncall_timeout = 30\n", want: []string{":2", "rpc.call_timeout", "quotes"}},
		"bad duration":      {text: "[rpc]\ncall_timeout = \"30\"\n", want: []string{"rpc.call_timeout", "30s"}},
		"zero timeout":      {text: "[rpc]\ncall_timeout = \"0s\"\n", want: []string{"rpc.call_timeout", "less than"}},
		"no attempts":       {text: "[rpc]\nattempts = 0\n", want: []string{"rpc.attempts", "less than 1"}},
		"size":              {text: "[store]\ncapacity = \"4MB\"\n", want: []string{"store.capacity", "MiB"}},
		"negative size":     {text: "[store]\ncapacity = -1\n", want: []string{"store.capacity"}},
		"overflow":          {text: "[store]\ncapacity = \"9999999TiB\"\n", want: []string{"store.capacity", "too large"}},
		"chunk not a power": {text: "[layout]\nchunk_size = \"3MiB\"\n", want: []string{"layout.chunk_size", "power of two"}},
		"chunk too small":   {text: "[layout]\nchunk_size = \"32KiB\"\n", want: []string{"layout.chunk_size", "64KiB"}},
		"word":              {text: "[cache]\nmode = \"on\"\n", want: []string{":2", "cache.mode", "close-to-open"}},
		"jitter":            {text: "[rpc]\njitter = 1.5\n", want: []string{"rpc.jitter"}},
		"umask":             {text: "[client]\numask = \"088\"\n", want: []string{"client.umask", "octal"}},
		"list":              {text: "[cluster]\nnodes = \"a:1\"\n", want: []string{"cluster.nodes", "list"}},
		"no daemons":        {text: "[cluster]\nmode = \"distributed\"\n", want: []string{":2", "cluster.mode", "registry_dir"}},
		"how many":          {text: "[cluster]\nregistry_dir = \"/r\"\n", want: []string{"cluster.expected_nodes"}},
		"relative registry": {text: "[cluster]\nregistry_dir = \"r\"\nexpected_nodes = 1\n", want: []string{"cluster.registry_dir", "absolute"}},
		"both":              {text: static + "registry_dir = \"/r\"\n", want: []string{"cluster.nodes", "registry_dir"}},
		"count":             {text: static + "expected_nodes = 2\n", want: []string{"cluster.expected_nodes"}},
		"no secret":         {text: "[cluster]\nnodes = [\"a:1\"]\n", want: []string{"cluster.secret"}},
		"address":           {text: "[cluster]\nnodes = [\"a\"]\nsecret = \"s\"\n", want: []string{"cluster.nodes", "host:port"}},
		"port 0":            {text: "[cluster]\nnodes = [\"a:0\"]\nsecret = \"s\"\n", want: []string{"cluster.nodes", "port"}},
		"arena nowhere":     {text: "[store]\nbackend = \"arena\"\n", want: []string{"store.backend", "data_dir"}},
		"uring nowhere":     {text: "[store]\nbackend = \"uring\"\n", want: []string{"store.backend", "data_dir"}},
		"memory somewhere":  {text: "[store]\nbackend = \"memory\"\ndata_dir = \"/d\"\n", want: []string{"store.backend", "data_dir"}},
		"daemon: id":        {daemon: true, text: "[cluster]\nregistry_dir = \"/r\"\nexpected_nodes = 2\nnode_id = 2\n[store]\ndata_dir = \"/d\"\n", want: []string{":4", "cluster.node_id"}},
		"daemon: no data":   {daemon: true, text: "[cluster]\nregistry_dir = \"/r\"\nexpected_nodes = 1\n", want: []string{"store.data_dir"}},
		"daemon: embedded":  {daemon: true, text: "[cluster]\nmode = \"embedded\"\n", want: []string{":2", "cluster.mode"}},
		"daemon: any port":  {daemon: true, text: "[cluster]\nsecret = \"s\"\n[store]\ndata_dir = \"/d\"\n", want: []string{"daemon.listen"}},
		"metrics":           {text: "[daemon]\nmetrics = \"here\"\n", want: []string{":2", "daemon.metrics"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, c.text, 0o600)
			_, err := config.Load(config.Sources{File: file, Daemon: c.daemon})
			if err == nil {
				t.Fatal("accepted")
			}
			var e *config.Error
			if !errors.As(err, &e) || e.Errno() != syscall.EINVAL {
				t.Errorf("not a *config.Error with EINVAL: %v", err)
			}
			for _, want := range append(c.want, "") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	_, err := config.Load(config.Sources{File: missing})
	if !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if _, err = config.Load(config.Sources{File: t.TempDir()}); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a directory: %v", err)
	}
}

func TestEnvironmentAndArgumentsAreStrict(t *testing.T) {
	_, err := config.Load(config.Sources{Env: map[string]string{"BENCHFS_STORE_CAPCITY": "1"}})
	if err == nil || !strings.Contains(err.Error(), "BENCHFS_STORE_CAPCITY") || !strings.Contains(err.Error(), "store.capacity") {
		t.Errorf("misspelt variable: %v", err)
	}
	load(t, config.Sources{Env: map[string]string{"BENCHFS_PREFIX": "/b", "BENCHFS_PRELOAD_LOG": "1", "BENCHFS": "x", "BENCHFS_STORE": "y"}})
	_, err = config.Load(config.Sources{Env: map[string]string{"BENCHFS_RPC_ATTEMPTS": "many"}, Overrides: map[string]string{"rpc.x": "1"}})
	if err == nil || !strings.Contains(err.Error(), "environment BENCHFS_RPC_ATTEMPTS") || !strings.Contains(err.Error(), "argument: rpc.x") {
		t.Errorf("not all defects at once: %v", err)
	}
}

func TestSecretStaysSecret(t *testing.T) {
	text := "[cluster]\nnodes = [\"a:1\"]\nsecret = \"hush\"\n"
	_, err := config.Load(config.Sources{File: writeFile(t, text, 0o644)})
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a secret that everybody can read: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "hush") {
		t.Error("the error tells the secret")
	}
	c := load(t, config.Sources{File: writeFile(t, text, 0o600)})
	if c.Cluster.Secret != "hush" || strings.Contains(c.TOML(), "hush") {
		t.Error("secret lost, or printed")
	}
}

// TestPrintedConfigurationLoads: what TOML prints is read back to the same values.
func TestPrintedConfigurationLoads(t *testing.T) {
	first := load(t, config.Sources{Overrides: map[string]string{
		"cluster.registry_dir": `/a "quoted"\ päth`, "cluster.expected_nodes": "3", "client.umask": "027", "rpc.jitter": "1",
		"rpc.backoff_base": "1500us", "store.capacity": "1.5GiB",
	}})
	second := load(t, config.Sources{Text: first.TOML()})
	if a, b := values(first), values(second); a != b {
		t.Errorf("before:\n%s\nafter:\n%s", a, b)
	}
	if !strings.Contains(first.TOML(), "capacity = \"1536MiB\" # argument\n") {
		t.Errorf("no origin:\n%s", first.TOML())
	}
}

// values is a printed configuration without the comments.
func values(c *config.Config) string {
	var lines []string
	for _, line := range strings.Split(c.TOML(), "\n") {
		value, _, _ := strings.Cut(line, " # ")
		if !strings.HasPrefix(value, "#") {
			lines = append(lines, value)
		}
	}
	return strings.Join(lines, "\n")
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{
		"0": 0, "1": 1, "512B": 512, "64KiB": 64 << 10, "64k": 64 << 10, "4 MiB": 4 << 20, "1.5GiB": 3 << 29, "2T": 2 << 40,
	} {
		got, err := config.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
		if again, err := config.ParseBytes(got.String()); err != nil || again != got {
			t.Errorf("%d prints as %q", got, got.String())
		}
	}
	for _, text := range []string{"", "x", "-1", "1MB", "1.5", "1e3", "KiB", "1KiBs", "99999999999999999999"} {
		if got, err := config.ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

// TestEveryFieldHasAKey: a field without a key could not be set, two keys for one field would fight.
func TestEveryFieldHasAKey(t *testing.T) {
	fields := 0
	for _, section := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		if section.IsExported() {
			fields += section.Type.NumField()
		}
	}
	if n := len(config.Keys()); n != fields {
		t.Errorf("%d keys for %d fields", n, fields)
	}
	seen := map[string]bool{}
	for _, k := range config.Keys() {
		if seen[k.Name] || k.Doc == "" {
			t.Errorf("%s: twice, or without description", k.Name)
		}
		seen[k.Name] = true
	}
}

// TestGeneratedDocuments: go test ./config -run Generated -update writes them.
func TestGeneratedDocuments(t *testing.T) {
	for path, want := range map[string]string{"../benchfs.toml.example": config.Example(), "../docs/configuration.md": config.Manual()} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what config/keys.go says; run make docs (%v)", path, err)
		}
	}
}

// TestExampleIsValid: with every key uncommented the example is the defaults.
func TestExampleIsValid(t *testing.T) {
	var lines []string
	for _, line := range strings.Split(config.Example(), "\n") {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		lines = append(lines, line)
	}
	c := load(t, config.Sources{Text: strings.Join(lines, "\n")})
	if a, b := values(c), values(load(t, config.Sources{})); a != b {
		t.Errorf("example:\n%s\ndefaults:\n%s", a, b)
	}
	if c.RPC.CallTimeout != 30*time.Second {
		t.Error("example was not read")
	}
}
