package journal_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/journal"
)

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
