// Package app puts gitaly together: configuration, wiring by hand, start and stop.
package app

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitsplit/kit/config"
	"gitsplit/kit/netx"
	"gitsplit/kit/secret"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Config is gitaly.toml, with GitLab's names. Environment variables override it:
// GITALY_SOCKET_PATH for socket_path, GITALY_GITLAB_URL for url in [gitlab].
type Config struct {
	// SocketPath is the external Unix socket; with or without "unix:".
	SocketPath string `toml:"socket_path"`
	// ListenAddr is an external TCP address, host:port. It needs [auth].
	ListenAddr string `toml:"listen_addr"`
	// TLSListenAddr is an external TCP address with TLS; it needs [tls] and [auth].
	TLSListenAddr string `toml:"tls_listen_addr"`
	// Reflection lets callers with a token list the RPCs. It is ours, and off, since
	// nobody but a developer asks.
	Reflection bool `toml:"reflection"`
	// PrometheusListenAddr serves metrics and probes.
	PrometheusListenAddr string `toml:"prometheus_listen_addr"`
	// BinDir holds gitaly-hooks and gitaly-linguist; by default the directory of gitaly itself.
	BinDir string `toml:"bin_dir"`
	// RuntimeDir holds sockets and hook links; keep it short. By default a new
	// directory below the system's temporary one.
	RuntimeDir string `toml:"runtime_dir"`
	// GracefulRestartTimeout bounds the drain of RPCs in flight at a stop.
	GracefulRestartTimeout config.Duration `toml:"graceful_restart_timeout"`

	Storages []Storage `toml:"storage"`
	Auth     Auth      `toml:"auth"`
	TLS      TLS       `toml:"tls"`
	GitLab   GitLab    `toml:"gitlab"`
	Git      Git       `toml:"git"`
	Hooks    Hooks     `toml:"hooks"`
	Logging  Logging   `toml:"logging"`
	// Prometheus shapes the metrics.
	Prometheus Prometheus `toml:"prometheus"`
	Timeout    Timeout    `toml:"timeout"`
	Remote     Remote     `toml:"remote"`
	Backup     Backup     `toml:"backup"`
	Journal    Journal    `toml:"journal"`
	// Concurrency limits single RPCs per repository.
	Concurrency      []Concurrency    `toml:"concurrency"`
	Housekeeping     Housekeeping     `toml:"housekeeping"`
	DailyMaintenance DailyMaintenance `toml:"daily_maintenance"`
	// PackObjectsCache shares the packs of clones and fetches.
	PackObjectsCache PackObjectsCache `toml:"pack_objects_cache"`
	// PackObjectsLimiting limits the packs that are made for one client.
	PackObjectsLimiting PackObjectsLimiting `toml:"pack_objects_limiting"`
	AdaptiveLimiting    AdaptiveLimiting    `toml:"adaptive_limiting"`
	// Limits are ours: what holds for every RPC that has no [[concurrency]].
	Limits Limits `toml:"limits"`
	// Cgroups keeps git processes in control groups, if a hierarchy is ours to use.
	Cgroups Cgroups `toml:"cgroups"`
}

// Storage is one [[storage]].
type Storage struct {
	Name string `toml:"name"`
	Path string `toml:"path"` // an existing directory, empty or a storage already
}

// Auth is [auth]: the secret that callers prove to know.
type Auth struct {
	Token         string `toml:"token"`
	TokenFile     string `toml:"token_file"` // mode 0600 or 0400
	Transitioning bool   `toml:"transitioning"`
	// PreviousTokenFile holds the secret before, accepted while it changes. It is ours.
	PreviousTokenFile string `toml:"previous_token_file"`
}

// GitLab is [gitlab]: the internal API.
type GitLab struct {
	URL             string       `toml:"url"` // http://, https:// or http+unix://<percent-encoded path>
	RelativeURLRoot string       `toml:"relative_url_root"`
	Secret          string       `toml:"secret"`
	SecretFile      string       `toml:"secret_file"`
	HTTPSettings    HTTPSettings `toml:"http-settings"`
}

// HTTPSettings is [gitlab.http-settings].
type HTTPSettings struct {
	// ReadTimeout bounds each call; a push waits no longer for its permission.
	ReadTimeout config.Duration `toml:"read_timeout"`
	// User and Password are for basic authentication before the API; both or none.
	User     string `toml:"user"`
	Password string `toml:"password"`
	// CAFile and CAPath, a PEM file and a directory of them, are trusted besides the
	// system's authorities.
	CAFile string `toml:"ca_file"`
	CAPath string `toml:"ca_path"`
}

func (h HTTPSettings) faults() []error {
	var faults []error
	if (h.User == "") != (h.Password == "") {
		faults = append(faults, errors.New("gitlab.http-settings.user: give user and password, or neither"))
	}
	if info, err := os.Stat(h.CAFile); h.CAFile != "" && (err != nil || info.IsDir()) {
		faults = append(faults, fmt.Errorf("gitlab.http-settings.ca_file: %q is not a file", h.CAFile))
	}
	if info, err := os.Stat(h.CAPath); h.CAPath != "" && (err != nil || !info.IsDir()) {
		faults = append(faults, fmt.Errorf("gitlab.http-settings.ca_path: %q is not a directory", h.CAPath))
	}
	return faults
}

// Git is [git].
type Git struct {
	BinPath string      `toml:"bin_path"` // by default the git in PATH
	Config  []GitConfig `toml:"config"`   // wins over all settings but the safety ones
	// CatfileCacheSize is how many idle git cat-file processes are kept in all.
	CatfileCacheSize int `toml:"catfile_cache_size"`
}

// GitConfig is one [[git.config]].
type GitConfig struct {
	Key   string `toml:"key"`
	Value string `toml:"value"`
}

// Hooks is [hooks].
type Hooks struct {
	CustomHooksDir string `toml:"custom_hooks_dir"` // server-wide custom hooks
}

// Logging is [logging].
type Logging struct {
	Level  string `toml:"level"`
	Format string `toml:"format"` // json, the only one
}

// Prometheus is [prometheus].
type Prometheus struct {
	// GRPCLatencyBuckets are the bounds of grpc_server_handling_seconds, in seconds.
	GRPCLatencyBuckets []float64 `toml:"grpc_latency_buckets"`
}

// Remote is [remote], which is ours: what mirrors, imports and forks may reach.
type Remote struct {
	// AllowLocalNetworks lets git connect to addresses that are not public: this
	// host, private networks, a cloud's metadata service. Closed networks need it.
	AllowLocalNetworks bool `toml:"allow_local_networks"`
	// MaxSnapshotBytes bounds the files of a repository that is made from a snapshot.
	MaxSnapshotBytes int64 `toml:"max_snapshot_bytes"`
}

// Backup is [backup]: where BackupRepository writes to.
type Backup struct {
	// GoCloudURL names an existing directory, file:///path; "" switches backups off.
	GoCloudURL string `toml:"go_cloud_url"`
}

// dir is the directory of backups, "" for none.
func (b Backup) dir() (string, error) {
	if b.GoCloudURL == "" {
		return "", nil
	}
	u, err := url.Parse(b.GoCloudURL)
	if err != nil || u.Scheme != "file" || u.Host != "" || !filepath.IsAbs(u.Path) {
		return "", errors.New("is not of the form file:///directory")
	}
	if info, err := os.Stat(u.Path); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%q is not a directory: create it, or mount its disk", u.Path)
	}
	return u.Path, nil
}

// Timeout is [timeout]: how long clients may take to come to the point.
type Timeout struct {
	UploadPackNegotiation    config.Duration `toml:"upload_pack_negotiation"`
	UploadArchiveNegotiation config.Duration `toml:"upload_archive_negotiation"`
	// TransferIdle is ours: a push or fetch in which no byte moves ends then.
	TransferIdle config.Duration `toml:"transfer_idle"`
}

// DefaultConfig returns what holds without a file.
func DefaultConfig() Config {
	return Config{
		GracefulRestartTimeout: config.Duration(10 * time.Second),
		GitLab:                 GitLab{HTTPSettings: HTTPSettings{ReadTimeout: config.Duration(10 * time.Second)}},
		Git:                    Git{CatfileCacheSize: 100},
		Prometheus:             Prometheus{GRPCLatencyBuckets: []float64{.001, .005, .025, .1, .5, 1, 10, 30, 60, 300, 1500}},
		Logging:                Logging{Level: "info", Format: "json"},
		Housekeeping:           defaultHousekeeping(),
		Journal:                defaultJournal(),
		Remote:                 Remote{MaxSnapshotBytes: 100 << 30},
		DailyMaintenance:       defaultDailyMaintenance(),
		Timeout: Timeout{
			UploadPackNegotiation:    config.Duration(10 * time.Minute),
			UploadArchiveNegotiation: config.Duration(time.Minute),
			TransferIdle:             config.Duration(10 * time.Minute),
		},
		Cgroups:             Cgroups{Mountpoint: "/sys/fs/cgroup", HierarchyRoot: "gitaly"},
		PackObjectsCache:    defaultPackObjectsCache(),
		PackObjectsLimiting: PackObjectsLimiting{ConcurrencyLimits: ConcurrencyLimits{MaxConcurrency: defaultPacks}},
		AdaptiveLimiting:    AdaptiveLimiting{CPUThrottledThreshold: 0.5, MemoryThreshold: 0.6},
		Limits: Limits{
			CallsPerRepository: 8, Calls: 64, CallWait: config.Duration(30 * time.Second),
			TransfersPerRepository: 128, Transfers: 256, TransferWait: config.Duration(10 * time.Minute), AnonymousTransfers: 192,
			QueueSize: defaultQueue, ChildMemoryBytes: 2 << 30,
			ChildCPUTime: config.Duration(time.Minute), PushCPUTime: config.Duration(5 * time.Minute),
		},
	}
}

// minSecret is the shortest secret that is accepted, in bytes.
const minSecret = 32

// Validate reports every fault with its key.
func (c Config) Validate() error {
	faults := slices.Concat(c.listenFaults(), c.storageFaults(), c.limitFaults(), c.housekeepingFaults(), c.Cgroups.faults(), c.PackObjectsCache.faults(), c.Journal.faults())
	add := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf(key+": "+format, args...))
	}
	for key, d := range map[string]config.Duration{
		"graceful_restart_timeout": c.GracefulRestartTimeout, "gitlab.http-settings.read_timeout": c.GitLab.HTTPSettings.ReadTimeout,
		"timeout.upload_pack_negotiation": c.Timeout.UploadPackNegotiation, "timeout.upload_archive_negotiation": c.Timeout.UploadArchiveNegotiation,
		"timeout.transfer_idle": c.Timeout.TransferIdle,
	} {
		if d <= 0 {
			add(key, "%v is not a positive duration", d)
		}
	}
	if c.GitLab.URL == "" {
		add("gitlab.url", "the address of the internal API is missing")
	}
	faults = append(faults, c.GitLab.HTTPSettings.faults()...)
	if _, err := c.gitlabSecret(); err != nil {
		add("gitlab.secret_file", "%w", err)
	}
	if _, err := c.authToken(); err != nil {
		add("auth.token_file", "%w", err)
	}
	if _, err := c.previousToken(); err != nil {
		add("auth.previous_token_file", "%w", err)
	}
	if _, err := c.Backup.dir(); err != nil {
		add("backup.go_cloud_url", "%w", err)
	}
	if f := c.Logging.Format; f != "" && f != "json" {
		add("logging.format", "%q is not json", f)
	}
	if b := c.Prometheus.GRPCLatencyBuckets; !slices.IsSorted(b) || len(slices.Compact(slices.Clone(b))) != len(b) {
		add("prometheus.grpc_latency_buckets", "%v do not grow", b)
	}
	if n := c.Remote.MaxSnapshotBytes; n <= 0 {
		add("remote.max_snapshot_bytes", "%d is not a size", n)
	}
	if n := c.Git.CatfileCacheSize; n < 0 {
		add("git.catfile_cache_size", "%d is negative", n)
	}
	for _, kv := range c.Git.Config {
		if kv.Key == "" || strings.ContainsAny(kv.Key+kv.Value, "\x00\n") {
			add("git.config", "%q is not a setting", kv.Key)
		}
	}
	return errors.Join(faults...)
}

func (c Config) listenFaults() []error {
	var faults []error
	if c.SocketPath == "" && c.ListenAddr == "" && c.TLSListenAddr == "" {
		faults = append(faults, errors.New("socket_path: set it, or listen_addr, or tls_listen_addr"))
	}
	for key, addr := range map[string]string{
		"socket_path": c.socketAddr(), "listen_addr": c.ListenAddr, "tls_listen_addr": c.TLSListenAddr, "prometheus_listen_addr": c.PrometheusListenAddr,
	} {
		if addr == "" {
			continue
		}
		if _, _, err := netx.Split(addr); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	for key, addr := range map[string]string{"listen_addr": c.ListenAddr, "tls_listen_addr": c.TLSListenAddr} {
		if addr != "" && c.Auth.Token == "" && c.Auth.TokenFile == "" {
			faults = append(faults, fmt.Errorf("%s: a TCP listener needs auth.token_file", key))
		}
	}
	if c.TLSListenAddr != "" {
		faults = append(faults, c.TLS.faults()...)
	}
	return faults
}

func (c Config) storageFaults() []error {
	var faults []error
	if len(c.Storages) == 0 {
		faults = append(faults, errors.New("storage: none is configured"))
	}
	seen := map[string]bool{}
	for _, s := range c.Storages {
		switch info, err := os.Stat(s.Path); {
		case s.Name == "":
			faults = append(faults, errors.New("storage.name: missing"))
		case seen[s.Name]:
			faults = append(faults, fmt.Errorf("storage.name: %q is there twice", s.Name))
		case !filepath.IsAbs(s.Path):
			faults = append(faults, fmt.Errorf("storage.path: %q is not absolute", s.Path))
		case err != nil || !info.IsDir():
			faults = append(faults, fmt.Errorf("storage.path: %q is not a directory: create it, or mount its disk", s.Path))
		}
		seen[s.Name] = true
	}
	for i, s := range c.Storages {
		for _, other := range c.Storages[:i] {
			if inside(s.Path, other.Path) || inside(other.Path, s.Path) {
				faults = append(faults, fmt.Errorf("storage.path: %q and %q are in each other", other.Path, s.Path))
			}
		}
	}
	return faults
}

// inside reports whether path is dir or below it.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// socketAddr is the external socket in the form of netx, "" without one.
func (c Config) socketAddr() string {
	if c.SocketPath == "" || strings.HasPrefix(c.SocketPath, "unix:") {
		return c.SocketPath
	}
	return "unix:" + c.SocketPath
}

func (c Config) gitlabSecret() (string, error) {
	return oneSecret(c.GitLab.Secret, c.GitLab.SecretFile)
}

// authToken returns the token of the external listeners; "" switches
// authentication off, which Validate allows on a Unix socket only.
func (c Config) authToken() (string, error) {
	if c.Auth.Token == "" && c.Auth.TokenFile == "" {
		return "", nil
	}
	return oneSecret(c.Auth.Token, c.Auth.TokenFile)
}

// previousToken returns the secret that is accepted besides, "" for none.
func (c Config) previousToken() (string, error) {
	if c.Auth.PreviousTokenFile == "" {
		return "", nil
	}
	return oneSecret("", c.Auth.PreviousTokenFile)
}

// oneSecret returns a secret that is given directly or in a file. Both are fine if
// they agree: GITALY_AUTH_TOKEN_FILE sets token and token_file alike.
func oneSecret(value, file string) (string, error) {
	if file == "" {
		if len(value) < minSecret {
			return "", fmt.Errorf("the secret is missing or shorter than %d bytes", minSecret)
		}
		return value, nil
	}
	raw, err := secret.Read(file, minSecret)
	if err != nil {
		return "", err
	}
	if value != "" && value != string(raw) {
		return "", errors.New("given both directly and in a file")
	}
	return string(raw), nil
}

func (c Config) gitConfig() []gitcmd.Config {
	out := make([]gitcmd.Config, 0, len(c.Git.Config))
	for _, kv := range c.Git.Config {
		out = append(out, gitcmd.Config{Key: kv.Key, Value: kv.Value})
	}
	return out
}
