package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gitsplit/services/gitaly/internal/process"
)

// Stats are a group's use of its limits.
type Stats struct {
	Throttled time.Duration // in which its processes were kept from the CPU, since it was made
	Memory    int64         // bytes in use that cannot be dropped at once
	MemoryMax int64         // its limit; 0 is none
}

// hierarchy is one of the kernel's two forms of control groups. Groups are named by
// their path below the mount point.
type hierarchy interface {
	// create makes a group with limits; those inside it will need inner ones.
	create(group string, own, inner Limits) error
	place(group string) (*process.Cgroup, error)
	dirs(group string) []string
	stats(group string) (Stats, error)
}

// detect finds out what is mounted.
func detect(mountpoint string) (hierarchy, error) {
	if _, err := os.Stat(filepath.Join(mountpoint, "cgroup.controllers")); err == nil {
		return v2{mountpoint}, nil
	}
	_, cpuErr := os.Stat(filepath.Join(mountpoint, "cpu"))
	_, memoryErr := os.Stat(filepath.Join(mountpoint, "memory"))
	if err := errors.Join(cpuErr, memoryErr); err != nil {
		return nil, fmt.Errorf("no control groups are mounted at %q: %w", mountpoint, err)
	}
	return v1{mountpoint}, nil
}

// period is the time in which a quota of CPU time may be used, in microseconds.
const period = 100000

// setting is the content of one of a group's files.
type setting struct {
	file  string
	value string
}

func write(dir string, settings []setting) error {
	for _, s := range settings {
		if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.value), 0o600); err != nil {
			return fmt.Errorf("set up control group: %w", err)
		}
	}
	return nil
}

// v1 has a tree for each controller.
type v1 struct{ mountpoint string }

func (h v1) dirs(group string) []string {
	return []string{filepath.Join(h.mountpoint, "memory", group), filepath.Join(h.mountpoint, "cpu", group)}
}

func (h v1) create(group string, own, _ Limits) error {
	var memory, cpu []setting
	if own.MemoryBytes > 0 {
		memory = append(memory, setting{"memory.limit_in_bytes", strconv.FormatInt(own.MemoryBytes, 10)})
	}
	if own.CPUShares > 0 {
		cpu = append(cpu, setting{"cpu.shares", strconv.FormatInt(own.CPUShares, 10)})
	}
	if own.CPUQuotaUS > 0 {
		cpu = append(cpu, setting{"cpu.cfs_period_us", strconv.Itoa(period)},
			setting{"cpu.cfs_quota_us", strconv.FormatInt(own.CPUQuotaUS, 10)})
	}
	for i, dir := range h.dirs(group) {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as the kernel makes them
			return fmt.Errorf("make control group: %w", err)
		}
		if err := write(dir, [][]setting{memory, cpu}[i]); err != nil {
			return err
		}
	}
	return nil
}

func (h v1) place(group string) (*process.Cgroup, error) {
	place := &process.Cgroup{}
	for _, dir := range h.dirs(group) {
		place.Procs = append(place.Procs, filepath.Join(dir, "cgroup.procs"))
	}
	return place, nil
}

func (h v1) stats(group string) (Stats, error) {
	dirs := h.dirs(group)
	r := reader{}
	s := Stats{
		Throttled: time.Duration(r.field(dirs[1], "cpu.stat", "throttled_time")),
		Memory:    r.number(dirs[0], "memory.usage_in_bytes") - r.field(dirs[0], "memory.stat", "total_inactive_file"),
		MemoryMax: r.number(dirs[0], "memory.limit_in_bytes"),
	}
	if s.MemoryMax > math.MaxInt64/2 { // the kernel's way to say none
		s.MemoryMax = 0
	}
	return s, r.err
}

// v2 has one tree. A group's children have the controllers that it hands down.
type v2 struct{ mountpoint string }

func (h v2) dirs(group string) []string { return []string{filepath.Join(h.mountpoint, group)} }

func (h v2) create(group string, own, inner Limits) error {
	dir := h.mountpoint
	for _, name := range strings.Split(group, "/") {
		if err := handDown(dir, Limits{
			MemoryBytes: max(own.MemoryBytes, inner.MemoryBytes), CPUShares: max(own.CPUShares, inner.CPUShares),
			CPUQuotaUS: max(own.CPUQuotaUS, inner.CPUQuotaUS),
		}); err != nil {
			return err
		}
		dir = filepath.Join(dir, name)
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as the kernel makes them
			return fmt.Errorf("make control group: %w", err)
		}
	}
	if err := handDown(dir, inner); err != nil {
		return err
	}
	var settings []setting
	if own.MemoryBytes > 0 {
		settings = append(settings, setting{"memory.max", strconv.FormatInt(own.MemoryBytes, 10)})
	}
	if own.CPUShares > 0 {
		settings = append(settings, setting{"cpu.weight", strconv.FormatInt(weight(own.CPUShares), 10)})
	}
	if own.CPUQuotaUS > 0 {
		settings = append(settings, setting{"cpu.max", fmt.Sprintf("%d %d", own.CPUQuotaUS, period)})
	}
	return write(dir, settings)
}

// weight turns v1's shares into v2's scale.
func weight(shares int64) int64 { return 1 + (shares-2)*9999/262142 }

// handDown lets the children of a group have the controllers that limits need.
func handDown(dir string, limits Limits) error {
	var wanted []string
	if limits.MemoryBytes > 0 {
		wanted = append(wanted, "memory")
	}
	if limits.CPUShares > 0 || limits.CPUQuotaUS > 0 {
		wanted = append(wanted, "cpu")
	}
	file := filepath.Join(dir, "cgroup.subtree_control")
	for _, controller := range wanted {
		present, _ := os.ReadFile(file)
		if strings.Contains(" "+strings.TrimSpace(string(present))+" ", " "+controller+" ") {
			continue
		}
		if err := os.WriteFile(file, []byte("+"+controller), 0o600); err != nil {
			return fmt.Errorf("hand the %s controller down: %w", controller, err)
		}
	}
	return nil
}

// place has the directory for the kernels that start a process right in its group;
// older ones, and containers that forbid it, move it there.
func (h v2) place(group string) (*process.Cgroup, error) {
	name := h.dirs(group)[0]
	dir, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	if process.StartsIn(dir) {
		return &process.Cgroup{Dir: dir}, nil
	}
	return &process.Cgroup{Procs: []string{filepath.Join(name, "cgroup.procs")}}, dir.Close()
}

func (h v2) stats(group string) (Stats, error) {
	dir := h.dirs(group)[0]
	r := reader{}
	return Stats{
		Throttled: time.Duration(r.field(dir, "cpu.stat", "throttled_usec")) * time.Microsecond,
		Memory:    r.number(dir, "memory.current") - r.field(dir, "memory.stat", "inactive_file"),
		MemoryMax: r.number(dir, "memory.max"),
	}, r.err
}

// reader reads a group's files and keeps the faults. A file that is not there, since
// its controller is not in use, is no fault and reads as 0.
type reader struct{ err error }

func (r *reader) read(dir, file string) string {
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.err = errors.Join(r.err, err)
	}
	return strings.TrimSpace(string(raw))
}

func (r *reader) parse(file, text string) int64 {
	if text == "" || text == "max" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("read %s of a control group: %w", file, err))
	}
	return n
}

func (r *reader) number(dir, file string) int64 { return r.parse(file, r.read(dir, file)) }

// field reads one line of a file of names and values.
func (r *reader) field(dir, file, name string) int64 {
	lines := bufio.NewScanner(strings.NewReader(r.read(dir, file)))
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return r.parse(file, value)
		}
	}
	return 0
}
