package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/journal"
)

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
	w.wantNext("p1 "+moves(zero, a, "one"), "p4 "+moves(zero, a, "four"))
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
		w.await(2)
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
	w.wantNext("p1 "+moves(zero, a, "one"), "p2 "+moves(zero, a, "two"))
}
