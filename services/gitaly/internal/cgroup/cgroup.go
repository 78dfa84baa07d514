// Package cgroup keeps git processes in control groups (wire/gitaly.md §9): one group
// for this gitaly, with a limit for all of them together, and in it a fixed number of
// buckets to which repositories are dealt by a hash, so that one repository can starve
// or kill no more than its bucket.
//
// The hierarchy must be delegated to us; where it is not, git runs without. The files
// are few and plain, so they are written here: the libraries for it bring systemd,
// D-Bus and BPF along.
package cgroup

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"gitsplit/services/gitaly/internal/process"
)

// Limits are those of one group; 0 is none.
type Limits struct {
	MemoryBytes int64
	CPUShares   int64 // the weight against others, 2 to 262144
	CPUQuotaUS  int64 // CPU time in microseconds for every 100,000 that pass
}

// Config says which groups there are.
type Config struct {
	Mountpoint    string // where the kernel's hierarchies are mounted
	Root          string // the group delegated to us, below it
	Process       Limits // of all git processes together
	Buckets       Limits // of each bucket
	Count         int    // buckets
	PerRepository int    // how many of them one repository may use
}

// Manager hands out places in the groups. It is safe for concurrent use.
type Manager struct {
	cfg       Config
	hierarchy hierarchy
	group     string // ours, relative to the hierarchy
	log       *slog.Logger
	mu        sync.Mutex
	places    map[int]*process.Cgroup // by bucket, made on first use
}

// Open makes the group of this process and removes those of dead ones. The error says
// why control groups cannot be used.
func Open(cfg Config, pid int, log *slog.Logger) (*Manager, error) {
	h, err := detect(cfg.Mountpoint)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: cfg, hierarchy: h, log: log,
		group: filepath.Join(cfg.Root, prefix+strconv.Itoa(pid)), places: map[int]*process.Cgroup{},
	}
	m.removeDead(pid)
	if err := h.create(m.group, cfg.Process, cfg.Buckets); err != nil {
		return nil, err
	}
	return m, nil
}

// prefix and the process id are the name of a gitaly's group.
const prefix = "gitaly-"

// removeDead removes the groups of processes that are no more.
func (m *Manager) removeDead(own int) {
	for _, dir := range m.hierarchy.dirs(m.cfg.Root) {
		entries, _ := os.ReadDir(dir) // there is none at the first start
		for _, e := range entries {
			name, found := strings.CutPrefix(e.Name(), prefix)
			pid, err := strconv.Atoi(name)
			if !found || err != nil || pid <= 0 || pid == own || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				continue
			}
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				m.log.Warn("control group of a dead gitaly stays", slog.String("cgroup", e.Name()), slog.Any("error", err))
			}
		}
	}
}

// removeTree removes groups, the inner ones first. Their files go with them.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	faults := []error{err}
	for i := len(dirs) - 1; i >= 0; i-- {
		faults = append(faults, syscall.Rmdir(dirs[i]))
	}
	return errors.Join(faults...)
}

// Place returns where a process works that belongs to key: a storage's name and a
// repository's path, or the arguments of a command without repository.
func (m *Manager) Place(key string) (*process.Cgroup, error) {
	n := int(crc32.ChecksumIEEE([]byte(key)) % uint32(m.cfg.Count)) //nolint:gosec // a small count
	if m.cfg.PerRepository > 1 {
		n = (n + rand.IntN(m.cfg.PerRepository)) % m.cfg.Count //nolint:gosec // spreads load
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if place, ok := m.places[n]; ok {
		return place, nil
	}
	bucket := filepath.Join(m.group, fmt.Sprintf("repos-%d", n))
	if err := m.hierarchy.create(bucket, m.cfg.Buckets, Limits{}); err != nil {
		return nil, err
	}
	place, err := m.hierarchy.place(bucket)
	if err != nil {
		return nil, err
	}
	m.places[n] = place
	return place, nil
}

// Stats are what the group of this process has used.
func (m *Manager) Stats() (Stats, error) { return m.hierarchy.stats(m.group) }

// Close removes the groups. No process may be left in them; what cannot be removed is
// at the next start.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, place := range m.places {
		if place.Dir != nil {
			_ = place.Dir.Close() // only held open
		}
	}
	for _, dir := range m.hierarchy.dirs(m.group) {
		if err := removeTree(dir); err != nil {
			m.log.Warn("control group stays", slog.String("cgroup", dir), slog.Any("error", err))
		}
	}
	return nil
}
