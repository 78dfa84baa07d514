package sshd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/services/shell/internal/session"
)

func TestServer_sessionRequests(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	sess := newSession(t, s.dial(t))
	for _, tc := range []struct {
		name, request string
		payload       []byte
		want          bool
	}{
		{"pty", "pty-req", gossh.Marshal(struct {
			Term       string
			A, B, C, D uint32
			Modes      string
		}{"xterm", 80, 24, 0, 0, ""}), false},
		{"subsystem", "subsystem", gossh.Marshal(struct{ Name string }{"sftp"}), false},
		{"x11", "x11-req", nil, false},
		{"agent", "auth-agent-req@openssh.com", nil, false},
		{"other variable", "env", gossh.Marshal(struct{ N, V string }{"LD_PRELOAD", "/tmp/x"}), false},
		{"malformed env", "env", []byte{1}, false},
		{"malformed exec", "exec", []byte{0, 0, 0, 9, 'x'}, false},
		{"oversized protocol", "env", gossh.Marshal(struct{ N, V string }{"GIT_PROTOCOL", strings.Repeat("x", 300)}), false},
		{"protocol that is not UTF-8", "env", gossh.Marshal(struct{ N, V string }{"GIT_PROTOCOL", "\xff"}), false},
		{"protocol", "env", gossh.Marshal(struct{ N, V string }{"GIT_PROTOCOL", "version=2"}), true},
		{"unknown", "nonsense", nil, false},
	} {
		ok, err := sess.SendRequest(tc.request, true, tc.payload)
		if err != nil || ok != tc.want {
			t.Errorf("%s: got %v (%v), want %v", tc.name, ok, err, tc.want)
		}
	}
	out, err := sess.Output("x")
	if want := `key=7 line="x" protocol="version=2"`; err != nil || string(out) != want {
		t.Errorf("command after the refusals: got %q (%v), want %q", out, err, want)
	}
}

func TestServer_shell(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	sess := newSession(t, s.dial(t))
	var out bytes.Buffer
	sess.Stdout = &out
	if err := errors.Join(sess.Shell(), sess.Wait()); err != nil {
		t.Fatalf("shell: %v", err)
	}
	if want := `key=7 line="" protocol=""`; out.String() != want {
		t.Errorf("shell: got %q, want %q", &out, want)
	}
}

func TestServer_envLimit(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	sess := newSession(t, s.dial(t))
	for range 16 {
		_ = sess.Setenv("X", "y")
	}
	if err := sess.Setenv("GIT_PROTOCOL", "version=2"); err == nil {
		t.Error("the 17th variable was accepted")
	}
}

func TestServer_oneCommandPerSession(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	s := start(t, hold(causes), nil)
	sess := newSession(t, s.dial(t))
	if err := sess.Start("first"); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{"exec", "shell", "env", "subsystem"} {
		ok, err := sess.SendRequest(request, true, gossh.Marshal(struct{ A, B string }{"GIT_PROTOCOL", "x"}))
		if err != nil || ok {
			t.Errorf("%s while the command runs: got %v (%v)", request, ok, err)
		}
	}
	sess.Close()
	_ = await(t, "the end of the session", causes)
}

func TestServer_exitStatus(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(func(_ context.Context, req session.Request) (int, error) {
		in, _ := io.ReadAll(req.Stdin)
		fmt.Fprintf(req.Stdout, "out:%s", in)
		fmt.Fprint(req.Stderr, "err")
		return 128, nil
	}), nil)
	sess := newSession(t, s.dial(t))
	var out, notices bytes.Buffer
	sess.Stdin, sess.Stdout, sess.Stderr = strings.NewReader("in"), &out, &notices
	err := sess.Run("x")
	exit, ok := errors.AsType[*gossh.ExitError](err)
	if !ok || exit.ExitStatus() != 128 || out.String() != "out:in" || notices.String() != "err" {
		t.Errorf("got %v, stdout %q, stderr %q", err, &out, &notices)
	}
	line := accessLine(t, s.log.String())
	for key, want := range map[string]any{
		"service": "gitlab-sshd", "exit_status": 128.0, "bytes_in": 2.0, "bytes_out": 9.0, "key_id": "7",
	} {
		if line[key] != want {
			t.Errorf("access line: %s is %v, want %v", key, line[key], want)
		}
	}
	for _, key := range []string{"correlation_id", "started_at", "duration_ms", "handshake_ms", "key_ms", "remote_addr"} {
		if line[key] == nil || line[key] == "" {
			t.Errorf("access line: no %s in %v", key, line)
		}
	}
}

// The login belongs to the first session of a connection.
func TestServer_phasesOfTheLoginOnce(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	client := s.dial(t)
	for range 2 {
		if _, err := newSession(t, client).Output("x"); err != nil {
			t.Fatal(err)
		}
	}
	log := s.log.String()
	if n, m := strings.Count(log, `"msg":"access"`), strings.Count(log, `"handshake_ms"`); n != 2 || m != 1 {
		t.Errorf("%d access lines, %d with the handshake; want 2 and 1", n, m)
	}
}

func accessLine(t *testing.T, log string) map[string]any {
	t.Helper()
	for l := range strings.Lines(log) {
		var line map[string]any
		if err := json.Unmarshal([]byte(l), &line); err != nil {
			t.Fatalf("log line %q: %v", l, err)
		}
		if line["msg"] == "access" {
			return line
		}
	}
	t.Fatalf("no access line in %s", log)
	return nil
}

func TestServer_panicStaysInItsSession(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(func(ctx context.Context, req session.Request) (int, error) {
		if req.Line == "panic" {
			panic("broken")
		}
		return whoami(ctx, req)
	}), nil)
	client := s.dial(t)
	err := newSession(t, client).Run("panic")
	if exit, ok := errors.AsType[*gossh.ExitError](err); !ok || exit.ExitStatus() != 1 {
		t.Errorf("session that panics: got %v, want exit status 1", err)
	}
	if _, err := newSession(t, client).Output("x"); err != nil {
		t.Errorf("next session of the connection: %v", err)
	}
	if !strings.Contains(s.log.String(), `"msg":"panic"`) {
		t.Error("the panic is not in the log")
	}
}
