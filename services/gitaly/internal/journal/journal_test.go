package journal_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
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

// TestJournal: a push that goes well costs one sync and one report; its end finds
// nothing to do.
func TestJournal(t *testing.T) {
	t.Parallel()
	w := setup(t)
	j := w.open()
	changes := moves(zero, a, "main\xff")
	w.begin(j, "p1", changes)
	messages, lowered, err := j.Deliver(t.Context(), "p1", changes)
	if len(messages) != 1 || messages[0].Message != "about p1" || !lowered || err != nil {
		t.Errorf("Deliver = %v, %v, %v", messages, lowered, err)
	}
	j.End(t.Context(), "p1", all)
	w.wantTaken("p1 " + changes)
	if w.syncs != 1 || w.looked != 0 {
		t.Errorf("%d syncs, %d looks at the references", w.syncs, w.looked)
	}
	if diff := cmp.Diff([]string{"delivered"}, w.outcomes); diff != "" {
		t.Error(diff)
	}
}

// TestJournal_settled: what the next gitaly makes of what a dead one has left.
func TestJournal_settled(t *testing.T) {
	t.Parallel()
	two := moves(a, b, "main") + moves(zero, a, "new")
	type step func(w *world, j *journal.Journal)
	begin := func(id, changes string) step { return func(w *world, j *journal.Journal) { w.begin(j, id, changes) } }
	later := func(id, changes string) step { // the references have moved, the API is down
		return func(w *world, j *journal.Journal) {
			w.set(func() { w.answer = func(string) error { return errors.New("down") } })
			if _, _, err := j.Deliver(w.t.Context(), id, changes); !errors.Is(err, journal.ErrLater) {
				w.t.Errorf("Deliver = %v", err)
			}
			w.set(func() { w.answer = func(string) error { return nil } })
		}
	}
	for _, tc := range []struct {
		name  string
		steps []step
		refs  map[string]string // as the next gitaly finds them
		want  []string
	}{
		{"nothing begun", nil, nil, nil},
		{"died before a reference moved", []step{begin("p1", two)}, map[string]string{"main": a}, []string{"p1 "}},
		{"died after all had moved", []step{begin("p1", two)}, map[string]string{"main": b, "new": a}, []string{"p1 " + two}},
		{"died between two references", []step{begin("p1", two)}, map[string]string{"main": b}, []string{"p1 " + moves(a, b, "main")}},
		{"died after a deletion", []step{begin("p1", moves(a, zero, "old"))}, map[string]string{}, []string{"p1 " + moves(a, zero, "old")}},
		{"died before a deletion", []step{begin("p1", moves(a, zero, "old"))}, map[string]string{"old": a}, []string{"p1 "}},
		{"died in the report", []step{begin("p1", two), later("p1", two)}, map[string]string{"main": c}, []string{"p1 " + two}},
		{"died in the report of a part", []step{begin("p1", two), later("p1", moves(zero, a, "new"))}, map[string]string{"main": b},
			[]string{"p1 " + moves(zero, a, "new")}},
		{"two after each other", []step{begin("p1", moves(a, b, "main")), begin("p2", moves(b, c, "main"))}, map[string]string{"main": c},
			[]string{"p1 " + moves(a, b, "main"), "p2 " + moves(b, c, "main")}},
		{"two for one", []step{begin("p1", moves(a, b, "main")), begin("p2", moves(a, c, "main"))}, map[string]string{"main": b},
			[]string{"p1 " + moves(a, b, "main"), "p2 "}},
		{"two alike", []step{begin("p1", moves(a, b, "main")), begin("p2", moves(a, b, "main"))}, map[string]string{"main": b},
			[]string{"p1 ", "p2 " + moves(a, b, "main")}},
		{"there and back", []step{begin("p1", moves(a, b, "main")), begin("p2", moves(b, a, "main"))}, map[string]string{"main": a},
			[]string{"p1 " + moves(a, b, "main"), "p2 " + moves(b, a, "main")}},
		{"before one that is known", []step{begin("p1", moves(a, b, "main")), begin("p2", moves(b, c, "main")), func(w *world, j *journal.Journal) {
			ctx, cancel := context.WithCancel(w.t.Context())
			cancel() // it would wait for the end of p1
			_, _, _ = j.Deliver(ctx, "p2", moves(b, c, "main"))
		}}, map[string]string{"main": c}, []string{"p1 " + moves(a, b, "main"), "p2 " + moves(b, c, "main")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			dead := w.open()
			for _, step := range tc.steps {
				step(w, dead)
			}
			w.refs = map[string]string{}
			for name, oid := range tc.refs {
				w.refs["refs/heads/"+name] = oid
			}
			next := w.open()
			next.Settle(t.Context(), "default", "other.git") // somebody else's concern
			next.Settle(t.Context(), "default", "r.git")
			w.set(func() { w.refs = map[string]string{} }) // served again, it changes
			ctx, cancel := context.WithCancel(t.Context())
			var background sync.WaitGroup
			background.Go(func() { next.Run(ctx) })
			for len(w.taken()) < len(tc.want) {
				<-time.After(time.Millisecond)
			}
			cancel()
			background.Wait()
			w.wantTaken(tc.want...)
			if left := w.open().State()["default"]; left.Undelivered != 0 || !left.Oldest.IsZero() {
				t.Errorf("left: %+v", left)
			}
		})
	}
}

// TestJournal_repositoryGone: a record whose repository is gone goes, too.
func TestJournal_repositoryGone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	j := w.open()
	w.begin(j, "p1", moves(a, zero, "main"))
	w.refs = nil
	w.run(func(next *journal.Journal) {
		for len(w.taken()) < 1 {
			<-time.After(time.Millisecond)
		}
	})
	w.wantTaken("p1 ")
}

// TestJournal_end: how a push under our eyes ends without its post-receive hook.
func TestJournal_end(t *testing.T) {
	t.Parallel()
	changes := moves(a, b, "main") + moves(zero, a, "new")
	for _, tc := range []struct {
		name   string
		moved  func(ref string) bool
		refs   map[string]string
		want   string
		looked int
	}{
		{"git said all", all, nil, changes, 0},
		{"git said one", func(ref string) bool { return ref == "refs/heads/new" }, nil, moves(zero, a, "new"), 0},
		{"git said none", func(string) bool { return false }, map[string]string{"refs/heads/main": b}, "", 0},
		{"git said nothing", nil, map[string]string{"refs/heads/main": b}, moves(a, b, "main"), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.refs = tc.refs
			w.run(func(j *journal.Journal) {
				w.begin(j, "p1", changes)
				j.End(t.Context(), "p1", tc.moved)
				for len(w.taken()) < 1 {
					<-time.After(time.Millisecond)
				}
			})
			w.wantTaken("p1 " + tc.want)
			if w.looked != tc.looked {
				t.Errorf("%d looks at the references, want %d", w.looked, tc.looked)
			}
		})
	}
}

// TestJournal_retries: reports are sent again with growing pauses until the API has
// them, those of one repository in order, and others meanwhile.
func TestJournal_retries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		w.answer = func(id string) error {
			if id == "other" {
				return nil
			}
			return errors.New("down")
		}
		w.run(func(j *journal.Journal) {
			other := push("other", moves(zero, a, "x"))
			other.RelativePath = "other.git"
			for _, p := range []api.Push{push("p1", moves(zero, a, "main")), push("p2", moves(a, b, "main")), other} {
				if err := j.Begin(t.Context(), "default", p); err != nil {
					t.Fatal(err)
				}
				if _, _, err := j.Deliver(t.Context(), p.ID, p.Changes); (err == nil) != (p.ID == "other") || err != nil && !errors.Is(err, journal.ErrLater) {
					t.Errorf("%s: %v", p.ID, err)
				}
				j.End(t.Context(), p.ID, all)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			w.wantTaken("other " + moves(zero, a, "x"))
			if w.failures < 12 || w.failures > 60 { // every 15 to 45 s in the end
				t.Errorf("%d attempts in 10 minutes", w.failures)
			}
			if s := j.State()["default"]; s.Undelivered != 2 || time.Since(s.Oldest) < 10*time.Minute {
				t.Errorf("state %+v", s)
			}
			w.set(func() { w.answer = func(string) error { return nil } })
			time.Sleep(time.Minute)
			synctest.Wait()
			w.wantTaken("other "+moves(zero, a, "x"), "p1 "+moves(zero, a, "main"), "p2 "+moves(a, b, "main"))
		})
	})
}

// TestJournal_order: a push that is done before the one that came before it on the
// same branch is reported after it; the user of another branch does not wait.
func TestJournal_order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		j := w.open()
		w.begin(j, "p1", moves(a, b, "main"))
		w.begin(j, "p2", moves(b, c, "main"))
		w.begin(j, "p3", moves(zero, c, "else"))
		var second sync.WaitGroup
		second.Go(func() {
			if messages, _, err := j.Deliver(t.Context(), "p2", moves(b, c, "main")); err != nil || messages[0].Message != "about p2" {
				t.Errorf("p2: %v, %v", messages, err)
			}
		})
		synctest.Wait()
		w.wantTaken([]string(nil)...)
		if messages, _, err := j.Deliver(t.Context(), "p1", moves(a, b, "main")); err != nil || messages[0].Message != "about p1" {
			t.Errorf("p1: %v, %v", messages, err)
		}
		second.Wait()
		if _, _, err := j.Deliver(t.Context(), "p3", moves(zero, c, "else")); err != nil {
			t.Error(err)
		}
		w.wantTaken("p1 "+moves(a, b, "main"), "p2 "+moves(b, c, "main"), "p3 "+moves(zero, c, "else"))
	})
}

// TestJournal_refused: a report that the API refuses for good is not sent for ever.
func TestJournal_refused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.answer = func(string) error { return errGone }
	j := w.open()
	w.begin(j, "p1", moves(zero, a, "main"))
	if _, _, err := j.Deliver(t.Context(), "p1", moves(zero, a, "main")); !errors.Is(err, errGone) {
		t.Errorf("err = %v", err)
	}
	if diff := cmp.Diff([]string{"refused"}, w.outcomes); diff != "" || w.open().State()["default"].Undelivered != 0 {
		t.Errorf("outcomes: %s", diff)
	}
}

// TestJournal_forget: a push that the API did not count leaves nothing.
func TestJournal_forget(t *testing.T) {
	t.Parallel()
	w := setup(t)
	j := w.open()
	w.begin(j, "p1", moves(zero, a, "main"))
	j.Forget(t.Context(), "p1")
	j.End(t.Context(), "p1", nil)
	w.open().Settle(t.Context(), "default", "r.git")
	if w.looked != 0 {
		t.Error("the references were looked at")
	}
}

// TestJournal_full: beyond its bounds the journal refuses pushes, and takes them again
// when there is room.
func TestJournal_full(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.opt.MaxUndelivered, w.opt.MaxBytes = 2, 4000
	down := errors.New("down")
	w.answer = func(string) error { return down }
	j := w.open()
	for _, id := range []string{"p1", "p2"} {
		w.begin(j, id, moves(zero, a, id))
		if _, _, err := j.Deliver(t.Context(), id, moves(zero, a, id)); !errors.Is(err, journal.ErrLater) {
			t.Errorf("%s: %v", id, err)
		}
	}
	const text = "Too many pushes wait to be processed, so your push was refused. Nothing was changed. Push again later, or tell your administrator."
	if err := j.Begin(t.Context(), "default", push("p3", moves(zero, a, "x"))); errs.KindOf(err) != errs.Exhausted || errs.Message(err) != text {
		t.Errorf("third push: %v", err)
	}
	w.answer = func(string) error { return nil }
	w.opt.MaxUndelivered = 100
	j = w.open()
	if err := j.Begin(t.Context(), "default", push("p4", strings.Repeat(moves(zero, a, "x"), 60))); errs.Message(err) != text {
		t.Errorf("long push: %v", err)
	}
	w.begin(j, "p5", moves(zero, a, "x"))
	if _, _, err := j.Deliver(t.Context(), "p5", moves(zero, a, "x")); err != nil {
		t.Error(err)
	}
	w.wantTaken("p1 "+moves(zero, a, "p1"), "p2 "+moves(zero, a, "p2"), "p5 "+moves(zero, a, "x"))
}

// TestJournal_diskFails: what could not be synced is refused, and not tried again in
// the same file: the next push is in a new one, with what was in the old one.
func TestJournal_diskFails(t *testing.T) {
	t.Parallel()
	w := setup(t)
	j := w.open()
	w.begin(j, "p1", moves(zero, a, "one"))
	log := filepath.Join(w.st.Own(), journal.Dir, "log")
	before, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.disk = syscall.EIO })
	const text = "The server cannot write to its disk, so your push was refused. Nothing was changed. Push again later, or tell your administrator."
	for _, id := range []string{"p2", "p3"} {
		if err := j.Begin(t.Context(), "default", push(id, moves(zero, a, "x"))); errs.KindOf(err) != errs.Unavailable || errs.Message(err) != text {
			t.Errorf("%s: %v", id, err)
		}
	}
	w.set(func() { w.disk = nil })
	w.begin(j, "p4", moves(zero, a, "four"))
	if after, err := os.Stat(log); err != nil || os.SameFile(before, after) {
		t.Errorf("still in the old file: %v", err)
	}
	w.refs = map[string]string{"refs/heads/one": a, "refs/heads/four": a}
	w.run(func(*journal.Journal) {
		for len(w.taken()) < 2 {
			<-time.After(time.Millisecond)
		}
	})
	w.wantTaken("p1 "+moves(zero, a, "one"), "p4 "+moves(zero, a, "four"))
}

// TestJournal_file: half a line at the end, as a crash leaves it, goes; a damaged one
// hides no other; a file that is mostly done with is written anew.
func TestJournal_file(t *testing.T) {
	t.Parallel()
	w := setup(t)
	j := w.open()
	w.begin(j, "p1", moves(zero, a, "one"))
	w.begin(j, "p2", moves(zero, a, "two"))
	w.begin(j, "p3", moves(zero, a, "three"))
	log := filepath.Join(w.st.Own(), journal.Dir, "log")
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(raw), "\n")
	lines[1] = "0" + lines[1][1:len(lines[1])-3] + "x\n"
	if err := errors.Join(os.WriteFile(log, []byte(strings.Join(lines, "")+lines[0][:40]), 0o600), os.WriteFile(log+".new", raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.refs = map[string]string{"refs/heads/one": a, "refs/heads/two": a, "refs/heads/three": a}
	w.run(func(j *journal.Journal) {
		for len(w.taken()) < 2 {
			<-time.After(time.Millisecond)
		}
		for i := range 100 {
			id := fmt.Sprint("q", i)
			w.begin(j, id, strings.Repeat(moves(zero, a, "x"), 200))
			j.Forget(t.Context(), id)
		}
	})
	w.wantTaken("p1 "+moves(zero, a, "one"), "p3 "+moves(zero, a, "three"))
	if info, err := os.Stat(log); err != nil || info.Size() > 2<<20 {
		t.Errorf("the file has %d bytes: %v", info.Size(), err)
	}
	if _, err := os.Stat(log + ".new"); !os.IsNotExist(err) {
		t.Errorf("temporary file is left: %v", err)
	}
}

// TestJournal_muchWaits: what waits for the API is not written anew with each push that
// ends, though it takes more room in the file than in memory.
func TestJournal_muchWaits(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.opt.MaxUndelivered = 100
	w.answer = func(string) error { return errors.New("down") }
	j := w.open()
	for i := range 10 {
		p := push(fmt.Sprint("p", i), moves(zero, a, fmt.Sprint(i)))
		p.Options = slices.Repeat([]string{strings.Repeat("<", 1000)}, 50)
		if err := j.Begin(t.Context(), "default", p); err != nil {
			t.Fatal(err)
		}
		if _, _, err := j.Deliver(t.Context(), p.ID, p.Changes); !errors.Is(err, journal.ErrLater) {
			t.Errorf("Deliver = %v", err)
		}
	}
	var pushes sync.WaitGroup
	for n := range 4 {
		pushes.Go(func() {
			for i := range 50 {
				id := fmt.Sprint("q", n, "-", i)
				w.begin(j, id, moves(zero, a, "x"))
				j.Forget(t.Context(), id)
			}
		})
	}
	pushes.Wait()
	if len(w.files) > 3 {
		t.Errorf("the file was written anew %d times", len(w.files)-1)
	}
	if n := w.open().State()["default"].Undelivered; n != 10 {
		t.Errorf("%d reports wait", n)
	}
}

// TestJournal_closed: a push that outlives its gitaly does not write into the journal,
// which is the next one's.
func TestJournal_closed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	j := w.open()
	w.begin(j, "p1", moves(zero, a, "one"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	next := w.open()
	w.begin(next, "p2", moves(zero, a, "two"))
	for _, id := range []string{"p3", "p4"} {
		if err := j.Begin(t.Context(), "default", push(id, moves(zero, a, "x"))); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("%s: %v", id, err)
		}
	}
	j.Forget(t.Context(), "p1")
	w.refs = map[string]string{"refs/heads/one": a, "refs/heads/two": a}
	w.run(func(*journal.Journal) {
		for len(w.taken()) < 2 {
			<-time.After(time.Millisecond)
		}
	})
	w.wantTaken("p1 "+moves(zero, a, "one"), "p2 "+moves(zero, a, "two"))
}

// TestJournal_together: pushes at the same time share syncs.
func TestJournal_together(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.opt.MaxUndelivered = 1000
	j := w.open()
	var pushes sync.WaitGroup
	for i := range 100 {
		pushes.Go(func() {
			id, changes := fmt.Sprint("p", i), moves(zero, a, fmt.Sprint(i))
			if err := j.Begin(t.Context(), "default", push(id, changes)); err != nil {
				t.Error(err)
			}
			if _, _, err := j.Deliver(t.Context(), id, changes); err != nil {
				t.Error(err)
			}
		})
	}
	pushes.Wait()
	if len(w.taken()) != 100 || w.syncs > 100 {
		t.Errorf("%d reports, %d syncs", len(w.taken()), w.syncs)
	}
}
