package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/config"
	"gitsplit/kit/netx"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/header"
)

// Config is every setting of workhorse. Keys that GitLab has carry GitLab's
// names; what GitLab has as flags only (wire/workhorse.md §1.1) can stand in the
// file and the environment too. Flags win over the environment, and that over the
// file.
type Config struct {
	// Listeners. Listen is the one of the flags, Listeners are additional ones;
	// all of them are public. Internal is for gitlab-shell and gitaly, and alone
	// serves /api/v4/internal/*; it is off without an address.
	ListenNetwork string     `toml:"listen_network"`
	ListenAddr    string     `toml:"listen_addr"`
	Listeners     []Listener `toml:"listeners"`
	Internal      Listener   `toml:"internal_listener"`
	// ListenUmask is what the mode of Unix sockets leaves out of 0777, as "0177".
	ListenUmask string `toml:"listen_umask"`
	// ProxyProtocol wants a PROXY header, version 1 or 2, before the first byte of
	// every connection to a public TCP listener, and takes the client's address from
	// it. ProxyAllowed are the addresses and networks of the proxies; if it is empty
	// everyone who reaches the listeners is one.
	ProxyProtocol bool     `toml:"proxy_protocol"`
	ProxyAllowed  []string `toml:"proxy_allowed"`
	// Where certificates come from on listeners whose TLS is automatic.
	LocalAuthority LocalAuthority `toml:"local_authority"`
	ACME           ACME           `toml:"acme"`
	// RedirectToHTTPS is the https:// URL, without a path, that public requests over
	// HTTP are sent to; "" is none.
	RedirectToHTTPS string `toml:"redirect_to_https"`
	// HSTSMaxAge is how long browsers are told to come over HTTPS only; 0 is not at all.
	HSTSMaxAge config.Duration `toml:"hsts_max_age"`
	// PrometheusListenAddr serves /metrics, /-/liveness, /-/readiness and /debug/pprof
	// of this process: host:port or unix:/path. "" is off. Metrics is another way to say
	// it, which has TLS.
	PrometheusListenAddr string   `toml:"prometheus_listen_addr"`
	Metrics              Listener `toml:"metrics_listener"`

	// rails-api: a URL, whose path is the relative URL root, and optionally the
	// Unix socket, or the addresses of several that do the same work (host:port or
	// unix:/path), that replace its host and port.
	AuthBackend   string   `toml:"auth_backend"`
	AuthSocket    string   `toml:"auth_socket"`
	AuthAddresses []string `toml:"auth_addresses"`
	// The backend of /-/cable, the browsers' web sockets, in the same forms. Without
	// any it is rails-api.
	CableBackend string `toml:"cable_backend"`
	CableSocket  string `toml:"cable_socket"`
	// SecretPath is the file of the secret shared with rails-api: 32 bytes in base64.
	SecretPath string `toml:"secret_path"`
	// ProxyHeadersTimeout is how long rails-api may take to begin an answer.
	ProxyHeadersTimeout config.Duration `toml:"proxy_headers_timeout"`
	// ProxyBodyLimit is how many bytes of a request body may travel to rails-api.
	ProxyBodyLimit int64 `toml:"proxy_body_limit"`
	// DocumentRoot holds files that are sent as they are, and error pages,
	// <status>.html, which are read at start. "" is none. AltDocumentRoot has more of
	// what is below /assets/.
	DocumentRoot    string `toml:"document_root"`
	AltDocumentRoot string `toml:"alt_document_root"`

	// ShutdownTimeout is how long requests may go on after the signal to stop.
	ShutdownTimeout config.Duration `toml:"shutdown_timeout"`
	// ShutdownDelay is how long it goes on as before after the signal to stop, but for
	// its readiness: a load balancer has that time to send clients elsewhere.
	ShutdownDelay config.Duration `toml:"shutdown_delay"`
	// Proxies whose X-Forwarded-* headers are believed, and peers whose
	// X-Request-Id is, if PropagateCorrelationID is on (an empty list is everyone).
	TrustedCIDRs           []string `toml:"trusted_cidrs_for_x_forwarded_for"`
	PropagationCIDRs       []string `toml:"trusted_cidrs_for_propagation"`
	PropagateCorrelationID bool     `toml:"propagate_correlation_id"`

	// A client that moves no byte for this long, while workhorse waits for it,
	// is cut off.
	ClientReadTimeout  config.Duration `toml:"client_read_timeout"`
	ClientWriteTimeout config.Duration `toml:"client_write_timeout"`

	// CI jobs: how many requests for one run at once (0 is no limit), how many more
	// wait and for how long, and, with Redis, how long a runner is held back while
	// there is nothing to do (0 is off).
	APILimit                 int             `toml:"api_limit"`
	APIQueueLimit            int             `toml:"api_queue_limit"`
	APIQueueDuration         config.Duration `toml:"api_queue_duration"`
	APICILongPollingDuration config.Duration `toml:"api_ci_long_polling_duration"`
	Redis                    Redis           `toml:"redis"`

	Git      Git          `toml:"git"`
	Uploads  Uploads      `toml:"uploads"`
	Archives ArchiveCache `toml:"archive_cache"`
	// LogFile is where the log goes; "" is stderr. LogFormat is json, structured, text or none.
	LogFile   string `toml:"log_file"`
	LogFormat string `toml:"log_format"`
	LogLevel  string `toml:"log_level"`
}

// Uploads says where uploads lie before rails-api has them.
type Uploads struct {
	// TempDir is for uploads on their way to object storage; "" is the system's.
	// Where others go, rails-api says with each of them.
	TempDir string `toml:"temp_dir"`
	// Unfinished are the directories that rails-api names: what a killed workhorse
	// left there is removed at start.
	Unfinished []string `toml:"unfinished"`
}

// Listener is one listening address.
type Listener struct {
	Network string      `toml:"network"` // tcp, tcp4, tcp6 or unix
	Addr    string      `toml:"addr"`
	TLS     ListenerTLS `toml:"tls"` // HTTPS instead of HTTP
}

// Git bounds what a Git request may cost. A size of 0 is no limit.
type Git struct {
	UploadPackBodyLimit   int64           `toml:"upload_pack_body_limit"`   // bytes of a fetch request, inflated
	UploadPackBodyTimeout config.Duration `toml:"upload_pack_body_timeout"` // for reading a fetch request
	InflatedPushLimit     int64           `toml:"inflated_push_limit"`      // bytes of a compressed push, inflated
	InflateRatio          int64           `toml:"inflate_ratio"`            // inflated bytes per compressed byte
	HeldAnswerLimit       int64           `toml:"held_answer_limit"`        // bytes that wait for a push to be read
	DrainTimeout          config.Duration `toml:"drain_timeout"`            // for reading a push that gitaly has ended
	TempDir               string          `toml:"temp_dir"`                 // for answers that wait; "" is the system's
}

// ArchiveCache bounds the archives that are kept in the directory that rails-api
// names.
type ArchiveCache struct {
	Size int64           `toml:"size"` // bytes; 0 keeps none
	Age  config.Duration `toml:"age"`  // after which an archive goes
}

const (
	mebi = 1 << 20
	gibi = 1 << 30
)

// Defaults returns the settings of an empty configuration.
func Defaults() Config {
	return Config{
		ListenNetwork:       "tcp",
		ListenAddr:          "localhost:8181",
		ListenUmask:         "0177",
		AuthBackend:         "http://localhost:8080",
		SecretPath:          "./.gitlab_workhorse_secret",
		ProxyHeadersTimeout: config.Duration(5 * time.Minute),
		ProxyBodyLimit:      100 * mebi,
		ShutdownTimeout:     config.Duration(10 * time.Second),
		APIQueueDuration:    config.Duration(30 * time.Second),

		APICILongPollingDuration: config.Duration(50 * time.Second),

		ClientReadTimeout:  config.Duration(time.Minute),
		ClientWriteTimeout: config.Duration(5 * time.Minute),
		Git: Git{
			UploadPackBodyLimit:   100 * mebi,
			UploadPackBodyTimeout: config.Duration(10 * time.Minute),
			InflatedPushLimit:     5 * gibi,
			InflateRatio:          100,
			HeldAnswerLimit:       256 * mebi,
			DrainTimeout:          config.Duration(time.Minute),
		},
		Archives:  ArchiveCache{Size: 10 * gibi, Age: config.Duration(2 * time.Hour)},
		LogFormat: "json",
		LogLevel:  "info",
	}
}

// Validate reports every fault with its key.
func (c *Config) Validate() error {
	var faults []error
	fault := func(key string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	fault("listen_addr", c.flagListener().validate())
	for i, l := range c.Listeners {
		fault(fmt.Sprintf("listeners[%d]", i), l.validate())
		fault(fmt.Sprintf("listeners[%d].tls", i), l.TLS.validate())
	}
	if c.Internal != (Listener{}) {
		fault("internal_listener", c.Internal.validate())
		fault("internal_listener.tls", c.Internal.TLS.validate())
	}
	_, err := c.socketMode()
	fault("listen_umask", err)
	if c.wantsTLS(automaticLocal) {
		fault("local_authority", c.LocalAuthority.validate())
	}
	if c.wantsTLS(automaticACME) {
		fault("acme", c.ACME.validate())
	}
	fault("redirect_to_https", c.checkRedirect())
	if c.HSTSMaxAge < 0 {
		fault("hsts_max_age", errors.New("is negative"))
	}
	c.validateMetrics(fault)
	_, err = api.New(api.Options{Backend: c.AuthBackend, Socket: c.AuthSocket, Addresses: c.AuthAddresses})
	fault("auth_backend, auth_socket, auth_addresses", err)
	if c.CableBackend != "" || c.CableSocket != "" {
		_, err = api.New(api.Options{Backend: cmp.Or(c.CableBackend, c.AuthBackend), Socket: c.CableSocket})
		fault("cable_backend, cable_socket", err)
	}
	if c.SecretPath == "" {
		fault("secret_path", errors.New("is empty"))
	}
	for key, list := range map[string][]string{
		"trusted_cidrs_for_x_forwarded_for": c.TrustedCIDRs, "trusted_cidrs_for_propagation": c.PropagationCIDRs, "proxy_allowed": c.ProxyAllowed,
	} {
		_, err := header.ParseCIDRs(list)
		fault(key, err)
	}
	if c.Redis.configured() {
		_, err = c.Redis.options()
		fault("redis", err)
	}
	return errors.Join(append(faults, c.validateBounds()...)...)
}

// validateMetrics checks where metrics are served.
func (c *Config) validateMetrics(fault func(key string, err error)) {
	if c.PrometheusListenAddr != "" {
		_, _, err := netx.Split(c.PrometheusListenAddr)
		fault("prometheus_listen_addr", err)
	}
	if c.Metrics == (Listener{}) {
		return
	}
	fault("metrics_listener", c.Metrics.validate())
	fault("metrics_listener.tls", c.Metrics.TLS.validate())
	if c.PrometheusListenAddr != "" {
		fault("metrics_listener", errors.New("prometheus_listen_addr is set too: want one or the other"))
	}
}

// validateBounds checks times and sizes.
func (c *Config) validateBounds() []error {
	var faults []error
	for key, d := range map[string]config.Duration{
		"proxy_headers_timeout": c.ProxyHeadersTimeout, "shutdown_timeout": c.ShutdownTimeout,
		"client_read_timeout": c.ClientReadTimeout, "client_write_timeout": c.ClientWriteTimeout,
		"api_queue_duration": c.APIQueueDuration, "git.upload_pack_body_timeout": c.Git.UploadPackBodyTimeout, "git.drain_timeout": c.Git.DrainTimeout,
		"archive_cache.age": c.Archives.Age,
	} {
		if d <= 0 {
			faults = append(faults, fmt.Errorf("%s: %v is not a positive duration", key, d))
		}
	}
	for key, n := range map[string]int64{
		"api_limit": int64(c.APILimit), "api_queue_limit": int64(c.APIQueueLimit), "proxy_body_limit": c.ProxyBodyLimit, "git.upload_pack_body_limit": c.Git.UploadPackBodyLimit,
		"git.inflated_push_limit": c.Git.InflatedPushLimit, "git.inflate_ratio": c.Git.InflateRatio,
		"git.held_answer_limit": c.Git.HeldAnswerLimit, "archive_cache.size": c.Archives.Size,
	} {
		if n < 0 {
			faults = append(faults, fmt.Errorf("%s: %d is negative", key, n))
		}
	}
	for key, d := range map[string]config.Duration{
		"shutdown_delay": c.ShutdownDelay, "api_ci_long_polling_duration": c.APICILongPollingDuration,
	} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("%s: %v is negative", key, d))
		}
	}
	if !slices.Contains([]string{formatJSON, formatStructured, formatText, formatNone}, c.LogFormat) {
		faults = append(faults, fmt.Errorf("log_format: %q: want json, structured, text or none", c.LogFormat))
	}
	switch strings.ToLower(c.LogLevel) {
	case "", "debug", "info", "warn", "error":
	default:
		faults = append(faults, fmt.Errorf("log_level: %q: want debug, info, warn or error", c.LogLevel))
	}
	return faults
}

// flagListener is the listener of the flags.
func (c *Config) flagListener() Listener {
	return Listener{Network: c.ListenNetwork, Addr: c.ListenAddr}
}

// publicListeners are all listeners but the internal one; that of the flags is first.
func (c *Config) publicListeners() []Listener {
	return append([]Listener{c.flagListener()}, c.Listeners...)
}

// socketMode is the mode of Unix sockets.
func (c *Config) socketMode() (fs.FileMode, error) {
	umask, err := strconv.ParseUint(c.ListenUmask, 0, 9)
	if err != nil {
		return 0, fmt.Errorf("%q: want 0 to 0777", c.ListenUmask)
	}
	return 0o777 &^ fs.FileMode(umask), nil
}

func (l Listener) validate() error {
	switch l.Network {
	case "unix":
		_, _, err := netx.Split("unix:" + l.Addr)
		return err
	case "tcp", "tcp4", "tcp6":
		if _, _, err := net.SplitHostPort(l.Addr); err != nil {
			return fmt.Errorf("address %q: want host:port", l.Addr)
		}
		return nil
	}
	return fmt.Errorf("network %q: want tcp, tcp4, tcp6 or unix", l.Network)
}
