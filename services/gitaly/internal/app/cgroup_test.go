package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/services/gitaly/internal/app"
)

// inGroups keeps repositories in buckets of 100 MiB below a mount point.
func inGroups(mountpoint string) func(*app.Config) {
	return func(c *app.Config) {
		c.Cgroups.Mountpoint, c.Cgroups.HierarchyRoot = mountpoint, fmt.Sprintf("gitaly-test-%d", os.Getpid())
		c.Cgroups.Repositories.Count, c.Cgroups.Repositories.MemoryBytes = 2, 100<<20
		c.Git.Config = []app.GitConfig{{Key: "core.bigFileThreshold", Value: "1g"}}
	}
}

// TestCgroups_none: without a hierarchy there is one line in the log, and service.
func TestCgroups_none(t *testing.T) {
	t.Parallel()
	b := setup(t, inGroups(t.TempDir()))
	b.create(t, rel)
	if !strings.Contains(b.log.String(), "control groups cannot be used; git runs without their limits") {
		t.Errorf("log:\n%s", b.log)
	}
}

// TestCgroups: each git is moved into the bucket of its repository.
func TestCgroups(t *testing.T) {
	t.Parallel()
	mountpoint := t.TempDir()
	for _, controller := range []string{"cpu", "memory"} {
		if err := os.Mkdir(filepath.Join(mountpoint, controller), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b := setup(t, inGroups(mountpoint))
	b.create(t, rel)
	c := b.client(t)
	c.commit(t, "a", "a")
	c.git(t, "push", "-q", remote(rel), "main")
	for _, controller := range []string{"cpu", "memory"} {
		found, err := filepath.Glob(filepath.Join(mountpoint, controller, "gitaly-test-*", "gitaly-*", "repos-*", "cgroup.procs"))
		if err != nil || len(found) == 0 {
			t.Errorf("%s: no process in a group: %v", controller, err)
		}
	}
}

// TestCgroups_outOfMemory lets the kernel end a git, where this machine has a memory
// hierarchy that is ours to use.
func TestCgroups_outOfMemory(t *testing.T) {
	t.Parallel()
	const mountpoint = "/sys/fs/cgroup"
	b := setup(t, inGroups(mountpoint))
	if strings.Contains(b.log.String(), "control groups cannot be used") {
		b.create(t, rel) // then it works without
		return
	}
	c := b.fill(t)
	out, err := c.try(t, "clone", "--bare", remote("big.git"), filepath.Join(t.TempDir(), "c"))
	if err == nil || !strings.Contains(out, shortOfMemory) || strings.Contains(out, "corruption") {
		t.Errorf("clone: %v\n%s", err, out)
	}
	c.git(t, "clone", "--bare", remote("small.git"), filepath.Join(t.TempDir(), "c"))
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(mountpoint, "*", b.cfg.Cgroups.HierarchyRoot, "gitaly-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("groups left: %q, %v", left, err)
	}
	roots, _ := filepath.Glob(filepath.Join(mountpoint, "*", b.cfg.Cgroups.HierarchyRoot))
	for _, dir := range append(roots, filepath.Join(mountpoint, b.cfg.Cgroups.HierarchyRoot)) {
		_ = os.Remove(dir)
	}
}
