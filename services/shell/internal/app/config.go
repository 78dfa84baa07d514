package app

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/kit/config"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/kit/netx"
	"gitsplit/kit/secret"
	"gitsplit/services/shell/internal/sshd"
)

const (
	configName = "config.yml"
	envPrefix  = "SHELL"

	defaultSecretFile = ".gitlab_shell_secret"
	minSecret         = 32 // bytes, security baseline T3
)

// Config is config.yml, with GitLab's names (wire/gitlab-shell.md §9). The
// environment overrides it: SHELL_SSHD_LISTEN is sshd.listen, and
// SHELL_SECRET_FILE names the file of the secret.
type Config struct {
	// User is the only SSH user name that may log in.
	User string `yaml:"user"`
	// GitLabURL is where the internal API is: http(s)://host, or
	// http+unix://<path, percent-encoded or not>. Required.
	GitLabURL string `yaml:"gitlab_url"`
	// GitLabRelativeURLRoot goes before the API's paths; for Unix sockets only.
	GitLabRelativeURLRoot string `yaml:"gitlab_relative_url_root"`
	// Secret signs the calls of the internal API; better use SecretFile.
	Secret string `yaml:"secret"`
	// SecretFile holds the secret; a relative path starts at the configuration's
	// directory. Unused when Secret is set.
	SecretFile string `yaml:"secret_file"`
	// SSLCertDir replaces the directory of the system's certificate authorities.
	SSLCertDir string `yaml:"ssl_cert_dir"`
	// LogFile takes the log; a relative path starts at the configuration's directory.
	// If it cannot be opened, or none is named, the daemon logs to its standard
	// error, and the programs under OpenSSH to gitlab-shell.log beside the configuration.
	LogFile string `yaml:"log_file"`
	// LogFormat is json or text.
	LogFormat string `yaml:"log_format"`
	// LogLevel is debug, info, warn or error, in any case.
	LogLevel string `yaml:"log_level"`
	// HTTPSettings are about the calls of the internal API.
	HTTPSettings HTTPSettings `yaml:"http_settings"`
	// PAT is about the command personal_access_token.
	PAT PAT `yaml:"pat"`
	// SSHD is the daemon.
	SSHD SSHD `yaml:"sshd"`
}

// PAT is about the command personal_access_token.
type PAT struct {
	// Enabled makes it a command.
	Enabled bool `yaml:"enabled"`
	// AllowedScopes are the scopes that a token may have; none means all.
	AllowedScopes []string `yaml:"allowed_scopes"`
}

// HTTPSettings are about the calls of the internal API.
type HTTPSettings struct {
	// ReadTimeout bounds one attempt of a call.
	ReadTimeout config.Duration `yaml:"read_timeout"`
	// User and Password are for basic authentication before the API.
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	// CAFile and CAPath, a PEM file and a directory of them, are trusted besides the
	// system's authorities.
	CAFile string `yaml:"ca_file"`
	CAPath string `yaml:"ca_path"`
}

// SSHD is the section of the daemon.
type SSHD struct {
	// Listen is the SSH address, host:port.
	Listen string `yaml:"listen"`
	// ProxyProtocol expects PROXY headers, version 1 or 2, as ProxyPolicy says: use
	// (one may be there), require, ignore or reject. ProxyAllowed, addresses and
	// networks, replaces the policy: those may send one and nobody else.
	ProxyProtocol      bool            `yaml:"proxy_protocol"`
	ProxyPolicy        string          `yaml:"proxy_policy"`
	ProxyAllowed       []string        `yaml:"proxy_allowed"`
	ProxyHeaderTimeout config.Duration `yaml:"proxy_header_timeout"`
	// WebListen is the address of probes and metrics; empty switches them off.
	WebListen string `yaml:"web_listen"`
	// ConcurrentSessionsLimit bounds the open sessions of one connection.
	ConcurrentSessionsLimit int `yaml:"concurrent_sessions_limit"`
	// MaxConnections bounds the open connections.
	MaxConnections int `yaml:"max_connections"`
	// MaxConnectionsPerAddress bounds those of one IPv4 address or IPv6 /64.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// MaxStartups bounds the connections that have not logged in, start:rate:full as
	// in OpenSSH: from start on new ones are dropped with a chance of rate percent,
	// growing to all of them at full.
	MaxStartups string `yaml:"max_startups"`
	// ClientAliveInterval is the pace of keep-alives; a client that is silent for
	// three is cut off. 0 is off.
	ClientAliveInterval config.Duration `yaml:"client_alive_interval"`
	// GracePeriod is the time that sessions have when the daemon stops.
	GracePeriod config.Duration `yaml:"grace_period"`
	// LoginGraceTime bounds handshake and login; 0 is no bound.
	LoginGraceTime config.Duration `yaml:"login_grace_time"`
	// ReadinessProbe and LivenessProbe are paths on WebListen.
	ReadinessProbe string `yaml:"readiness_probe"`
	LivenessProbe  string `yaml:"liveness_probe"`
	// HostKeyFiles are private keys, the preferred one first; relative paths start
	// at the configuration's directory. One that does not exist is made: RSA if its
	// name contains "rsa", else Ed25519.
	HostKeyFiles []string `yaml:"host_key_files"`
	// HostCertFiles are certificates of host keys.
	HostCertFiles []string `yaml:"host_cert_files"`
	// TrustedUserCAKeys are files with public keys of authorities whose certificates
	// log a user in by name.
	TrustedUserCAKeys []string `yaml:"trusted_user_ca_keys"`
	// KexAlgorithms, Ciphers, MACs and PublicKeyAlgorithms replace the defaults.
	KexAlgorithms       []string `yaml:"kex_algorithms"`
	Ciphers             []string `yaml:"ciphers"`
	MACs                []string `yaml:"macs"`
	PublicKeyAlgorithms []string `yaml:"public_key_algorithms"`
}

func defaults() Config {
	a := sshd.DefaultAlgorithms()
	return Config{
		User:         "git",
		SecretFile:   defaultSecretFile,
		LogLevel:     "info",
		LogFormat:    "json",
		HTTPSettings: HTTPSettings{ReadTimeout: config.Duration(300 * time.Second)},
		PAT:          PAT{Enabled: true},
		SSHD: SSHD{
			Listen:                   "[::]:22",
			ProxyPolicy:              "use",
			ProxyHeaderTimeout:       config.Duration(500 * time.Millisecond),
			MaxStartups:              "500:30:1000",
			WebListen:                "localhost:9122",
			ConcurrentSessionsLimit:  10,
			MaxConnections:           10_000,
			MaxConnectionsPerAddress: 64,
			ClientAliveInterval:      config.Duration(15 * time.Second),
			GracePeriod:              config.Duration(10 * time.Second),
			LoginGraceTime:           config.Duration(30 * time.Second),
			ReadinessProbe:           "/start",
			LivenessProbe:            "/health",
			HostKeyFiles: []string{
				"/run/secrets/ssh-hostkeys/ssh_host_ed25519_key",
				"/run/secrets/ssh-hostkeys/ssh_host_rsa_key",
			},
			KexAlgorithms:       a.KeyExchanges,
			Ciphers:             a.Ciphers,
			MACs:                a.MACs,
			PublicKeyAlgorithms: a.PublicKeys,
		},
	}
}

// alias gives variables of GitLab's own names to settings that have none of ours
// (wire/gitlab-shell.md §7).
func alias(lookupEnv func(string) (string, bool)) func(string) (string, bool) {
	names := map[string]string{
		envPrefix + "_GITLAB_URL": "GITLAB_URL", envPrefix + "_SECRET": "GITLAB_SHELL_SECRET", envPrefix + "_LOG_FORMAT": "GITLAB_LOG_FORMAT",
	}
	return func(name string) (string, bool) {
		value, ok := lookupEnv(name)
		if other := names[name]; !ok && other != "" {
			return lookupEnv(other)
		}
		return value, ok
	}
}

// load reads the configuration in dir; every fault is in the error.
func load(dir string, lookupEnv func(string) (string, bool)) (Config, error) {
	c := defaults()
	lookupEnv = alias(lookupEnv)
	path := filepath.Join(dir, configName)
	if err := config.Load(&c, config.Options{File: path, EnvPrefix: envPrefix, LookupEnv: lookupEnv}); err != nil {
		return Config{}, err
	}
	if _, ok := lookupEnv(envPrefix + "_SECRET_FILE"); ok {
		c.Secret = "" // the variable is the key secret_file, whose mode is checked
	}
	c.SecretFile = below(dir, c.SecretFile)
	if c.LogFile != "" {
		c.LogFile = below(dir, c.LogFile)
	}
	for _, list := range [][]string{c.SSHD.HostKeyFiles, c.SSHD.HostCertFiles, c.SSHD.TrustedUserCAKeys} {
		for i, file := range list {
			list[i] = below(dir, file)
		}
	}
	return c, nil
}

// below makes a relative path start at dir.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Validate reports every value that cannot work, with its key.
func (c *Config) Validate() error {
	faults := []error{
		required("user", c.User),
		required("gitlab_url", c.GitLabURL),
		positive("http_settings.read_timeout", c.HTTPSettings.ReadTimeout.D()),
		c.SSHD.validate(),
	}
	if _, err := internalapi.New(internalapi.Config{URL: c.GitLabURL, Secret: []byte("only checked")}); err != nil && c.GitLabURL != "" {
		faults = append(faults, fmt.Errorf("gitlab_url: %w", err))
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		faults = append(faults, fmt.Errorf("log_format: %q is neither json nor text", c.LogFormat))
	}
	if _, err := logging.New(os.Stderr, logging.Options{Level: c.LogLevel}); err != nil {
		faults = append(faults, fmt.Errorf("log_level: %w", err))
	}
	if c.Secret == "" {
		faults = append(faults, required("secret_file", c.SecretFile))
	} else if len(c.Secret) < minSecret {
		faults = append(faults, fmt.Errorf("secret: %d bytes, need at least %d", len(c.Secret), minSecret))
	}
	return errors.Join(faults...)
}

func (s *SSHD) validate() error {
	faults := []error{
		address("sshd.listen", s.Listen),
		positive("sshd.concurrent_sessions_limit", s.ConcurrentSessionsLimit),
		positive("sshd.max_connections", s.MaxConnections),
		positive("sshd.max_connections_per_address", s.MaxConnectionsPerAddress),
		positive("sshd.grace_period", s.GracePeriod.D()),
		notNegative("sshd.client_alive_interval", s.ClientAliveInterval.D()),
		notNegative("sshd.login_grace_time", s.LoginGraceTime.D()),
		positive("sshd.proxy_header_timeout", s.ProxyHeaderTimeout.D()),
		s.algorithms().Validate(),
	}
	if s.WebListen != "" {
		faults = append(faults, address("sshd.web_listen", s.WebListen),
			probePath("sshd.readiness_probe", s.ReadinessProbe), probePath("sshd.liveness_probe", s.LivenessProbe))
		if s.ReadinessProbe == s.LivenessProbe {
			faults = append(faults, errors.New("sshd.liveness_probe: the same path as sshd.readiness_probe"))
		}
	}
	if _, err := sshd.ParseStartups(s.MaxStartups); err != nil {
		faults = append(faults, fmt.Errorf("sshd.max_startups: %w", err))
	}
	if _, err := sshd.ParseAllowed(s.ProxyAllowed); err != nil {
		faults = append(faults, fmt.Errorf("sshd.proxy_allowed: %w", err))
	}
	if len(s.HostKeyFiles) == 0 {
		faults = append(faults, errors.New("sshd.host_key_files: the list is empty"))
	}
	return errors.Join(faults...)
}

func (s *SSHD) algorithms() sshd.Algorithms {
	return sshd.Algorithms{
		KeyExchanges: s.KexAlgorithms, Ciphers: s.Ciphers, MACs: s.MACs, PublicKeys: s.PublicKeyAlgorithms,
	}
}

// secret returns the key of the internal API's tokens.
func (c *Config) secret() ([]byte, error) {
	if c.Secret != "" {
		return []byte(strings.TrimSpace(c.Secret)), nil
	}
	return secret.Read(c.SecretFile, minSecret)
}

// proxy returns the rules for PROXY headers, nil when none are expected.
func (s *SSHD) proxy() (*sshd.Proxy, error) {
	if !s.ProxyProtocol {
		return nil, nil
	}
	allowed, err := sshd.ParseAllowed(s.ProxyAllowed)
	return &sshd.Proxy{Policy: s.ProxyPolicy, Allowed: allowed, HeaderTimeout: s.ProxyHeaderTimeout.D()}, err
}

// masked returns the configuration for the log.
func (c Config) masked() Config {
	if c.HTTPSettings.Password != "" {
		c.HTTPSettings.Password = "[FILTERED]"
	}
	if c.Secret != "" {
		c.Secret = "[FILTERED]"
	}
	return c
}

func required(key, value string) error {
	if value == "" {
		return fmt.Errorf("%s: required", key)
	}
	return nil
}

func positive[T ~int | ~int64](key string, n T) error {
	if n <= 0 {
		return fmt.Errorf("%s: %v is not positive", key, n)
	}
	return nil
}

func notNegative(key string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s: %v is negative", key, d)
	}
	return nil
}

func address(key, addr string) error {
	if _, _, err := netx.Split(addr); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func probePath(key, path string) error {
	if u, err := url.Parse(path); err != nil || !strings.HasPrefix(path, "/") || u.Path != path || strings.ContainsAny(path, "{} ") {
		return fmt.Errorf("%s: %q is not a path", key, path)
	}
	return nil
}
