package journal_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/journal"
)

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
				w.await(1)
			})
			w.wantTaken("p1 " + tc.want)
			if w.looked != tc.looked {
				t.Errorf("%d looks at the references, want %d", w.looked, tc.looked)
			}
		})
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
