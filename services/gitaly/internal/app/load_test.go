package app_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/config"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/pktline"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// emptyPack has no objects: what a client sends whose commits are there already.
const emptyPack = "PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e"

// level is what a server at rest holds. It is of the whole process, so what measures
// it runs alone.
type level struct{ goroutines, children, descriptors int }

func (l load) measure(t *testing.T) level {
	t.Helper()
	l.hangUp() // connections to the internal API are kept for later
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return level{runtime.NumGoroutine(), len(children()), len(fds)}
}

func (l level) above(other level) bool {
	return l.goroutines > other.goroutines || l.children > other.children || l.descriptors > other.descriptors
}

// heldInput is a client's stdin that begins when the gate opens.
type heldInput struct {
	gate <-chan struct{}
	r    io.Reader
}

func (h heldInput) Read(p []byte) (int, error) {
	<-h.gate
	return h.r.Read(p)
}

// load is a gitaly under load.
type load struct {
	*bundle
	id   string // of the commit that everybody fetches and pushes
	gate chan struct{}
}

// clone fetches the commit as git does over SSH.
func (l load) clone(t *testing.T) error {
	stdin := heldInput{l.gate, strings.NewReader("0032want " + l.id + "\n00000009done\n")}
	var out, stderr bytes.Buffer
	err := gitalyclient.SSHUploadPack(t.Context(), l.conn, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)}, stdin, &out, &stderr)
	if err == nil && !bytes.Contains(out.Bytes(), []byte("0008NAK\nPACK\x00\x00\x00\x02\x00\x00\x00\x03")) {
		return fmt.Errorf("no pack of three objects: %q, %q", out.Bytes(), stderr.String())
	}
	return err
}

// push makes a branch at the commit.
func (l load) push(t *testing.T, branch string) error {
	var in, out, stderr bytes.Buffer
	err := pktline.Write(&in, fmt.Appendf(nil, "%040d %s refs/heads/%s\x00report-status", 0, l.id, branch))
	if err != nil {
		return err
	}
	in.WriteString("0000" + emptyPack)
	_, err = gitalyclient.SSHReceivePack(t.Context(), l.conn, &gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1"},
		heldInput{l.gate, &in}, &out, &stderr)
	if err == nil && !strings.Contains(out.String(), "ok refs/heads/"+branch+"\n") {
		return fmt.Errorf("no report: %q, %q", out.String(), stderr.String())
	}
	return err
}

// outcome counts how calls ended.
type outcome struct{ done, refused atomic.Int32 }

// count looks at the end of a call: it did its work, or was refused as documented.
func (o *outcome) count(t *testing.T, what string, err error) {
	if err == nil {
		o.done.Add(1)
		return
	}
	s := status.Convert(err)
	details := s.Details()
	var detail *gitalypb.LimitError
	if len(details) == 1 {
		detail, _ = details[0].(*gitalypb.LimitError)
	}
	if s.Code() != codes.ResourceExhausted || s.Message() != "maximum queue size reached" || detail.GetErrorMessage() != s.Message() || detail.GetRetryAfter() == nil {
		t.Errorf("%s: %v with %v", what, err, details)
	}
	o.refused.Add(1)
}

func startLoad(t *testing.T, alter ...func(*app.Config)) load {
	t.Helper()
	soon := func(c *app.Config) { c.PackObjectsCache.MaxAge = config.Duration(time.Second) } // until its files are closed
	b := setup(t, append(alter, soon)...)
	b.create(t, rel)
	c := b.client(t)
	l := load{bundle: b, id: c.commit(t, "a", "a"), gate: make(chan struct{})}
	c.git(t, "push", "-q", remote(rel), "main")
	return l
}

// settle waits until nothing is left of the calls.
func (l load) settle(t *testing.T, before level) {
	t.Helper()
	var now level
	eventually(t, "the level of the start", func() bool {
		now = l.measure(t)
		return !now.above(before)
	})
	if now.above(before) {
		t.Errorf("%+v, at the start %+v", now, before)
	}
}

// TestLoad sends 200 clones and 50 pushes at once to a gitaly with limits. Those that
// find no place are told so, the others wait and do their work, and at the end nothing
// is left of them.
func TestLoad(t *testing.T) { //nolint:paralleltest // it measures the whole process
	l := startLoad(t, func(c *app.Config) {
		c.Concurrency = []app.Concurrency{
			{RPC: "/gitaly.SSHService/SSHUploadPackWithSidechannel", ConcurrencyLimits: app.ConcurrencyLimits{MaxPerRepo: 10, MaxQueueSize: 50}},
			{RPC: "/gitaly.SSHService/SSHReceivePack", ConcurrencyLimits: app.ConcurrencyLimits{MaxConcurrency: 5, MaxQueueSize: 20}},
		}
	})
	before := l.measure(t)
	var clones, pushes outcome
	var calls sync.WaitGroup
	for range 200 {
		calls.Go(func() { clones.count(t, "clone", l.clone(t)) })
	}
	for i := range 50 {
		calls.Go(func() { pushes.count(t, "push", l.push(t, fmt.Sprintf("b%d", i))) })
	}
	eventually(t, "all have a turn, a place or a refusal", func() bool {
		return clones.refused.Load() == 200-60 && pushes.refused.Load() == 50-25
	})
	if n := len(children()); n > 10+5 {
		t.Errorf("%d processes for 10 clones and 5 pushes", n)
	}
	close(l.gate)
	calls.Wait()
	if clones.done.Load() != 60 || pushes.done.Load() != 25 {
		t.Errorf("%d clones and %d pushes did their work, want 60 and 25", clones.done.Load(), pushes.done.Load())
	}
	l.settle(t, before)
}

// TestLoad_defaults: with the limits that hold by default, 200 clones of one
// repository wait for each other and all succeed.
func TestLoad_defaults(t *testing.T) { //nolint:paralleltest // many processes at once
	l := startLoad(t)
	before := l.measure(t)
	var clones outcome
	var calls sync.WaitGroup
	for range 200 {
		calls.Go(func() { clones.count(t, "clone", l.clone(t)) })
	}
	eventually(t, "as many work as may", func() bool { return len(children()) == 128 })
	close(l.gate)
	calls.Wait()
	if clones.done.Load() != 200 {
		t.Errorf("%d clones did their work", clones.done.Load())
	}
	l.settle(t, before)
}
