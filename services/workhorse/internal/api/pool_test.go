package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/workhorse/internal/api"
)

const patience = 20 * time.Second

// rails is a rails-api on a socket, which remembers what reached it.
type rails struct {
	t      *testing.T
	name   string
	socket string
	answer http.HandlerFunc // nil is 200 with the name
	server *http.Server
	done   chan struct{}

	mu   sync.Mutex
	seen []string // method, and body
}

func startRails(t *testing.T, name string, answer http.HandlerFunc) *rails {
	t.Helper()
	f := &rails{t: t, name: name, socket: filepath.Join(t.TempDir(), "s"), answer: answer}
	f.start()
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *rails) start() {
	f.t.Helper()
	ln, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: patience}
	f.done = make(chan struct{})
	go func() {
		defer close(f.done)
		_ = f.server.Serve(ln)
	}()
}

func (f *rails) stop() {
	_ = f.server.Close()
	<-f.done
}

func (f *rails) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Errorf("%s: read the body: %v", f.name, err)
	}
	f.mu.Lock()
	f.seen = append(f.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	f.mu.Unlock()
	if f.answer != nil {
		f.answer(w, r)
		return
	}
	_, _ = io.WriteString(w, f.name)
}

// got returns what reached it, probes left out, and forgets it.
func (f *rails) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []string
	for _, s := range f.seen {
		if s != "GET /root/-/readiness" {
			got = append(got, s)
		}
	}
	f.seen = nil
	return got
}

// over returns a client of the rails-apis, whose first request goes to the second.
func over(t *testing.T, all ...*rails) *api.Client {
	t.Helper()
	o := api.Options{Backend: "http://x/root", HeaderTimeout: patience, ProbePause: time.Millisecond}
	for _, f := range all {
		o.Addresses = append(o.Addresses, "unix:"+f.socket)
	}
	c, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ask sends one request and returns the answer's status and body, or "error".
func ask(t *testing.T, c *api.Client, method, body string, change ...func(*http.Request)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var r io.Reader
	if body != "" {
		r = io.MultiReader(strings.NewReader(body)) // cannot be read twice
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://x/root/a", r)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	c.Address(req)
	res, err := c.Transport().RoundTrip(req)
	if err != nil {
		return "error"
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, text)
}

// TestTransport_rolling restarts one rails-api after the other: the first is back,
// though no probe has found that out yet, when the second goes.
func TestTransport_rolling(t *testing.T) {
	t.Parallel()
	one, two := startRails(t, "one", nil), startRails(t, "two", nil)
	c, err := api.New(api.Options{
		Backend: "http://x/root", HeaderTimeout: patience, ProbePause: time.Hour, Addresses: []string{"unix:" + one.socket, "unix:" + two.socket},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	alone := func(r *http.Request) { r.Close = true } // no connection is kept for the next
	one.stop()
	for range 2 {
		if got := ask(t, c, http.MethodPost, "b", alone); got != "200 two" {
			t.Errorf("while one is away: %s", got)
		}
	}
	one.start()
	two.stop()
	for range 2 {
		if got := ask(t, c, http.MethodPost, "b", alone); got != "200 one" {
			t.Errorf("while two is away: %s", got)
		}
	}
}

func say(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestPool_turns(t *testing.T) {
	t.Parallel()
	a, b, d := startRails(t, "a", nil), startRails(t, "b", nil), startRails(t, "d", nil)
	c := over(t, a, b, d)
	var got []string
	for range 6 {
		got = append(got, ask(t, c, "POST", "x"))
	}
	if diff := cmp.Diff([]string{"200 b", "200 d", "200 a", "200 b", "200 d", "200 a"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// What becomes of a request when the rails-api whose turn it is fails, and of the
// next one.
func TestPool_failures(t *testing.T) {
	t.Parallel()
	question := func(r *http.Request) { r.Header["Idempotency-Key"] = nil }
	claimed := func(r *http.Request) { r.Header.Set("Idempotency-Key", "x") }
	upgrade := func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }
	cases := []struct {
		name, method, body string
		change             func(*http.Request)
		bad                http.HandlerFunc // nil refuses connections
		want               string           // the answer
		bads, goods        []string         // what reached whom
		out                bool             // the next requests go to the good one
	}{
		{name: "refused", method: "GET", want: "200 good", goods: []string{"GET /root/a"}, out: true},
		{name: "refused with a body", method: "POST", body: "whole", want: "200 good", goods: []string{"POST /root/a whole"}, out: true},
		{name: "503 to what may be repeated", method: "GET", bad: say(503), want: "200 good", bads: []string{"GET /root/a"}, goods: []string{"GET /root/a"}, out: true},
		{name: "502 to a question", method: "POST", change: question, bad: say(502), want: "200 good", bads: []string{"POST /root/a"}, goods: []string{"POST /root/a"}, out: true},
		{name: "503 to a change", method: "POST", body: "x", bad: say(503), want: "503 ", bads: []string{"POST /root/a x"}, out: true},
		{name: "503 to a change without body", method: "DELETE", bad: say(503), want: "503 ", bads: []string{"DELETE /root/a"}, out: true},
		{name: "503 to a change that a client calls harmless", method: "POST", change: claimed, bad: say(503), want: "503 ", bads: []string{"POST /root/a"}, out: true},
		{name: "503 to an upgrade", method: "GET", change: upgrade, bad: say(503), want: "503 ", bads: []string{"GET /root/a"}, out: true},
		{name: "500 is an answer", method: "GET", bad: say(500), want: "500 ", bads: []string{"GET /root/a"}},
		{name: "hangs up on a read", method: "GET", bad: hangUp, want: "200 good", bads: []string{"GET /root/a"}, goods: []string{"GET /root/a"}},
		{name: "hangs up on a change", method: "POST", body: "x", bad: hangUp, want: "error", bads: []string{"POST /root/a x"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			good, bad := startRails(t, "good", nil), startRails(t, "bad", nil)
			bad.answer = func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/-/readiness") {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				tc.bad(w, r)
			}
			if tc.bad == nil {
				bad.stop()
			}
			c := over(t, good, bad)
			var change []func(*http.Request)
			if tc.change != nil {
				change = append(change, tc.change)
			}
			got := ask(t, c, tc.method, tc.body, change...)
			if diff := cmp.Diff([]any{tc.want, tc.bads, tc.goods}, []any{got, bad.got(), good.got()}); diff != "" {
				t.Errorf("answer and what reached the two (-want +got):\n%s", diff)
			}
			for range 4 {
				ask(t, c, "POST", "next")
			}
			if n := len(good.got()); (n == 4) != tc.out {
				t.Errorf("%d of the next 4 requests went to the good one; the bad one is out: %v", n, tc.out)
			}
		})
	}
}

// A rails-api that is out gets requests again once its readiness is good.
func TestPool_comesBack(t *testing.T) {
	t.Parallel()
	good, lost := startRails(t, "good", nil), startRails(t, "lost", nil)
	c := over(t, good, lost)
	lost.stop()
	for range 4 {
		if got := ask(t, c, "POST", "x"); got != "200 good" {
			t.Fatalf("answer %q", got)
		}
	}
	lost.start()
	for deadline := time.Now().Add(patience); ask(t, c, "GET", "") != "200 lost"; {
		if time.Now().After(deadline) {
			t.Fatal("it stays out")
		}
	}
}

// When no rails-api is well, each is tried: they may be so for one request only.
func TestPool_allOut(t *testing.T) {
	t.Parallel()
	one, two := startRails(t, "one", say(503)), startRails(t, "two", say(503))
	c := over(t, one, two)
	for range 3 {
		if got := ask(t, c, "GET", ""); got != "503 " {
			t.Errorf("answer %q", got)
		}
	}
	if n, m := len(one.got()), len(two.got()); n != 3 || m != 3 {
		t.Errorf("%d and %d requests, want 3 each", n, m)
	}
	one.stop()
	two.stop()
	if got := ask(t, c, "GET", ""); got != "error" {
		t.Errorf("answer %q", got)
	}
	if err := c.Check(t.Context()); err == nil {
		t.Error("Check finds a rails-api")
	}
	two.start()
	if got := ask(t, c, "POST", "x"); got != "503 " {
		t.Errorf("answer %q", got)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestNew_faults(t *testing.T) {
	t.Parallel()
	for _, o := range []api.Options{
		{Backend: "ftp://x"}, {Backend: "http://u:p@x"}, {Backend: "http://x?a"}, {Backend: "http://x", Socket: "/s", Addresses: []string{"x:1"}},
		{Backend: "http://x", Addresses: []string{"x:1", "nowhere"}},
	} {
		if _, err := api.New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
