package journal_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/journal"
	"gitsplit/services/gitaly/internal/storage"
)

// world is what a journal works with: the API, a repository's references, a disk.
type world struct {
	t   *testing.T
	st  *storage.Storage
	opt journal.Options

	mu       sync.Mutex
	posts    []string // "<id> <changes>" of what the API has taken
	answer   func(id string) error
	refs     map[string]string // nil: there is no repository
	looked   int
	outcomes []string
	failures int
	syncs    int
	files    map[*os.File]bool // that were synced
	disk     error             // of each sync
}

var errGone = errors.New("404")

func setup(t *testing.T) *world {
	t.Helper()
	st, err := storage.Open("default", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w := &world{t: t, st: st, refs: map[string]string{}, files: map[*os.File]bool{}, answer: func(string) error { return nil }}
	w.opt = journal.Options{
		API: w, References: w.references, Observer: w, Log: logging.Discard(), Now: time.Now,
		MaxUndelivered: 10, MaxBytes: 1 << 20, Patience: time.Minute, Sync: w.sync,
	}
	return w
}

func (w *world) PostReceive(ctx context.Context, p api.Push) ([]internalapi.Message, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(ctx.Err(), w.answer(p.ID)); err != nil {
		return nil, false, err
	}
	w.posts = append(w.posts, p.ID+" "+p.Changes)
	return []internalapi.Message{{Message: "about " + p.ID}}, true, nil
}

func (w *world) Refused(_ context.Context, err error) bool { return errors.Is(err, errGone) }

func (w *world) references(context.Context, string, string, []string) (map[string]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked++
	if w.refs == nil {
		return nil, errs.New(errs.NotFound, "repository not found")
	}
	return maps.Clone(w.refs), nil
}

func (w *world) JournalRecord(outcome string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, outcome)
}

func (w *world) JournalFailure() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures++
}

func (w *world) JournalWriteFailed() {}

func (w *world) sync(f *os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.syncs++
	w.files[f] = true
	return errors.Join(w.disk, f.Sync())
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.posts)
}

// open is a gitaly that starts; it ends without a word, as one that is killed does.
func (w *world) open() *journal.Journal {
	w.t.Helper()
	j, err := journal.Open(w.opt, w.st)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = j.Close() })
	return j
}

// Object ids, none of them.
var zero, a, b, c = strings.Repeat("0", 40), strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)

func moves(old, new, ref string) string { return old + " " + new + " refs/heads/" + ref + "\n" }

func push(id, changes string) api.Push {
	return api.Push{
		ID: id, RelativePath: "r.git", GLRepository: "project-1", GLID: "key-7", Protocol: "ssh", Changes: changes,
		Options: []string{"ci.skip"}, RemoteIP: "192.0.2.7",
	}
}

func (w *world) begin(j *journal.Journal, id, changes string) {
	w.t.Helper()
	if err := j.Begin(w.t.Context(), "default", push(id, changes)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantTaken(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.taken()); diff != "" {
		w.t.Errorf("the API has (-want +got):\n%s", diff)
	}
}

// run is a bubble in which a journal works in the background until the end of do.
func (w *world) run(do func(j *journal.Journal)) {
	w.t.Helper()
	j := w.open()
	ctx, cancel := context.WithCancel(w.t.Context())
	var background sync.WaitGroup
	background.Go(func() { j.Run(ctx) })
	do(j)
	cancel()
	background.Wait()
}

func all(string) bool { return true }

// await waits until the API has n reports.
func (w *world) await(n int) {
	for len(w.taken()) < n {
		<-time.After(time.Millisecond)
	}
}

// wantNext is the gitaly after a dead one: it runs until the API has what is wanted.
func (w *world) wantNext(want ...string) {
	w.t.Helper()
	w.run(func(*journal.Journal) { w.await(len(want)) })
	w.wantTaken(want...)
}
