package meter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Group counts the processor time of programs in a control group (cgroups(7), version
// 2), where one can be made. It is exact even for processes that nobody waits for:
// fcgiwrap ignores its children, and sshd leaves some behind. A nil Group counts
// nothing.
type Group struct{ dir, home string }

// NewGroup makes a group beside our own.
func NewGroup(name string) (*Group, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	m := regexp.MustCompile(`(?m)^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 `).FindSubmatch(mounts)
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	at := regexp.MustCompile(`(?m)^0::(.*)$`).FindSubmatch(own)
	if m == nil || at == nil {
		return nil, errors.New("no control groups of version 2")
	}
	home := filepath.Join(string(m[1]), string(at[1]))
	g := &Group{dir: filepath.Join(home, fmt.Sprintf("gsbench-%d-%s", os.Getpid(), name)), home: home}
	if err := os.Mkdir(g.dir, 0o755); err != nil { //nolint:gosec // as groups are
		return nil, err
	}
	if _, err := g.CPU(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Start runs start with this process in the group, so that what it starts is in it
// from its first moment. Not for concurrent use.
func (g *Group) Start(start func() error) error {
	if g == nil {
		return start()
	}
	if err := enter(g.dir); err != nil {
		return err
	}
	err := start()
	return errors.Join(err, enter(g.home))
}

func enter(dir string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}

// CPU is the processor time of everything that has ever run in the group.
func (g *Group) CPU() (time.Duration, error) {
	raw, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("no usage_usec in %s/cpu.stat", g.dir)
}

// Close removes the group; its processes have ended.
func (g *Group) Close() error {
	if g == nil {
		return nil
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the kernel takes a moment to let ended processes go
		if err := os.Remove(g.dir); err == nil || time.Now().After(end) {
			return err
		}
	}
}
