package journal_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"gitsplit/services/gitaly/internal/journal"
)

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
			w.await(len(tc.want))
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
	w.wantNext("p1 ")
}
