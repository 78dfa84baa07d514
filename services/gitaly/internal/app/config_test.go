package app_test

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/services/gitaly/internal/app"
)

// check runs gitaly check-config on a file.
func check(t *testing.T, content string, env map[string]string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gitaly.toml")
	if err := writeFile(path, content); err != nil {
		t.Fatal(err)
	}
	lookup := func(key string) (string, bool) {
		value, ok := env[key]
		return value, ok
	}
	return app.Main(t.Context(), []string{"check-config", path}, lookup, io.Discard, io.Discard)
}

// TestConfig_everything has every key that an operator of GitLab knows, and ours.
func TestConfig_everything(t *testing.T) {
	t.Parallel()
	dir := short(t)
	certify(t, dir, "one")
	if err := writeFile(dir+"/token", secretText); err != nil {
		t.Fatal(err)
	}
	err := check(t, `
socket_path = "`+dir+`/s"
listen_addr = "127.0.0.1:8075"
tls_listen_addr = "127.0.0.1:9999"
prometheus_listen_addr = "127.0.0.1:9236"
bin_dir = "`+dir+`"
runtime_dir = "`+dir+`"
graceful_restart_timeout = "1m"
reflection = true
[[storage]]
name = "default"
path = "`+dir+`"
[auth]
token_file = "`+dir+`/token"
transitioning = true
[tls]
certificate_path = "`+dir+`/cert.pem"
key_path = "`+dir+`/key.pem"
min_version = "TLS 1.3"
[gitlab]
url = "https://git.example.com"
relative_url_root = "/gitlab"
secret_file = "`+dir+`/token"
[gitlab.http-settings]
read_timeout = 30
user = "u"
password = "p"
ca_file = "`+dir+`/cert.pem"
ca_path = "`+dir+`"
[git]
catfile_cache_size = 7
[[git.config]]
key = "core.bigFileThreshold"
value = "100m"
[hooks]
custom_hooks_dir = "`+dir+`"
[logging]
level = "info"
format = "json"
[prometheus]
grpc_latency_buckets = [0.01, 0.1, 1.0]
[timeout]
upload_pack_negotiation = "10m"
upload_archive_negotiation = "1m"
transfer_idle = "10m"
[[concurrency]]
rpc = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
max_per_repo = 20
max_queue_size = 10
max_queue_wait = "1s"
[concurrency.unauthenticated]
max_concurrency = 5
[[concurrency]]
rpc = "/gitaly.OperationService/UserCommitFiles"
adaptive = true
initial_limit = 10
min_limit = 5
max_limit = 20
[pack_objects_cache]
enabled = true
dir = "`+dir+`/packs"
max_age = "5m"
min_occurrences = 2
backpressure = false
max_bytes = 1073741824
share_from = 0
[pack_objects_limiting]
max_concurrency = 10
max_queue_length = 5
max_queue_wait = "1m"
[pack_objects_limiting.unauthenticated]
max_concurrency = 2
[adaptive_limiting]
cpu_throttled_threshold = 0.4
memory_threshold = 0.7
[cgroups]
mountpoint = "/sys/fs/cgroup"
hierarchy_root = "gitaly"
memory_bytes = 64424509440
cpu_shares = 1024
cpu_quota_us = 1200000
[cgroups.repositories]
count = 1000
max_cgroups_per_repo = 2
memory_bytes = 32212254720
cpu_shares = 512
cpu_quota_us = 400000
[limits]
calls_per_repository = 4
calls = 32
call_wait = "10s"
transfers_per_repository = 50
transfers = 100
transfer_wait = "1m"
anonymous_transfers = 50
queue_size = 100
child_memory_bytes = 1073741824
child_cpu_time = "30s"
push_cpu_time = "2m"
`, nil)
	if err != nil {
		t.Error(err)
	}
}

// TestConfig_faults: all of them are named, each with its key.
func TestConfig_faults(t *testing.T) {
	t.Parallel()
	dir := short(t)
	err := check(t, `
listen_addr = "nowhere"
tls_listen_addr = "127.0.0.1:1"
graceful_restart_timeout = "0s"
[[storage]]
name = "a"
path = "`+dir+`"
[[storage]]
name = "a"
path = "`+dir+`/."
[tls]
certificate_path = "`+dir+`/none"
key_path = "`+dir+`/none"
min_version = "SSL 3"
[gitlab.http-settings]
user = "u"
ca_file = "`+dir+`"
ca_path = "`+dir+`/none"
[[git.config]]
key = ""
[logging]
format = "text"
[prometheus]
grpc_latency_buckets = [1.0, 1.0]
[[concurrency]]
rpc = "/gitaly.ServerService/ServerInfo"
max_queue_wait = "-1s"
[[concurrency]]
rpc = "/gitaly.RefService/RefExists"
adaptive = true
initial_limit = 9
min_limit = 1
max_limit = 3
[[concurrency]]
rpc = "/gitaly.RefService/RefExists"
max_per_repo = 1
[concurrency.unauthenticated]
max_queue_size = 4
[pack_objects_cache]
dir = "packs"
max_age = "0s"
min_occurrences = -1
max_bytes = 0
share_from = -1
[pack_objects_limiting]
adaptive = true
[adaptive_limiting]
memory_threshold = 1.5
[cgroups]
mountpoint = "relative"
hierarchy_root = "../x"
memory_bytes = 5
cpu_shares = 1
[cgroups.repositories]
count = 2
max_cgroups_per_repo = 3
memory_bytes = 6
[limits]
calls = -1
child_memory_bytes = 1000
`, map[string]string{"GITALY_AUTH_TRANSITIONING": "true"})
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{
		"listen_addr: address", "listen_addr: a TCP listener needs auth", "tls_listen_addr: a TCP listener needs auth",
		"graceful_restart_timeout: 0s", `storage.name: "a" is there twice`, "are in each other",
		"tls.min_version", "tls.certificate_path", "gitlab.url", "gitlab.secret_file", "http-settings.user", "http-settings.ca_file", "http-settings.ca_path",
		"git.config", "logging.format", "prometheus.grpc_latency_buckets",
		"concurrency[0].rpc", "concurrency[0].max_concurrency: missing", "concurrency[0].max_queue_wait",
		"concurrency[1].initial_limit: 9", "concurrency[2].rpc: \"/gitaly.RefService/RefExists\" is there twice",
		"concurrency[2].unauthenticated.max_concurrency: missing", "pack_objects_limiting.min_limit", "adaptive_limiting.memory_threshold",
		"pack_objects_cache.dir", "pack_objects_cache.max_age", "pack_objects_cache.min_occurrences", "pack_objects_cache.max_bytes",
		"pack_objects_cache.share_from",
		"cgroups.mountpoint", "cgroups.hierarchy_root", "cgroups.repositories.max_cgroups_per_repo", "cgroups.repositories.memory_bytes", "cgroups.cpu_shares",
		"limits: nothing in it may be below 0", "limits.child_memory_bytes",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	if err := check(t, "socket_path = 3\n", nil); err == nil || !strings.Contains(err.Error(), "socket_path") {
		t.Errorf("wrong type: %v", err)
	}
	if err := check(t, "[tls]\ncipher = 'x'\n", nil); err == nil || !strings.Contains(err.Error(), `unknown key "tls.cipher"`) {
		t.Errorf("unknown key: %v", err)
	}
	if err := check(t, "", map[string]string{"GITALY_LIMITS_CALLS": "many"}); err == nil || !strings.Contains(err.Error(), "environment GITALY_LIMITS_CALLS: want a whole number") {
		t.Errorf("environment: %v", err)
	}
}
