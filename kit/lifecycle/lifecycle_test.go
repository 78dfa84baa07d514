package lifecycle_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/lifecycle"
	"gitsplit/kit/logging"
)

// journal records what parts do, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (j *journal) part(name string) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		j.add("start " + name)
		ready()
		<-ctx.Done()
		j.add("stop " + name)
		return nil
	}}
}

func TestRun_order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		if err := lifecycle.Run(ctx, logging.Discard(), j.part("a"), j.part("b")); err != nil {
			t.Errorf("Run = %v", err)
		}
		if diff := cmp.Diff([]string{"start a", "start b", "stop b", "stop a"}, j.lines); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestRun_faults(t *testing.T) {
	t.Parallel()
	fail := func(err error) lifecycle.Part {
		return lifecycle.Part{Name: "bad", Run: func(context.Context, func()) error { return err }}
	}
	for _, tc := range []struct {
		name string
		bad  lifecycle.Part
		want string
	}{
		{"fails before it is ready", fail(io.ErrUnexpectedEOF), "bad: unexpected EOF"},
		{"ends early without an error", fail(nil), ""},
		{"panics", lifecycle.Part{Name: "bad", Run: func(context.Context, func()) error { panic("boom") }}, "bad: panic: boom"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			j := &journal{}
			err := lifecycle.Run(context.Background(), logging.Discard(), j.part("a"), tc.bad, j.part("never"))
			if got := errString(err); !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("Run = %q, want %q", got, tc.want)
			}
			if diff := cmp.Diff([]string{"start a", "stop a"}, j.lines); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestRun_graceIsABound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		release := make(chan struct{})
		stuck := lifecycle.Part{Name: "stuck", Grace: time.Second, Run: func(_ context.Context, ready func()) error {
			ready()
			<-release
			return nil
		}}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		ctx, cancelLater := context.WithTimeout(context.Background(), time.Minute)
		defer cancelLater()
		err := lifecycle.Run(ctx, logging.Discard(), j.part("a"), stuck)
		if !errors.Is(err, lifecycle.ErrGrace) || len(j.lines) != 2 {
			t.Errorf("Run = %v after %v", err, j.lines)
		}
		if err := lifecycle.Run(ended, logging.Discard(), j.part("late")); err != nil || len(j.lines) != 2 {
			t.Errorf("a part started although the context had ended: %v, %v", j.lines, err)
		}
		close(release)
	})
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- lifecycle.Run(ctx, logging.Discard(), lifecycle.HTTP("web", srv, ln, time.Minute))
	}()
	body := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + ln.Addr().String()) //nolint:noctx // the test's own server
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	}()
	<-entered
	cancel()
	close(release)
	if got := <-body; got != "done" {
		t.Errorf("a request in flight got %q", got)
	}
	if err := <-result; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestHTTP_cutsAfterGrace(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- lifecycle.Run(ctx, logging.Discard(), lifecycle.HTTP("web", srv, ln, time.Millisecond))
	}()
	go func() {
		if resp, err := http.Get("http://" + ln.Addr().String()); err == nil { //nolint:noctx // the test's own server
			_ = resp.Body.Close()
		}
	}()
	<-entered
	cancel()
	if err := <-result; err != nil {
		t.Errorf("Run = %v, want a clean stop after the cut", err)
	}
}
