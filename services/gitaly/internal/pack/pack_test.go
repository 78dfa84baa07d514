package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
)

func pkt(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if l == "0000" || l == "0001" {
			b.WriteString(l)
		} else {
			fmt.Fprintf(&b, "%04x%s", len(l)+4, l)
		}
	}
	return b.String()
}

func TestNegotiation(t *testing.T) {
	t.Parallel()
	oid := strings.Repeat("a", 40)
	in := pkt("want "+oid+" multi_ack ofs-delta\n", "want "+oid+"\n", "shallow "+oid+"\n", "deepen 3\n", "filter blob:none\n", "0000",
		"have "+oid+"\n", "have "+oid+"\n", "0000", "done\n", "have ignored\n")
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
		n, done := newNegotiation(r), 0
		n.onDone(func() { done++ })
		out, err := io.ReadAll(n)
		if err != nil || string(out) != in {
			t.Errorf("%s: passed on %q, %v", name, out, err)
		}
		s := n.statistics()
		if done != 1 || s.Packets != 9 || s.Wants != 2 || s.Haves != 2 || s.Shallows != 1 || s.Deepen != "deepen 3" || s.Filter != "blob:none" ||
			!slices.Equal(s.Caps, []string{"multi_ack", "ofs-delta"}) || s.PayloadSize != int64(len(in)-len("0000")*2-7*4-7-len(pkt("done\n", "have ignored\n"))) {
			t.Errorf("%s: done %d, statistics %v", name, done, s)
		}
	}
}

func TestNegotiation_archive(t *testing.T) {
	t.Parallel()
	n, done := newNegotiation(strings.NewReader(pkt("argument HEAD\n", "0000"))), false
	n.endsWithFlush = true
	n.onDone(func() { done = true })
	if _, err := io.ReadAll(n); err != nil || !done {
		t.Errorf("done %v, %v", done, err)
	}
}

func FuzzNegotiation(f *testing.F) {
	f.Add([]byte(pkt("want x\n", "0000", "done\n")))
	f.Add([]byte("ffff"))
	f.Add([]byte("0003zzzz"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n := newNegotiation(bytes.NewReader(in))
		if out, err := io.ReadAll(n); err != nil || !bytes.Equal(out, in) {
			t.Errorf("changed the input: %q, %v", out, err)
		}
		if len(n.buf) > maxLine {
			t.Errorf("holds %d bytes", len(n.buf))
		}
	})
}

// synced reports, for each write, whether the gate had synced before passing it.
type recorder struct {
	g    *gate
	out  bytes.Buffer
	when []bool
}

func (r *recorder) Write(p []byte) (int, error) {
	r.when = append(r.when, r.g.synced)
	return r.out.Write(p)
}

func newGate(t testing.TB) *recorder {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "refs/heads"), 0o700), os.MkdirAll(filepath.Join(dir, "objects/pack"), 0o700)); err != nil {
		t.Fatal(err)
	}
	r := &recorder{g: &gate{report: newReport(), repo: dir, since: time.Now()}}
	r.g.w = r
	return r
}

// keepAlive is what git sends while it works for long: an empty packet in the
// report's band.
const keepAlive = "0005\x01"

func TestGate(t *testing.T) {
	t.Parallel()
	advertisement := pkt(strings.Repeat("a", 40)+" refs/heads/main\x00report-status\n", "0000")
	progress := pkt("\x02Unpacking\n") + keepAlive
	for _, tc := range []struct {
		name, before, report string
	}{
		{"side-band", advertisement + progress, pkt("\x01000eunpack ok\n") + "0000"},
		{"no side-band", advertisement, pkt("unpack ok\n", "ok refs/heads/main\n", "0000")},
		{"over HTTP", progress, pkt("\x01000eunpack ok\n")},
	} {
		r := newGate(t)
		for _, b := range []byte(tc.before + tc.report) { // the hardest way to see it
			if _, err := r.g.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if r.out.String() != tc.before+tc.report {
			t.Errorf("%s: passed on %q", tc.name, r.out.String())
		}
		if slices.Contains(r.when[:len(tc.before)], true) || !r.when[len(r.when)-1] {
			t.Errorf("%s: synced at %v", tc.name, r.when)
		}
		if first := slices.Index(r.when, true); tc.report[0:4] != "" && first > len(tc.before)+len("0000unpack ") {
			t.Errorf("%s: %d bytes of the report passed before the sync", tc.name, first-len(tc.before))
		}
	}
}

func TestGate_failure(t *testing.T) {
	t.Parallel()
	r := newGate(t)
	if err := os.RemoveAll(r.g.repo); err != nil {
		t.Fatal(err)
	}
	if _, err := r.g.Write([]byte(pkt("\x01ok"))); err != nil { // a removed repository has nothing to lose
		t.Errorf("err = %v", err)
	}
}

func FuzzGate(f *testing.F) {
	f.Add([]byte(pkt("\x02x", "\x01y", "0000")))
	f.Add([]byte("zzzz"))
	f.Add([]byte("0004unpack "))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newGate(t)
		for chunk := range slices.Chunk(in, 3) {
			if _, err := r.g.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(r.out.Bytes(), in) {
			t.Errorf("changed the output: %q", r.out.Bytes())
		}
		if len(r.g.head) > len("0000")+len(reportStart) {
			t.Errorf("holds %d bytes", len(r.g.head))
		}
	})
}

func TestShield(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Log: logging.Discard(), FinishTimeout: time.Minute})
		caller, leave := context.WithCancel(t.Context())
		_, ctx, done := s.shield(caller, "one")
		leave()
		synctest.Wait()
		if ctx.Err() == nil || errs.KindOf(s.Accept("one")) != errs.Canceled {
			t.Error("a push whose client left is accepted")
		}
		done()

		caller, leave = context.WithCancel(t.Context())
		sh, ctx, done := s.shield(caller, "two")
		defer done()
		if err := s.Accept("two"); err != nil {
			t.Fatal(err)
		}
		leave()
		synctest.Wait()
		w := sh.writer(brokenWriter{})
		if _, err := w.Write([]byte("x")); ctx.Err() != nil || err != nil {
			t.Errorf("accepted push is ended with its client: %v, %v", ctx.Err(), err)
		}
		time.Sleep(time.Minute) // of the bubble's clock
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("an accepted push may take for ever")
		}
		if err := s.Accept("unknown"); err != nil {
			t.Error(err)
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
