package app_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/app"
	"gitsplit/services/gitaly/internal/journal"
	"gitsplit/services/gitaly/internal/storage"
)

// reports are the bodies of post_receive so far, as "<push_id> <changes>".
func (f *fakeAPI) reports() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for i, asked := range f.asked {
		if strings.HasPrefix(asked, "/post_receive ") {
			list = append(list, fmt.Sprint(f.bodies[i]["push_id"], " ", f.bodies[i]["changes"]))
		}
	}
	return list
}

// counted are the push ids of pre_receive so far.
func (f *fakeAPI) counted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for i, asked := range f.asked {
		if strings.HasPrefix(asked, "/pre_receive ") {
			list = append(list, fmt.Sprint(f.bodies[i]["push_id"]))
		}
	}
	return list
}

const zeroOID = "0000000000000000000000000000000000000000"

// TestJournal_apiDown: a push whose report fails is done all the same, and reported,
// once gitaly has been started again and the API is back, under the same id.
func TestJournal_apiDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	b.api.postRecv = reply(503, `{"message":"down"}`)
	c := b.client(t)
	one := c.commit(t, "a", "a")
	out := c.git(t, "push", remote(rel), "main")
	if !strings.Contains(out, "remote: Your push is done and safe, but") || !strings.Contains(out, "[new branch]") {
		t.Errorf("push:\n%s", out)
	}
	two := c.commit(t, "b", "b")
	c.git(t, "push", remote(rel), "main")
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	asked := len(b.api.reports())
	b.api.set(func() { b.api.postRecv = nil })
	b.start(t)
	// The last question of the first gitaly may come when that has ended.
	after := func() []string { return slices.Compact(b.api.reports()[asked:]) }
	eventually(t, "both are reported", func() bool { return len(after()) == 2 })
	ids := b.api.counted()
	want := []string{
		ids[0] + " " + zeroOID + " " + one + " refs/heads/main\n",
		ids[1] + " " + one + " " + two + " refs/heads/main\n",
	}
	if diff := cmp.Diff(want, after()); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if len(ids[0]) != 32 || ids[0] == ids[1] {
		t.Errorf("ids %q", ids)
	}
}

// TestJournal_nothingMoved: a push that an update hook refuses lowers the counter that
// pre_receive has raised.
func TestJournal_nothingMoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	install := exec.CommandContext(t.Context(), "install", "-D", "-m", "0700", "/dev/stdin", filepath.Join(dir, "custom_hooks/update"))
	install.Stdin = strings.NewReader("#!/bin/sh\n[ $1 = refs/heads/main ]\n")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := b.client(t)
	id := c.commit(t, "a", "a")
	if out, err := c.try(t, "push", remote(rel), "main:other"); err == nil {
		t.Errorf("push past the hook:\n%s", out)
	}
	eventually(t, "the counter is lowered", func() bool { return len(b.api.reports()) == 1 })
	_, _ = c.try(t, "push", remote(rel), "main", "main:other") // one of two
	ids := b.api.counted()
	want := []string{ids[0] + " ", ids[1] + " " + zeroOID + " " + id + " refs/heads/main\n"}
	if diff := cmp.Diff(want, b.api.reports()); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

// TestJournal_hookKilled: what a push has moved is reported also if its post-receive
// hook never gets to it.
func TestJournal_hookKilled(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *app.Config) { c.BinDir = faultyHooks(t) })
	b.create(t, rel)
	c := b.client(t)
	id := c.commit(t, "a", "a")
	c.git(t, "push", remote(rel), "main")
	eventually(t, "it is reported", func() bool { return len(b.api.reports()) == 1 })
	want := b.api.counted()[0] + " " + zeroOID + " " + id + " refs/heads/main\n"
	if got := b.api.reports()[0]; got != want {
		t.Errorf("reported %q, want %q", got, want)
	}
}

// faultyHooks has a gitaly-hooks whose post-receive dies at once.
func faultyHooks(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "install", "-m", "0700", "/dev/stdin", filepath.Join(dir, "gitaly-hooks"))
	install.Stdin = strings.NewReader("#!/bin/bash\n[ ${0##*/} != post-receive ] || kill -9 $$\nexec -a \"$0\" " + hooksDir + "/gitaly-hooks \"$@\"\n")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// TestJournal_full: when too much waits for the API, pushes are refused with a sentence,
// and the metrics show what waits.
func TestJournal_full(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	b := setup(t, func(c *app.Config) { c.Journal.MaxUndelivered, c.PrometheusListenAddr = 1, addr })
	b.create(t, rel)
	b.api.postRecv = reply(500, `{"message":"down"}`)
	c := b.client(t)
	c.commit(t, "a", "a")
	c.git(t, "push", remote(rel), "main")
	c.commit(t, "b", "b")
	out, err := c.try(t, "push", remote(rel), "main")
	if err == nil || !strings.Contains(out, "remote: GitLab: Too many pushes wait to be processed, so your push was refused. Nothing was changed.") {
		t.Errorf("second push: %v\n%s", err, out)
	}
	metrics := scrape(t, addr)
	for _, want := range []string{
		`gitaly_push_journal_undelivered{storage="default"} 1`, `gitaly_push_journal_oldest_undelivered_seconds{storage="default"} `,
		`gitaly_push_journal_records_total{outcome="delivered"} 0`, "gitaly_push_journal_delivery_failures_total ", "gitaly_push_journal_write_failures_total 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	b.api.set(func() { b.api.postRecv = nil })
	eventually(t, "the first is reported", func() bool {
		return strings.Contains(scrape(t, addr), `gitaly_push_journal_undelivered{storage="default"} 0`)
	})
	c.git(t, "push", remote(rel), "main")
}

// TestPush_notDurable: when a directory cannot be synced after the references have
// moved, the client is not told that the push is done, the event is sent all the same,
// and the repository is checked.
func TestPush_notDurable(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	b := setup(t, func(c *app.Config) { c.PrometheusListenAddr = addr })
	dir := b.create(t, rel)
	c := b.client(t)
	id := c.commit(t, "a", "a")
	// A process that nobody has looked at: its directory is new when it is looked at, and
	// cannot be synced, as no directory of /proc can.
	other := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	if err := os.Symlink(fmt.Sprintf("/proc/%d/task", other.Process.Pid), filepath.Join(dir, "reftable")); err != nil {
		t.Fatal(err)
	}
	if out, err := c.try(t, "push", remote(rel), "main"); err == nil {
		t.Errorf("the push succeeded:\n%s", out)
	}
	eventually(t, "the push is reported", func() bool { return len(b.api.reports()) == 1 })
	if want := b.api.counted()[0] + " " + zeroOID + " " + id + " refs/heads/main\n"; b.api.reports()[0] != want {
		t.Errorf("reported %q, want %q", b.api.reports()[0], want)
	}
	eventually(t, "the repository is marked", func() bool { return strings.Contains(b.log.String(), "repository is marked for a check") })
	eventually(t, "the repository is found well", func() bool {
		metrics := scrape(t, addr)
		return strings.Contains(metrics, `gitaly_repositories_to_check{storage="default"} 0`) &&
			strings.Contains(metrics, `gitaly_housekeeping_tasks_total{housekeeping_task="fsck",status="success"} 1`)
	})
}

// TestJournal_gitalyKilled: SIGKILL for gitaly in the middle of a push that it has
// accepted; the next one finds out what has moved, and tells the API.
func TestJournal_gitalyKilled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		moved bool // before gitaly dies
	}{{"before a reference moved", false}, {"after it moved", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := prepare(t)
			arrived, release := make(chan struct{}, 1), make(chan struct{})
			hang := func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
			if tc.moved {
				b.api.postRecv = hang
			} else {
				b.api.preRecv = hang
			}
			kill := b.child(t)
			b.create(t, rel)
			c := b.client(t)
			id := c.commit(t, "a", "a")
			cmd, _ := c.startPush(t, "main")
			<-arrived
			kill()
			_ = cmd.Wait()
			close(release)
			asked := len(b.api.reports())
			b.api.set(func() { b.api.preRecv, b.api.postRecv = nil, nil })
			b.start(t)
			b.connect(t)
			eventually(t, "it is settled and reported", func() bool { return len(b.api.reports()) == asked+1 })
			want := b.api.counted()[0] + " "
			if tc.moved {
				want += zeroOID + " " + id + " refs/heads/main\n"
			}
			if got := b.api.reports()[asked]; got != want {
				t.Errorf("reported %q, want %q", got, want)
			}
			c.git(t, "push", "-q", remote(rel), "main", "main:next")
		})
	}
}

// BenchmarkPush is a small push over the RPC of SSH, git on both sides; BenchmarkPush_journal
// is what the journal adds to it (CONTRIBUTING.md).
func BenchmarkPush(b *testing.B) {
	x := setup(b)
	x.create(b, rel)
	c := x.client(b)
	for i := range b.N {
		b.StopTimer()
		c.commit(b, "a", fmt.Sprint(i))
		b.StartTimer()
		c.git(b, "push", "-q", remote(rel), "main")
	}
}

// nobody is an API that takes everything, and measures nothing.
type nobody struct{}

func (nobody) PostReceive(context.Context, api.Push) ([]internalapi.Message, bool, error) {
	return nil, true, nil
}
func (nobody) Refused(context.Context, error) bool { return false }
func (nobody) JournalRecord(string)                {}
func (nobody) JournalFailure()                     {}
func (nobody) JournalWriteFailed()                 {}

func BenchmarkPush_journal(b *testing.B) {
	st, err := storage.Open("default", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	j, err := journal.Open(journal.Options{
		API: nobody{}, Observer: nobody{}, Log: logging.Discard(), Now: time.Now, MaxUndelivered: 1, MaxBytes: 1 << 20, Patience: time.Second,
	}, st)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = j.Close(), st.Close() })
	changes := zeroOID + " " + strings.Repeat("1", 40) + " refs/heads/main\n"
	for i := range b.N {
		id := fmt.Sprint(i)
		if err := j.Begin(b.Context(), "default", api.Push{ID: id, RelativePath: rel, Changes: changes}); err != nil {
			b.Fatal(err)
		}
		if _, _, err := j.Deliver(b.Context(), id, changes); err != nil {
			b.Fatal(err)
		}
		j.End(b.Context(), id, nil)
	}
}
