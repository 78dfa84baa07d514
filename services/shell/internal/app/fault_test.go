package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"gitsplit/kit/internalapi"
	"gitsplit/proto/go/gitalypb"
)

const gitalyDown = "The git server, Gitaly, is not available at this time. Please contact your administrator."

func TestFault_apiDown(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.api.Answer(allowedPath, http.StatusServiceUnavailable, `{"message":"secret detail"}`)
	got := w.ssh(t, "git@127.0.0.1", "git-upload-pack a")
	if diff := cmp.Diff(result{1, "", box("Internal API unreachable")}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("ssh (-want +got):\n%s", diff)
	}
	hits := w.api.Hits(allowedPath)
	if len(hits) != 3 || hits[0].Token != hits[2].Token {
		t.Errorf("%d attempts, want 3 with the same token", len(hits))
	}
}

// While the API is down nobody can log in, and nobody learns why.
func TestFault_apiDownAtLogin(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.api.Answer(internalapi.PathAuthorizedKeys, http.StatusBadGateway, "<html>")
	if got := w.ssh(t, "git@127.0.0.1"); got != denied("git") {
		t.Errorf("ssh: got %+v", got)
	}
	w.api.Handle(internalapi.PathAuthorizedKeys, w.authorizedKeys)
	if got := w.ssh(t, "-T", "git@127.0.0.1"); got.exit != 0 {
		t.Errorf("ssh after the API is back: %+v", got)
	}
}

func TestFault_apiSlow(t *testing.T) {
	t.Parallel()
	w := start(t, "http_settings:\n  read_timeout: 100ms\n")
	w.api.Handle(allowedPath, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	got := w.ssh(t, "git@127.0.0.1", "git-receive-pack a")
	if diff := cmp.Diff(result{1, "", box("Internal API unreachable")}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("ssh (-want +got):\n%s", diff)
	}
}

// A client that leaves while the API thinks must not keep the request going.
func TestFault_clientGoneDuringAccessCheck(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	asked, cancelled := make(chan struct{}), make(chan struct{})
	w.api.Handle(allowedPath, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(cancelled)
	})
	client := exec.Command("ssh", append(w.sshArgs(w.key), "git@127.0.0.1", "git-upload-pack a")...)
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the access check", asked)
	_ = client.Process.Kill()
	await(t, "the access check to be cancelled", cancelled)
	_ = client.Wait()
}

func await(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited too long for %s", what)
	}
}

func TestFault_gitalyDown(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"git-upload-pack", "git-receive-pack", "git-upload-archive"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			w := start(t, "")
			w.gitaly.Stop()
			got := w.ssh(t, "git@127.0.0.1", verb+" a")
			if diff := cmp.Diff(result{1, "", box(gitalyDown)}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("ssh (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFault_gitalyAnswers(t *testing.T) {
	t.Parallel()
	busy, err := status.New(codes.Unavailable, "maximum queue size reached").WithDetails(
		&gitalypb.LimitError{ErrorMessage: "maximum queue size reached", RetryAfter: durationpb.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		answer     error
	}{
		{"message of a status", box("repository not found"), status.Error(codes.NotFound, "repository not found")},
		{"git failed", "", status.Error(codes.Internal, "cmd wait: exit status 128")},
		{"unavailable", box(gitalyDown), status.Error(codes.Unavailable, "connection reset")},
		{"busy", box("GitLab is currently unable to handle this request due to load."), busy.Err()},
		{"queue full", box("maximum queue size reached"), status.Error(codes.ResourceExhausted, "maximum queue size reached")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range []string{"git-upload-pack", "git-receive-pack"} {
				w := start(t, "")
				w.gitaly.Override(func(context.Context) error { return tc.answer })
				got := w.ssh(t, "git@127.0.0.1", verb+" a")
				if diff := cmp.Diff(result{1, "", tc.want}, got, cmp.AllowUnexported(result{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", verb, diff)
				}
			}
		})
	}
}

// TestFault_retryPolicy: what the API says about repeating counts, in place of the default.
func TestFault_retryPolicy(t *testing.T) {
	t.Parallel()
	const full = "maximum queue size reached"
	for policy, want := range map[string]struct {
		calls int32
		text  string
	}{
		"": {1, full},
		`{"maxAttempts":3,"initialBackoff":"0.001s","maxBackoff":"0.002s","backoffMultiplier":1.5,"retryableStatusCodes":["RESOURCE_EXHAUSTED"]}`: {3, full},
		`{"maxAttempts":0}`: {0, "Internal error."},
	} {
		w := start(t, "")
		var calls atomic.Int32
		w.gitaly.Override(func(context.Context) error { calls.Add(1); return status.Error(codes.ResourceExhausted, full) })
		answer := w.allowed()
		answer.RetryConfig = json.RawMessage(policy)
		w.api.Answer(allowedPath, http.StatusOK, answer)
		got := w.ssh(t, "git@127.0.0.1", "git-upload-pack a")
		if calls.Load() != want.calls || got.exit != 1 || !strings.Contains(got.stderr, want.text) {
			t.Errorf("policy %q: %d calls, %+v", policy, calls.Load(), got)
		}
	}
}

// hang makes every RPC wait for its end; started and ended tell about it.
func (w *world) hang() (started, ended chan struct{}) {
	started, ended = make(chan struct{}), make(chan struct{})
	w.gitaly.Override(func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	return started, ended
}

func TestFault_gitalyKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"git-upload-pack", "git-receive-pack"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			w := start(t, "")
			started, _ := w.hang()
			got := make(chan result, 1)
			go func() { got <- w.ssh(t, "git@127.0.0.1", verb+" a") }()
			await(t, "the relay", started)
			w.gitaly.Stop()
			if diff := cmp.Diff(result{1, "", box(gitalyDown)}, <-got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("ssh (-want +got):\n%s", diff)
			}
		})
	}
}

// A gitaly that is back before the call is given up must not leave the user
// without a word.
func TestFault_gitalyRestartedInMidClone(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	client := exec.Command("ssh", append(w.sshArgs(w.key), "git@127.0.0.1", "git-upload-pack a")...)
	_, err := client.StdinPipe() // open, and silent: git waits
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	client.Stderr = &stderr
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.gitaly.Stop()
	w.gitaly.Start(t)
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := client.Wait(); err == nil || stderr.String() != box(gitalyDown) {
		t.Errorf("ssh: %v, stderr %q", err, &stderr)
	}
}

// Guarantee: a client that dies takes its RPC with it, at once.
func TestFault_clientKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"git-upload-pack", "git-receive-pack", "git-upload-archive"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			w := start(t, "")
			started, ended := w.hang()
			client := exec.Command("ssh", append(w.sshArgs(w.key), "git@127.0.0.1", verb+" a")...)
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, "the relay", started)
			killed := time.Now()
			_ = client.Process.Kill()
			await(t, "the RPC to be cancelled", ended)
			if took := time.Since(killed); took > 2*time.Second {
				t.Errorf("cancelled after %v", took)
			}
			_ = client.Wait()
			if line := w.log.await(t, "access"); line["exit_status"] != 1.0 {
				t.Errorf("access line: %v", line)
			}
		})
	}
}

// A client that stops reading in the middle of a clone and then dies.
func TestFault_clientKilledInMidClone(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	work := t.TempDir()
	w.git(t, "", "clone", "-q", w.repo, work)
	junk := make([]byte, 32<<20)
	for i, x := 0, uint32(1); i < len(junk); i++ {
		x = x*1664525 + 1013904223
		junk[i] = byte(x >> 24)
	}
	if err := os.WriteFile(filepath.Join(work, "junk"), junk, 0o600); err != nil {
		t.Fatal(err)
	}
	w.git(t, work, "add", ".")
	w.git(t, work, "commit", "-q", "-m", "junk")
	w.git(t, work, "push", "-q", "origin", "main")
	head := strings.TrimSpace(w.git(t, work, "rev-parse", "HEAD"))

	client := exec.Command("ssh", append(w.sshArgs(w.key), "git@127.0.0.1", "git-upload-pack a")...)
	client.Stdin = strings.NewReader("0032want " + head + "\n00000009done\n")
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1000)); err != nil { // git's pack follows; nobody reads it
		t.Fatal(err)
	}
	_ = client.Process.Kill()
	_ = client.Wait()
	line := w.log.await(t, "access")
	if sent := line["bytes_out"].(float64); line["exit_status"] != 1.0 || sent >= float64(len(junk)) {
		t.Errorf("access line: %v", line)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	w := start(t, "  grace_period: 1s\n")
	started, ended := w.hang()
	got := make(chan result, 1)
	go func() { got <- w.ssh(t, "git@127.0.0.1", "git-receive-pack a") }()
	await(t, "the relay", started)
	w.awaitStatus(t, "/start", http.StatusOK)
	for _, path := range []string{"/health", "/-/readiness", "/-/liveness"} {
		if code := w.get(t, path); code != http.StatusOK {
			t.Errorf("%s while serving: %d, want 200", path, code)
		}
	}
	w.stop()
	w.awaitStatus(t, "/start", http.StatusServiceUnavailable)
	if code := w.get(t, "/health"); code != 200 {
		t.Errorf("/health while stopping: %d", code)
	}
	await(t, "the RPC to be cancelled", ended)
	want := result{1, "", box("The SSH server is being stopped. Please try again in a moment.")}
	if diff := cmp.Diff(want, <-got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("ssh (-want +got):\n%s", diff)
	}
	if err := <-w.stopped; err != nil {
		t.Errorf("daemon: %v", err)
	}
}

func (w *world) awaitStatus(t *testing.T, path string, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.get(t, path) != want; {
		if time.Now().After(deadline) {
			t.Fatalf("%s never answered %d", path, want)
		}
	}
}

func (w *world) get(t *testing.T, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.web+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
