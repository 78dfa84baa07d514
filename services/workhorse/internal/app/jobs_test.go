package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gitsplit/kit/config"
	"gitsplit/services/workhorse/internal/app"
)

// realRedis is a server of its own, which can be stopped and started again.
type realRedis struct {
	t      *testing.T
	socket string
	cmd    *exec.Cmd
	client *redis.Client
}

func startRedis(t *testing.T) *realRedis {
	t.Helper()
	dir, err := os.MkdirTemp("", "r") // a test's TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &realRedis{t: t, socket: filepath.Join(dir, "redis.sock")}
	r.client = redis.NewClient(&redis.Options{Network: "unix", Addr: r.socket, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = r.client.Close() })
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *realRedis) start() {
	r.t.Helper()
	r.cmd = exec.CommandContext(context.Background(), "redis-server", "--port", "0", "--unixsocket", r.socket, "--save", "")
	r.cmd.Dir = filepath.Dir(r.socket)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("Redis answers", func() bool { return r.client.Ping(r.t.Context()).Err() == nil })
}

func (r *realRedis) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func (r *realRedis) eventually(what string, is func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited too long: %s", what)
		}
	}
}

// set does what rails-api does when something happens to a runner's queue.
func (r *realRedis) set(token, value string) {
	r.t.Helper()
	_, err := r.client.Pipelined(r.t.Context(), func(p redis.Pipeliner) error {
		p.Set(r.t.Context(), "runner:build_queue:"+token, value, time.Hour)
		p.Publish(r.t.Context(), "workhorse:notifications:runner:build_queue:"+token, value)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// publish tells of a new value only: who has subscribed hears of it, whether or not
// it has read the old value yet.
func (r *realRedis) publish(token, value string) {
	r.t.Helper()
	if err := r.client.Publish(r.t.Context(), "workhorse:notifications:runner:build_queue:"+token, value).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// subscribed waits until as many runners' queues are watched.
func (r *realRedis) subscribed(n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d queues are watched", n), func() bool {
		return len(r.client.PubSubChannels(r.t.Context(), "workhorse:notifications:*").Val()) == n
	})
}

// withRedis runs workhorse with long polling; a wait ends after the test's patience
// only. rails-api says 201 and echoes the request.
func withRedis(t *testing.T, change func(*app.Config)) (*setup, *realRedis) {
	t.Helper()
	r := startRedis(t)
	s := start(t, func(c *app.Config) {
		c.Redis.URL = "unix:" + r.socket
		c.APICILongPollingDuration = config.Duration(2 * patience)
		if change != nil {
			change(c)
		}
	})
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		if int(r.ContentLength) != len(body) {
			t.Errorf("a body of %d bytes has Content-Length %d", len(body), r.ContentLength)
		}
		_, _ = fmt.Fprintf(w, "%s %s", r.Method, body)
	}
	s.at()
	s.connected(r)
	return s, r
}

// connected waits until workhorse holds runners back.
func (s *setup) connected(r *realRedis) {
	s.t.Helper()
	r.set("probe", "x")
	r.eventually("workhorse is connected to Redis", func() bool {
		ctx, cancel := context.WithCancel(s.t.Context())
		defer cancel()
		s.poll(ctx, "probe", "x")
		end := time.Now().Add(100 * time.Millisecond)
		for time.Now().Before(end) {
			if len(r.client.PubSubChannels(ctx, "workhorse:notifications:*").Val()) == 1 {
				return true
			}
		}
		return false
	})
	r.subscribed(0)
}

const jobsPath = "/api/v4/jobs/request"

// poll asks for a job and sends status and body of the answer, or "error".
func (s *setup) poll(ctx context.Context, token, lastUpdate string) <-chan string {
	s.t.Helper()
	answers := make(chan string, 1)
	body := fmt.Sprintf(`{"token":%q,"last_update":%q}`, token, lastUpdate)
	req, err := http.NewRequestWithContext(ctx, "POST", s.base()+jobsPath, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	c := client(s.t, "")
	c.Timeout = 2 * patience
	go func() {
		res, err := c.Do(req)
		if err != nil {
			answers <- "error"
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if res.Header.Get("Gitlab-Ci-Builds-Polling") != "yes" || res.StatusCode == 204 && res.Header.Get("X-GitLab-Last-Update") != "" {
			text = fmt.Append(text, res.Header)
		}
		answers <- fmt.Sprintf("%d %s", res.StatusCode, text)
	}()
	return answers
}

func (s *setup) answer(answers <-chan string, want string) {
	s.t.Helper()
	select {
	case got := <-answers:
		if got != want {
			s.t.Errorf("answer %q, want %q", got, want)
		}
	case <-time.After(patience):
		s.t.Fatalf("no answer, want %q", want)
	}
}

// A runner whose queue did not change waits; the others are passed on.
func TestJobRequest(t *testing.T) {
	t.Parallel()
	s, r := withRedis(t, nil)
	r.set("glrt-a", "one")
	s.answer(s.poll(t.Context(), "glrt-a", "zero"), `201 POST {"token":"glrt-a","last_update":"zero"}`)
	s.answer(s.poll(t.Context(), "glrt-unknown", "zero"), `201 POST {"token":"glrt-unknown","last_update":"zero"}`)
	s.answer(s.poll(t.Context(), "glrt-a", ""), `201 POST {"token":"glrt-a","last_update":""}`)

	waits := s.poll(t.Context(), "glrt-a", "one")
	also := s.poll(t.Context(), "glrt-a", "one")
	r.eventually("both wait", func() bool { return strings.HasSuffix(s.metric("keywatcher_keywatchers"), " 2\n") })
	r.subscribed(1)
	r.publish("glrt-b", "other")
	r.publish("glrt-a", "two")
	s.answer(waits, "204 ")
	s.answer(also, "204 ")
	r.subscribed(0)
	r.set("glrt-a", "two")

	same := s.poll(t.Context(), "glrt-a", "two")
	r.subscribed(1)
	r.publish("glrt-a", "two")
	s.answer(same, "204 ")

	empty := s.poll(t.Context(), "glrt-a", "two")
	r.subscribed(1)
	r.publish("glrt-a", "")
	s.answer(empty, `201 POST {"token":"glrt-a","last_update":"two"}`)

	r.set("glrt-a", "three")
	ctx, leave := context.WithCancel(t.Context())
	gone := s.poll(ctx, "glrt-a", "three")
	r.subscribed(1)
	leave()
	s.answer(gone, "error")
	r.subscribed(0)

	last := s.poll(t.Context(), "glrt-a", "three")
	r.subscribed(1)
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.answer(last, "204 ")
}

// Many runners, with values that change all the time: nobody waits for news that
// has passed.
func TestJobRequest_races(t *testing.T) {
	t.Parallel()
	s, r := withRedis(t, nil)
	var all sync.WaitGroup
	for i := range 8 {
		token := fmt.Sprintf("glrt-%d", i%4)
		r.set(token, "0")
		all.Go(func() {
			for n := range 20 {
				answer := s.poll(t.Context(), token, fmt.Sprint(n))
				r.set(token, fmt.Sprint(n+1))
				select {
				case <-answer:
				case <-time.After(patience):
					t.Errorf("%s waits for what comes after %d", token, n)
					return
				}
			}
		})
	}
	all.Wait()
	r.subscribed(0)
}

func TestJobRequest_timeout(t *testing.T) {
	t.Parallel()
	s, r := withRedis(t, func(c *app.Config) { c.APICILongPollingDuration = config.Duration(400 * time.Millisecond) })
	r.set("glrt-a", "one")
	s.answer(s.poll(t.Context(), "glrt-a", "one"), "204 ")
}

// Without Redis every request is passed on; who waits when it goes is let through.
func TestJobRequest_redisLost(t *testing.T) {
	t.Parallel()
	s, r := withRedis(t, nil)
	r.set("glrt-a", "one")
	passed := `201 POST {"token":"glrt-a","last_update":"one"}`
	waits := s.poll(t.Context(), "glrt-a", "one")
	r.subscribed(1)
	r.stop()
	s.answer(waits, passed)
	s.answer(s.poll(t.Context(), "glrt-a", "one"), passed)
	git(t, s.work(), "push", "-q", "origin", "main")
	r.start()
	s.connected(r)
	r.set("glrt-a", "one")
	waits = s.poll(t.Context(), "glrt-a", "one")
	r.subscribed(1)
	r.publish("glrt-a", "two")
	s.answer(waits, "204 ")
}

// What is not a runner's request goes to rails-api as it came.
func TestJobRequest_others(t *testing.T) {
	t.Parallel()
	s, _ := withRedis(t, func(c *app.Config) { c.ClientReadTimeout = config.Duration(300 * time.Millisecond) })
	padding := strings.Repeat("x", 32<<10)
	cases := []struct {
		name, method, contentType, body string
		status                          int
	}{
		{"other type", "POST", "text/plain", `{"token":"t","last_update":"x"}`, 201},
		{"no type", "POST", "", `{"token":"t","last_update":"x"}`, 201},
		{"no json", "POST", "application/json", `{`, 201},
		{"other types inside", "POST", "application/json", `{"token":7,"last_update":"x"}`, 201},
		{"list", "POST", "application/json", `[]`, 201},
		{"get", "GET", "", "", 201},
		{"at the limit", "POST", "application/json", padding, 201},
		{"over the limit", "POST", "application/json", padding + "x", 413},
	}
	for _, tc := range cases {
		res, got := s.do(tc.method, jobsPath, strings.NewReader(tc.body), "Content-Type", tc.contentType)
		want := tc.method + " " + tc.body
		if tc.status == 413 {
			want = "Request Entity Too Large\n"
		}
		if res.StatusCode != tc.status || got != want {
			t.Errorf("%s: %d %.80q, want %d %.80q", tc.name, res.StatusCode, got, tc.status, want)
		}
	}
	_, answer := rawExchange(t, s.at(), "POST "+jobsPath+" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
	if !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("half a body: %q", answer)
	}
}

// Requests that get through to rails-api are bounded.
func TestJobRequest_queue(t *testing.T) {
	t.Parallel()
	s, r := withRedis(t, func(c *app.Config) {
		c.APILimit, c.APIQueueLimit = 1, 1
		c.APIQueueDuration = config.Duration(2 * patience)
	})
	reached, release := make(chan struct{}), make(chan struct{})
	s.rails.proxied = func(w http.ResponseWriter, _ *http.Request) {
		reached <- struct{}{}
		<-release
		w.WriteHeader(http.StatusConflict)
	}
	first := s.poll(t.Context(), "glrt-a", "x")
	within(t, reached, "the first request")
	second := s.poll(t.Context(), "glrt-a", "x")
	r.eventually("the second request waits", func() bool { return strings.Contains(s.metric("queueing_waiting"), `} 1`) })
	s.answer(s.poll(t.Context(), "glrt-a", "x"), "429 Too Many Requests\n")
	r.set("glrt-b", "x")
	waits := s.poll(t.Context(), "glrt-b", "x") // takes no place
	r.subscribed(1)
	r.publish("glrt-b", "y")
	s.answer(waits, "204 ")
	close(release)
	s.answer(first, "409 ")
	within(t, reached, "the second request")
	s.answer(second, "409 ")
}
