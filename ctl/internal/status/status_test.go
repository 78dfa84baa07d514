package status_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/ctl/internal/proc"
	"gitsplit/ctl/internal/status"
	"gitsplit/ctl/internal/supervise"
)

func TestBoard(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "status.json")
	if _, err := status.Read(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read without a file: %v, want os.ErrNotExist", err)
	}
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	board, err := status.NewBoard(path, status.Status{PID: 7, Started: started, Processes: []status.Process{{Name: "redis"}, {Name: "gitaly", Go: true}}})
	if err != nil {
		t.Fatal(err)
	}
	pid := os.Getpid()
	event := supervise.Event{Name: "gitaly", State: supervise.Ready, PID: pid, Started: started, Restarts: 2}
	if err := board.Set(event); err != nil {
		t.Fatal(err)
	}
	got, err := status.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := proc.StartTicks(pid)
	if err != nil {
		t.Fatal(err)
	}
	want := []supervise.Leftover{{Name: "gitaly", PID: pid, StartTicks: ticks}}
	if diff := cmp.Diff(want, got.Leftovers()); diff != "" {
		t.Errorf("Leftovers (-want +got):\n%s", diff)
	}
	if got.AllReady() {
		t.Error("all is ready, though redis is not")
	}
	if err := board.Remove(); err != nil {
		t.Fatal(err)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := status.Status{PID: 7, Started: now.Add(-time.Hour), URL: "http://h:1", HTTPSURL: "https://h:3", SSHURL: "ssh://git@h:2", Database: "/d", Sockets: "/s",
		Processes: []status.Process{
			{Name: "redis", State: supervise.Ready, PID: 8, Started: now.Add(-time.Minute)},
			{Name: "gitaly", Go: true, State: supervise.Ready, PID: 9, Started: now.Add(-time.Second), Restarts: 3},
			{Name: "sidekiq", Go: true, State: supervise.Backoff, Restarts: 4},
		}}
	var out strings.Builder
	if err := s.Render(&out, now, func(pid int) (int64, error) { return int64(pid) << 20, nil }); err != nil {
		t.Fatal(err)
	}
	want := `PROCESS   STATE    PID  RESTARTS  UPTIME  MIB
gitsplit  ready    7    0         1h0m0s  7.0
redis     ready    8    0         1m0s    8.0
gitaly    ready    9    3         1s      9.0
sidekiq   backoff  -    4         -       -

resident memory of the Go processes: 16.0 MiB
database: /d
sockets: /s
HTTP: http://h:1
HTTPS: https://h:3
SSH: ssh://git@h:2
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRead_broken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "status.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := status.Read(path); err == nil {
		t.Error("a broken file was read")
	}
}
