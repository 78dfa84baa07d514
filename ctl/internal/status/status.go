// Package status is what the supervisor writes down about its processes, and what
// `gitsplit status` makes of it. The file is renewed with every change; how long a
// process has run and how much memory it has are looked up when asked.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gitsplit/ctl/internal/proc"
	"gitsplit/ctl/internal/supervise"
)

// Process is one supervised process.
type Process struct {
	Name     string          `json:"name"`
	Go       bool            `json:"go"` // one of ours; counts into the memory total
	State    supervise.State `json:"state"`
	PID      int             `json:"pid,omitempty"`
	Ticks    uint64          `json:"start_ticks,omitempty"`
	Started  time.Time       `json:"started,omitzero"`
	Restarts int             `json:"restarts"`
}

// Status is the content of the file.
type Status struct {
	PID       int       `json:"pid"` // of the supervisor
	Started   time.Time `json:"started"`
	URL       string    `json:"url"`
	HTTPSURL  string    `json:"https_url"`
	SSHURL    string    `json:"ssh_url"`
	Database  string    `json:"database"` // its data directory
	Sockets   string    `json:"sockets"`
	Processes []Process `json:"processes"`
}

// Board keeps the file up to date. Safe for concurrent use.
type Board struct {
	path string
	mu   sync.Mutex
	now  Status
}

// NewBoard writes the first status to path.
func NewBoard(path string, first Status) (*Board, error) {
	b := &Board{path: path, now: first}
	return b, b.write()
}

// Set notes a change.
func (b *Board) Set(e supervise.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.now.Processes {
		p := &b.now.Processes[i]
		if p.Name != e.Name {
			continue
		}
		p.State, p.PID, p.Started, p.Restarts, p.Ticks = e.State, e.PID, e.Started, e.Restarts, 0
		if e.PID != 0 {
			p.Ticks, _ = proc.StartTicks(e.PID) // gone already: 0 fits no process
		}
	}
	return b.write()
}

// write replaces the file in one step. It need not survive a power loss.
func (b *Board) write() error {
	text, err := json.MarshalIndent(b.now, "", "  ")
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	draft := b.path + ".new"
	if err := errors.Join(os.WriteFile(draft, append(text, '\n'), 0o600), os.Rename(draft, b.path)); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}

// Remove deletes the file; there is nothing to report any more.
func (b *Board) Remove() error { return os.Remove(b.path) }

// Read returns the status that was last written. The error is os.ErrNotExist if
// there is none.
func Read(path string) (Status, error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	var s Status
	if err := json.Unmarshal(text, &s); err != nil {
		return Status{}, fmt.Errorf("status %s: %w", path, err)
	}
	return s, nil
}

// Leftovers returns the processes that the status names as running.
func (s Status) Leftovers() []supervise.Leftover {
	var list []supervise.Leftover
	for _, p := range s.Processes {
		if p.PID != 0 {
			list = append(list, supervise.Leftover{Name: p.Name, PID: p.PID, StartTicks: p.Ticks})
		}
	}
	slices.Reverse(list) // stop in reverse
	return list
}
