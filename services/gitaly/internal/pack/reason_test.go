package pack

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// machine is a Git on a machine that is short of memory, or not.
type machine bool

func (machine) Run(context.Context, *gitcmd.Repo, gitcmd.Spec) error { return errors.ErrUnsupported }
func (m machine) OutOfMemory(time.Time) bool                         { return bool(m) }

func TestBands(t *testing.T) {
	t.Parallel()
	const (
		allocation = "\x02fatal: Out of memory, malloc failed\n"
		refused    = "\x02error resource exhausted, please try again later\n"
		guess      = "\x03" + corrupt + "\x00"
	)
	padded := func(text string) string { return "\x03" + text + strings.Repeat(" ", len(corrupt)+1-len(text)) }
	note := "\x02error: " + gitcmd.ShortOfMemory + "\n"
	for _, tc := range []struct {
		name     string
		short    machine
		in, want string
	}{
		{"good", true, pkt("NAK\n", "\x01PACK", "0000"), pkt("NAK\n", "\x01PACK", "0000")},
		{"really corrupt", false, pkt("\x01PA", guess), pkt("\x01PA", guess)},
		{"killed by the kernel", true, pkt("\x01PA", guess), pkt("\x01PA", padded(gitcmd.ShortOfMemory))},
		{"no memory given", false, pkt(allocation, guess), pkt(allocation, padded(gitcmd.ShortOfMemory))},
		{"limit", false, pkt(refused, guess), pkt(refused, padded(busy))},
		{"another fatal message", true, pkt("\x03fatal: no"), pkt("\x03fatal: no")},
		{"text in the pack", true, pkt("\x01" + guess), pkt("\x01" + guess)},
		{"no packets", true, "PACK" + pkt(guess), "PACK" + pkt(guess)},
		{"push", true, pkt("\x01000eunpack ok\n", "0000"), pkt("\x01000eunpack ok\n", "0000")},
		{"failed push", true, pkt("\x010023unpack index-pack abnormal exit\n", "0000"), pkt("\x010023unpack index-pack abnormal exit\n", note, "0000")},
		{"failed push for another reason", false, pkt("\x010011unpack bad\n", "0000"), pkt("\x010011unpack bad\n", "0000")},
	} {
		for _, size := range []int{1, 3, 7, 1000} {
			var out bytes.Buffer
			b := &bands{w: &out, reason: newReason(tc.short)}
			for chunk := range slices.Chunk([]byte(tc.in), size) {
				before := bytes.Clone(chunk)
				if n, err := b.Write(chunk); n != len(chunk) || err != nil || !bytes.Equal(chunk, before) {
					t.Fatalf("%s: wrote %d of %d, %v", tc.name, n, len(chunk), err)
				}
			}
			if out.String() != tc.want {
				t.Errorf("%s in chunks of %d: %q, want %q", tc.name, size, out.String(), tc.want)
			}
		}
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	if max(len(busy), len(gitcmd.ShortOfMemory)) > len(corrupt) {
		t.Error("a reason is longer than what it replaces")
	}
	var out bytes.Buffer
	r := newReason(machine(true))
	w := r.stderr(&out)
	_, _ = w.Write([]byte(strings.Repeat("x", 2*saidLimit)))
	if len(r.said) > saidLimit {
		t.Errorf("keeps %d bytes", len(r.said))
	}
	out.Reset()
	line := "fatal: git upload-pack: " + corrupt + "\n"
	if n, err := w.Write([]byte(line)); n != len(line) || err != nil || out.String() != "fatal: git upload-pack: "+gitcmd.ShortOfMemory+"\n" {
		t.Errorf("stderr %q, %d, %v", out.String(), n, err)
	}
	if r.stderr(nil) != nil {
		t.Error("a stderr out of nothing")
	}
	died := &gitcmd.Error{Code: 128, Err: errors.New("exit status 128")}
	if err := r.explain(died); errs.KindOf(err) != errs.Exhausted || errs.Message(err) != gitcmd.ShortOfMemory {
		t.Errorf("err = %v", err)
	}
	if err := newReason(machine(false)).explain(died); !errors.Is(err, died) || errs.KindOf(err) != errs.Internal {
		t.Errorf("err = %v", err)
	}
	if err := r.explain(nil); err != nil {
		t.Errorf("err = %v", err)
	}
}

func FuzzBands(f *testing.F) {
	f.Add([]byte(pkt("\x02x", "\x01y", "0000")))
	f.Add([]byte("zzzz"))
	f.Add([]byte(pkt("\x03" + corrupt + "\x00")))
	f.Add([]byte("00040005x0006\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		b := &bands{w: &out, reason: newReason(machine(false))}
		for chunk := range slices.Chunk(in, 3) {
			if n, err := b.Write(chunk); n != len(chunk) || err != nil {
				t.Fatal(n, err)
			}
		}
		if len(b.head) > 5 || len(b.start) > 16 {
			t.Errorf("holds %q and %q", b.head, b.start)
		}
		if !bytes.Contains(in, []byte("resource exhausted")) && !bytes.Contains(in, []byte("memory")) && !bytes.Equal(out.Bytes(), in) {
			t.Errorf("changed the output: %q", out.Bytes())
		}
	})
}

// A hook can be killed while pre-receive still decides: the record that it makes then
// has nobody else to end it.
func TestService_Judged_afterTheEnd(t *testing.T) {
	t.Parallel()
	ended := &endings{}
	s := New(Options{Journal: ended})
	_, _, done := s.shield(t.Context(), "alive")
	s.Judged(t.Context(), "alive")
	if len(ended.ids) != 0 {
		t.Errorf("the record of a push that runs is ended: %q", ended.ids)
	}
	done()
	s.Judged(t.Context(), "alive")
	if !slices.Equal(ended.ids, []string{"alive"}) {
		t.Errorf("ended: %q", ended.ids)
	}
}

// endings is a journal that notes whose end it is told.
type endings struct{ ids []string }

func (e *endings) End(_ context.Context, id string, _ func(string) bool) { e.ids = append(e.ids, id) }
