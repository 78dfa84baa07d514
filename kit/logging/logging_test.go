package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
)

func line(t *testing.T, buf *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(buf.Bytes(), &m); err != nil {
		t.Fatalf("log line %q: %v", buf, err)
	}
	return m
}

func TestNew(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	log, err := logging.New(&buf, logging.Options{Service: "gitaly"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := correlation.With(context.Background(), "abc")
	log.DebugContext(ctx, "hidden")
	log.With("a", 1).WithGroup("g").InfoContext(ctx, "shown", "password", "p4ss", "Private-Token", "glpat", "n", 2)
	got := line(t, &buf)
	group, _ := got["g"].(map[string]any)
	if got["service"] != "gitaly" || got["msg"] != "shown" || got["a"] != 1.0 || group["correlation_id"] != "abc" {
		t.Errorf("line = %v", got)
	}
	if group["password"] != "[FILTERED]" || group["Private-Token"] != "[FILTERED]" || group["n"] != 2.0 {
		t.Errorf("secrets are not masked: %v", group)
	}
	if ts, _ := got["time"].(string); !strings.HasSuffix(ts, "Z") {
		t.Errorf("time = %q, want UTC", ts)
	}
}

func TestNew_badLevel(t *testing.T) {
	t.Parallel()
	if _, err := logging.New(io.Discard, logging.Options{Level: "loud"}); err == nil {
		t.Error("level loud is accepted")
	}
}

func TestHTTPAccess(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	log, _ := logging.New(&buf, logging.Options{Service: "s"})
	h := logging.HTTPAccess(log, func(*http.Request) string { return "/x/{id}" })(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			logging.AddAttrs(r.Context(), slog.String(logging.KeyUser, "ada"))
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("flush through the recorder: %v", err)
			}
		}))
	ctx := correlation.With(context.Background(), "id1")
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/x/7?private_token=glpat-x", strings.NewReader("body"))
	h.ServeHTTP(httptest.NewRecorder(), r)
	got := line(t, &buf)
	for k, want := range map[string]any{
		"msg": "access", "method": "POST", "route": "/x/{id}", "path": "/x/7", "status": 418.0,
		"bytes_in": 4.0, "bytes_out": 5.0, "user": "ada", "correlation_id": "id1",
	} {
		if got[k] != want {
			t.Errorf("%s = %v, want %v", k, got[k], want)
		}
	}
	if strings.Contains(buf.String(), "glpat-x") {
		t.Error("the query reached the log")
	}
	if _, err := time.Parse(time.RFC3339Nano, got["started_at"].(string)); err != nil {
		t.Errorf("started_at: %v", err)
	}
}

func TestHTTPAccess_panic(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	log, _ := logging.New(&buf, logging.Options{Service: "s"})
	h := logging.HTTPAccess(log, func(*http.Request) string { return "/" })(http.HandlerFunc(
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	func() {
		defer func() { _ = recover() }()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	if line(t, &buf)["msg"] != "access" {
		t.Error("an aborted request leaves no access line")
	}
}
