package app

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"gitsplit/kit/config"
	"gitsplit/kit/netx"
	"gitsplit/services/rails-api/internal/doctor"
	"gitsplit/services/rails-api/internal/rest"
	"gitsplit/services/rails-api/internal/storage"
)

// Config is the configuration of rails-api and of sidekiq: one YAML file for both,
// then the environment (RAILS_API_DATABASE_URL for database_url).
type Config struct {
	// Listen is where workhorse reaches the API: unix:/path or host:port. Nobody else should.
	Listen string `yaml:"listen"`
	// ProbeListen serves metrics and probes of rails-api; "" serves none.
	ProbeListen string `yaml:"probe_listen"`
	// SidekiqProbeListen serves those of sidekiq.
	SidekiqProbeListen string `yaml:"sidekiq_probe_listen"`

	// ExternalURL is the one public web address; clone URLs and links follow from it.
	ExternalURL string `yaml:"external_url"`
	// SSHHost, SSHPort and SSHUser make the clone URLs for SSH.
	SSHHost string `yaml:"ssh_host"`
	SSHPort int    `yaml:"ssh_port"`
	SSHUser string `yaml:"ssh_user"`

	// DatabaseURL is a PostgreSQL URL, e.g. postgres:///gitsplit?host=/run/postgresql.
	DatabaseURL string `yaml:"database_url"`
	// DatabaseConnections bounds the pool of each process.
	DatabaseConnections int `yaml:"database_connections"`
	// RedisURL is unix:///path or redis://host:port/db.
	RedisURL string `yaml:"redis_url"`

	// ShellSecretFile holds the key that gitlab-shell and gitaly sign with, 32 bytes or more.
	ShellSecretFile string `yaml:"shell_secret_file"`
	// WorkhorseSecretFile holds the key that workhorse signs with: base64 of 32 bytes.
	WorkhorseSecretFile string `yaml:"workhorse_secret_file"`
	// ShellPreviousSecretFile and WorkhorsePreviousSecretFile hold keys that are still accepted while they change.
	ShellPreviousSecretFile     string `yaml:"shell_previous_secret_file"`
	WorkhorsePreviousSecretFile string `yaml:"workhorse_previous_secret_file"`

	// DatabaseKeyFile holds the key that seals secrets in the database, 32 bytes or more. Who loses it loses them.
	DatabaseKeyFile string `yaml:"database_key_file"`

	// TwoFactorForSSH asks accounts with a second factor to prove it over SSH (2fa_verify) before Git, and again when the session ends.
	TwoFactorForSSH bool `yaml:"two_factor_for_ssh"`
	// GitTwoFactorSessionExpiry is how long such a session lasts, in minutes.
	GitTwoFactorSessionExpiry int `yaml:"git_two_factor_session_expiry"`
	// ShellOperationLimit is how often in a minute an actor, or an address, may ask for the same Git command on the same project; 0 is any number.
	ShellOperationLimit int64 `yaml:"gitlab_shell_operation_limit"`

	// FailedLoginLimit is after how many failed sign-ins within FailedLoginWindow an address, or a user name, is banned for FailedLoginBan;
	// 0 bans nobody. FailedLoginExempt are addresses and networks that are never banned.
	FailedLoginLimit  int64           `yaml:"failed_login_limit"`
	FailedLoginWindow config.Duration `yaml:"failed_login_window"`
	FailedLoginBan    config.Duration `yaml:"failed_login_ban"`
	FailedLoginExempt []string        `yaml:"failed_login_exempt"`

	// APIUserLimit is how many requests a user may make to the REST API in a minute, APIAddressLimit how many without a token may come from one
	// address; 0 is any number.
	APIUserLimit    int64 `yaml:"api_user_limit"`
	APIAddressLimit int64 `yaml:"api_address_limit"`

	// Storages are the gitaly servers; new repositories are spread by weight.
	Storages []StorageConfig `yaml:"storages"`

	// ObjectStorage is where finished files lie (LFS objects, attachments): file:///directory, which workhorse shares, or
	// s3://bucket?region=…&endpoint=…, with the credentials of AWS_SHARED_CREDENTIALS_FILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
	ObjectStorage string `yaml:"object_storage"`

	// LFSEnabled offers Git LFS; each project can still be without.
	LFSEnabled bool `yaml:"lfs_enabled"`
	// LFSRemovalDelay is how long a large file is kept that no project has any more.
	LFSRemovalDelay config.Duration `yaml:"lfs_removal_delay"`

	// MaxAttachmentSize bounds one file attached to a project, in MiB; 0 is no bound.
	MaxAttachmentSize int64 `yaml:"max_attachment_size"`

	// InitialRootPasswordFile and InitialRootTokenFile seed the first account, when there is none.
	InitialRootPasswordFile string `yaml:"initial_root_password_file"`
	InitialRootTokenFile    string `yaml:"initial_root_token_file"`

	// ReceiveMaxInputSize bounds the pack of one push, in MiB; 0 is no bound.
	ReceiveMaxInputSize int64 `yaml:"receive_max_input_size"`
	// RepositoryDownloadsPath is the directory, on workhorse's host, where it keeps archives; "" keeps none.
	RepositoryDownloadsPath string `yaml:"repository_downloads_path"`
	// RawBlobRequestLimit is how often in a minute the same file may be fetched by its web address; 0 is any number.
	RawBlobRequestLimit int64 `yaml:"raw_blob_request_limit"`
	// ArchiveRequestLimit is how often in a minute somebody may fetch archives of a project; 0 is any number.
	ArchiveRequestLimit int64 `yaml:"archive_request_limit"`
	// MigrationDumps is the directory of copies of the database, one before each change of its schema, of which the newest three stay; "" makes none.
	MigrationDumps string `yaml:"migration_dumps"`
	// Fronts are what `doctor` asks besides what rails-api itself works with.
	Fronts doctor.Fronts `yaml:"fronts"`
	// SidekiqConcurrency is how many jobs run at a time.
	SidekiqConcurrency int `yaml:"sidekiq_concurrency"`
	// ShutdownGrace bounds how long requests in flight are waited for.
	ShutdownGrace config.Duration `yaml:"shutdown_grace"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
}

// StorageConfig is one gitaly server.
type StorageConfig struct {
	Name            string `yaml:"name"`
	GitalyAddress   string `yaml:"gitaly_address"`    // unix:/path, tcp://host:port or tls://host:port
	GitalyTokenFile string `yaml:"gitaly_token_file"` // "" when the server wants no token
	Weight          int    `yaml:"weight"`
}

// Default returns the configuration before file and environment.
func Default() Config {
	return Config{
		SSHPort: 22, SSHUser: "git", DatabaseConnections: 10, ReceiveMaxInputSize: 5 * 1024, SidekiqConcurrency: 4,
		LFSEnabled: true, LFSRemovalDelay: config.Duration(24 * time.Hour),
		ObjectStorage: "file:///var/opt/gitsplit/objects", MaxAttachmentSize: 100, GitTwoFactorSessionExpiry: 15, ShellOperationLimit: 600,
		RawBlobRequestLimit: 300, ArchiveRequestLimit: 60, APIUserLimit: 6000, APIAddressLimit: 3000,
		FailedLoginLimit: 10, FailedLoginWindow: config.Duration(time.Minute), FailedLoginBan: config.Duration(time.Hour),
		FailedLoginExempt: []string{"127.0.0.0/8", "::1"}, ShutdownGrace: config.Duration(10 * time.Second), LogLevel: "info",
	}
}

// Validate reports every fault, each with its key.
func (c *Config) Validate() error {
	var faults []error
	add := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf(key+": "+format, args...))
	}
	for key, value := range map[string]string{
		"listen": c.Listen, "database_url": c.DatabaseURL, "redis_url": c.RedisURL, "shell_secret_file": c.ShellSecretFile,
		"workhorse_secret_file": c.WorkhorseSecretFile, "database_key_file": c.DatabaseKeyFile, "ssh_user": c.SSHUser, "ssh_host": c.SSHHost,
	} {
		if value == "" {
			add(key, "is missing")
		}
	}
	for key, addr := range map[string]string{"listen": c.Listen, "probe_listen": c.ProbeListen, "sidekiq_probe_listen": c.SidekiqProbeListen} {
		if _, _, err := netx.Split(addr); addr != "" && err != nil {
			add(key, "%w", err)
		}
	}
	if u, err := url.Parse(c.ExternalURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		add("external_url", "%q is no http or https address", c.ExternalURL)
	}
	for key, n := range map[string]int{
		"ssh_port": c.SSHPort, "database_connections": c.DatabaseConnections, "sidekiq_concurrency": c.SidekiqConcurrency,
	} {
		if n < 1 || n > 65535 {
			add(key, "%d is not between 1 and 65535", n)
		}
	}
	if c.GitTwoFactorSessionExpiry < 1 || c.GitTwoFactorSessionExpiry > 10080 {
		add("git_two_factor_session_expiry", "%d is not between 1 and 10080 minutes", c.GitTwoFactorSessionExpiry)
	}
	if err := storage.Check(c.ObjectStorage); err != nil {
		add("object_storage", "%w", err)
	}
	if c.MaxAttachmentSize < 0 || c.MaxAttachmentSize > 1<<40 {
		add("max_attachment_size", "%d is no size in MiB", c.MaxAttachmentSize)
	}
	if c.ShellOperationLimit < 0 {
		add("gitlab_shell_operation_limit", "%d is negative", c.ShellOperationLimit)
	}
	if c.RawBlobRequestLimit < 0 {
		add("raw_blob_request_limit", "%d is negative", c.RawBlobRequestLimit)
	}
	if c.ArchiveRequestLimit < 0 {
		add("archive_request_limit", "%d is negative", c.ArchiveRequestLimit)
	}
	if p := c.RepositoryDownloadsPath; p != "" && !filepath.IsAbs(p) {
		add("repository_downloads_path", "%q is no absolute path", p)
	}
	if c.ReceiveMaxInputSize < 0 || c.ReceiveMaxInputSize > 1<<40 {
		add("receive_max_input_size", "%d is no size in MiB", c.ReceiveMaxInputSize)
	}
	if c.LFSRemovalDelay < config.Duration(time.Hour) {
		add("lfs_removal_delay", "%v is less than an hour: uploads may be under way", c.LFSRemovalDelay)
	}
	if c.ShutdownGrace <= 0 {
		add("shutdown_grace", "%v is not a positive duration", c.ShutdownGrace)
	}
	return errors.Join(slices.Concat(faults, c.validateLimits(), c.validateStorages())...)
}

func (c *Config) validateLimits() []error {
	var faults []error
	for key, n := range map[string]int64{
		"failed_login_limit": c.FailedLoginLimit, "api_user_limit": c.APIUserLimit, "api_address_limit": c.APIAddressLimit,
	} {
		if n < 0 {
			faults = append(faults, fmt.Errorf("%s: %d is negative", key, n))
		}
	}
	for key, d := range map[string]config.Duration{"failed_login_window": c.FailedLoginWindow, "failed_login_ban": c.FailedLoginBan} {
		if d.D() < time.Second || d.D() > 365*24*time.Hour {
			faults = append(faults, fmt.Errorf("%s: %v is not between a second and a year", key, d))
		}
	}
	if _, err := c.failedLoginExempt(); err != nil {
		faults = append(faults, fmt.Errorf("failed_login_exempt: %w", err))
	}
	return faults
}

// restLimits are how often the REST API may be asked.
func (c *Config) restLimits() rest.Limits {
	return rest.Limits{Users: c.APIUserLimit, Addresses: c.APIAddressLimit, RawFiles: c.RawBlobRequestLimit, Archives: c.ArchiveRequestLimit}
}

// failedLoginExempt are the networks from which nobody is banned.
func (c *Config) failedLoginExempt() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range c.FailedLoginExempt {
		p, err := netip.ParsePrefix(text)
		if ip, ipErr := netip.ParseAddr(text); ipErr == nil {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no address or network", text)
		}
		list = append(list, p)
	}
	return list, nil
}

func (c *Config) validateStorages() []error {
	if len(c.Storages) == 0 {
		return []error{errors.New("storages: at least one is needed")}
	}
	var faults []error
	seen := map[string]bool{}
	for i, s := range c.Storages {
		if s.Name == "" || seen[s.Name] {
			faults = append(faults, fmt.Errorf("storages[%d].name: %q is empty or used twice", i, s.Name))
		}
		if s.GitalyAddress == "" {
			faults = append(faults, fmt.Errorf("storages[%d].gitaly_address: is missing", i))
		}
		if s.Weight < 0 {
			faults = append(faults, fmt.Errorf("storages[%d].weight: %d is negative", i, s.Weight))
		}
		seen[s.Name] = true
	}
	return faults
}

// receiveOptions are the git settings that go with every push.
func (c *Config) receiveOptions() []string {
	if c.ReceiveMaxInputSize == 0 {
		return []string{}
	}
	return []string{fmt.Sprintf("receive.maxInputSize=%d", c.ReceiveMaxInputSize<<20)}
}

// otpSession is for how long a proof of the second factor over SSH lasts; 0 asks for none.
func (c *Config) otpSession() time.Duration {
	if !c.TwoFactorForSSH {
		return 0
	}
	return time.Duration(c.GitTwoFactorSessionExpiry) * time.Minute
}
