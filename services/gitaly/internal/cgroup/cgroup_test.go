package cgroup_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/cgroup"
	"gitsplit/services/gitaly/internal/process"
)

const ownPid = 4242

// mount makes a directory that looks like a mounted hierarchy. The files that the
// kernel would put into each group are made by whoever writes them.
func mount(t *testing.T, version int) string {
	t.Helper()
	dir := t.TempDir()
	if version == 2 {
		put(t, dir, "cgroup.controllers", "cpu memory pids")
		return dir
	}
	for _, controller := range []string{"cpu", "memory"} {
		if err := os.Mkdir(filepath.Join(dir, controller), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files reads the whole hierarchy.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		found[rel] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func config(mountpoint string) cgroup.Config {
	return cgroup.Config{
		Mountpoint: mountpoint, Root: "gitaly", Count: 3,
		Process: cgroup.Limits{MemoryBytes: 8 << 30, CPUShares: 1024, CPUQuotaUS: 400000},
		Buckets: cgroup.Limits{MemoryBytes: 1 << 30, CPUShares: 262144, CPUQuotaUS: 100000},
	}
}

func open(t *testing.T, cfg cgroup.Config) *cgroup.Manager {
	t.Helper()
	m, err := cgroup.Open(cfg, ownPid, logging.Discard())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func place(t *testing.T, m *cgroup.Manager, key string) *process.Cgroup {
	t.Helper()
	p, err := m.Place(key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestManager_v1(t *testing.T) {
	t.Parallel()
	dir := mount(t, 1)
	m := open(t, config(dir))
	p := place(t, m, "default/a.git") // CRC-32 0x6e56904c
	if again := place(t, m, "default/a.git"); again != p {
		t.Error("one key has two places")
	}
	bucket := bucketOf(t, p)
	want := map[string]string{
		"memory/gitaly/gitaly-4242/memory.limit_in_bytes":                "8589934592",
		"memory/gitaly/gitaly-4242/" + bucket + "/memory.limit_in_bytes": "1073741824",
		"cpu/gitaly/gitaly-4242/cpu.shares":                              "1024",
		"cpu/gitaly/gitaly-4242/cpu.cfs_period_us":                       "100000",
		"cpu/gitaly/gitaly-4242/cpu.cfs_quota_us":                        "400000",
		"cpu/gitaly/gitaly-4242/" + bucket + "/cpu.shares":               "262144",
		"cpu/gitaly/gitaly-4242/" + bucket + "/cpu.cfs_period_us":        "100000",
		"cpu/gitaly/gitaly-4242/" + bucket + "/cpu.cfs_quota_us":         "100000",
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	wantProcs := []string{
		filepath.Join(dir, "memory/gitaly/gitaly-4242", bucket, "cgroup.procs"), filepath.Join(dir, "cpu/gitaly/gitaly-4242", bucket, "cgroup.procs"),
	}
	if p.Dir != nil || !slices.Equal(p.Procs, wantProcs) {
		t.Errorf("place = %+v", p)
	}
}

func bucketOf(t *testing.T, p *process.Cgroup) string {
	t.Helper()
	if len(p.Procs) == 0 {
		t.Fatalf("place = %+v", p)
	}
	return filepath.Base(filepath.Dir(p.Procs[0]))
}

func TestManager_v2(t *testing.T) {
	t.Parallel()
	dir := mount(t, 2)
	put(t, dir, "cgroup.subtree_control", "cpu memory") // as an administrator has left it
	m := open(t, config(dir))
	bucket := bucketOf(t, place(t, m, "default/a.git")) // the directory is none of the kernel's, so no process starts in it
	want := map[string]string{
		"cgroup.controllers":     "cpu memory pids",
		"cgroup.subtree_control": "cpu memory",
		// The kernel adds up what is written; a plain file has the last of it.
		"gitaly/cgroup.subtree_control":                "+cpu",
		"gitaly/gitaly-4242/cgroup.subtree_control":    "+cpu",
		"gitaly/gitaly-4242/memory.max":                "8589934592",
		"gitaly/gitaly-4242/cpu.weight":                "39",
		"gitaly/gitaly-4242/cpu.max":                   "400000 100000",
		"gitaly/gitaly-4242/" + bucket + "/memory.max": "1073741824",
		"gitaly/gitaly-4242/" + bucket + "/cpu.weight": "10000",
		"gitaly/gitaly-4242/" + bucket + "/cpu.max":    "100000 100000",
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestManager_unlimited(t *testing.T) {
	t.Parallel()
	dir := mount(t, 2)
	m := open(t, cgroup.Config{Mountpoint: dir, Root: "gitaly", Count: 1})
	if bucket := bucketOf(t, place(t, m, "x")); bucket != "repos-0" {
		t.Errorf("bucket = %q", bucket)
	}
	if diff := cmp.Diff(map[string]string{"cgroup.controllers": "cpu memory pids"}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gitaly/gitaly-4242")); !os.IsNotExist(err) {
		t.Errorf("the group stays: %v", err)
	}
}

// TestManager_Place deals keys out as the protocol notes say, so that the buckets are
// those an operator can compute.
func TestManager_Place(t *testing.T) {
	t.Parallel()
	cfg := config(mount(t, 1))
	cfg.Count = 10
	m := open(t, cfg)
	for key, want := range map[string]string{
		"default/@hashed/6b/86/6b86b273ff34.git": "repos-9", "version": "repos-5", "": "repos-0",
	} {
		if got := bucketOf(t, place(t, m, key)); got != want {
			t.Errorf("bucket of %q = %q, want %q", key, got, want)
		}
	}
	cfg.PerRepository = 3
	m = open(t, cfg)
	seen := map[string]bool{}
	for range 200 {
		seen[bucketOf(t, place(t, m, "version"))] = true
	}
	if len(seen) != 3 || !seen["repos-5"] || !seen["repos-6"] || !seen["repos-7"] {
		t.Errorf("buckets of one repository = %v", seen)
	}
}

func TestOpen_removesDead(t *testing.T) {
	t.Parallel()
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{1, 2} {
		dir := mount(t, version)
		root := map[int]string{1: dir + "/memory/gitaly", 2: dir + "/gitaly"}[version]
		groups := map[string]bool{ // by whether it stays
			"gitaly-" + strconv.Itoa(dead.Process.Pid): false, "gitaly-" + strconv.Itoa(os.Getpid()): true, "other": true, "gitaly-x": true,
		}
		for name := range groups {
			if err := os.MkdirAll(filepath.Join(root, name, "repos-1"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		open(t, config(dir))
		for name, stays := range groups {
			if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != stays {
				t.Errorf("version %d, group %q: %v, should stay: %v", version, name, err, stays)
			}
		}
	}
}

func TestOpen_notUsable(t *testing.T) {
	t.Parallel()
	if _, err := cgroup.Open(config(t.TempDir()), ownPid, logging.Discard()); err == nil || !strings.Contains(err.Error(), "no control groups are mounted") {
		t.Errorf("nothing mounted: %v", err)
	}
	dir := mount(t, 2)
	put(t, dir, "gitaly", "not a directory")
	if _, err := cgroup.Open(config(dir), ownPid, logging.Discard()); err == nil {
		t.Error("a file in the group's place is no fault")
	}
}

func TestManager_pressure(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		dir := mount(t, version)
		m := open(t, config(dir))
		now := time.Unix(0, 0)
		cpu, memory := m.CPUPressure(0.5, func() time.Time { return now }), m.MemoryPressure(0.6)
		for _, step := range []struct {
			throttled   time.Duration // in all
			used, cache int64         // MiB
			cpu, memory bool
		}{
			{9 * time.Second, 4000, 0, false, false}, // the first look has nothing to compare with
			{13 * time.Second, 6000, 2000, false, false},
			{19 * time.Second, 6000, 0, true, true},
		} {
			if version == 1 {
				put(t, dir, "cpu/gitaly/gitaly-4242/cpu.stat", "nr_periods 3\nthrottled_time "+strconv.FormatInt(step.throttled.Nanoseconds(), 10)+"\n")
				put(t, dir, "memory/gitaly/gitaly-4242/memory.usage_in_bytes", strconv.FormatInt(step.used<<20, 10)+"\n")
				put(t, dir, "memory/gitaly/gitaly-4242/memory.stat", "inactive_file 7\ntotal_inactive_file "+strconv.FormatInt(step.cache<<20, 10)+"\n")
			} else {
				put(t, dir, "gitaly/gitaly-4242/cpu.stat", "usage_usec 1\nthrottled_usec "+strconv.FormatInt(step.throttled.Microseconds(), 10)+"\n")
				put(t, dir, "gitaly/gitaly-4242/memory.current", strconv.FormatInt(step.used<<20, 10)+"\n")
				put(t, dir, "gitaly/gitaly-4242/memory.stat", "inactive_file "+strconv.FormatInt(step.cache<<20, 10)+"\n")
			}
			now = now.Add(10 * time.Second)
			for check, want := range map[string]bool{"cpu": step.cpu, "memory": step.memory} {
				got, err := map[string]func() (bool, error){"cpu": cpu, "memory": memory}[check]()
				if err != nil || got != want {
					t.Errorf("version %d, %s at %v: %v, %v", version, check, now, got, err)
				}
			}
		}
	}
}
