package app

import (
	"fmt"
	"path/filepath"

	"gitsplit/services/gitaly/internal/cgroup"
)

// Cgroups is [cgroups]: what all git processes together may use. 0 is no limit.
type Cgroups struct {
	Mountpoint    string `toml:"mountpoint"`
	HierarchyRoot string `toml:"hierarchy_root"` // the group that is ours, below the mount point
	MemoryBytes   int64  `toml:"memory_bytes"`
	CPUShares     int64  `toml:"cpu_shares"`
	CPUQuotaUS    int64  `toml:"cpu_quota_us"` // CPU time in each 100,000 microseconds
	// MetricsEnabled is accepted; the kernel's numbers are read where they are used.
	MetricsEnabled bool              `toml:"metrics_enabled"`
	Repositories   RepositoryCgroups `toml:"repositories"`
}

// RepositoryCgroups is [cgroups.repositories]: the buckets that repositories share.
type RepositoryCgroups struct {
	Count             int   `toml:"count"`                // 0 switches control groups off
	MaxCgroupsPerRepo int   `toml:"max_cgroups_per_repo"` // 0 is 1
	MemoryBytes       int64 `toml:"memory_bytes"`
	CPUShares         int64 `toml:"cpu_shares"`
	CPUQuotaUS        int64 `toml:"cpu_quota_us"`
}

func (c Cgroups) faults() []error {
	var faults []error
	add := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("cgroups."+key+": "+format, args...))
	}
	if !filepath.IsAbs(c.Mountpoint) {
		add("mountpoint", "%q is not absolute", c.Mountpoint)
	}
	if !filepath.IsLocal(c.HierarchyRoot) || filepath.Clean(c.HierarchyRoot) == "." {
		add("hierarchy_root", "%q is no path below the mount point", c.HierarchyRoot)
	}
	r := c.Repositories
	if r.Count < 0 || r.MaxCgroupsPerRepo < 0 || r.MaxCgroupsPerRepo > max(1, r.Count) {
		add("repositories.max_cgroups_per_repo", "%d is not between 1 and count", r.MaxCgroupsPerRepo)
	}
	for _, l := range []struct {
		key           string
		all, bucket   int64
		smallestValid int64
	}{
		{"memory_bytes", c.MemoryBytes, r.MemoryBytes, 1},
		{"cpu_shares", c.CPUShares, r.CPUShares, 2},
		{"cpu_quota_us", c.CPUQuotaUS, r.CPUQuotaUS, 1000},
	} {
		for at, n := range map[string]int64{l.key: l.all, "repositories." + l.key: l.bucket} {
			if n < 0 || n > 0 && n < l.smallestValid {
				add(at, "%d is less than the kernel's smallest, %d", n, l.smallestValid)
			}
		}
		if l.all > 0 && l.bucket > l.all {
			add("repositories."+l.key, "%d is more than all repositories have together, %d", l.bucket, l.all)
		}
	}
	return faults
}

// groups is the same as the domain wants it.
func (c Cgroups) groups() cgroup.Config {
	r := c.Repositories
	return cgroup.Config{
		Mountpoint: c.Mountpoint, Root: filepath.Clean(c.HierarchyRoot), Count: r.Count, PerRepository: r.MaxCgroupsPerRepo,
		Process: cgroup.Limits{MemoryBytes: c.MemoryBytes, CPUShares: c.CPUShares, CPUQuotaUS: c.CPUQuotaUS},
		Buckets: cgroup.Limits{MemoryBytes: r.MemoryBytes, CPUShares: r.CPUShares, CPUQuotaUS: r.CPUQuotaUS},
	}
}
