package internalapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/correlation"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/netx"
)

var key = []byte("0123456789abcdef0123456789abcdef")

func newClient(t *testing.T, cfg internalapi.Config, h http.HandlerFunc) *internalapi.Client {
	t.Helper()
	if h != nil {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		cfg.URL = srv.URL
	}
	cfg.Secret = key
	c, err := internalapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClient_request(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	c := newClient(t, internalapi.Config{UserAgent: "GitLab-Shell"}, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body = r, string(raw)
		_, _ = io.WriteString(w, `{"status":true,"gitaly":{"features":{"gitaly-feature-x":"true"}},"unknown":1}`)
	})
	ctx := correlation.With(context.Background(), "cid")
	out, err := c.Allowed(ctx, internalapi.AllowedRequest{
		Action: "git-upload-pack", Project: "team/tool.git", Changes: internalapi.AnyChanges, Protocol: "ssh", KeyID: 7, CheckIP: "198.51.100.4",
	})
	if err != nil || !out.Status || out.Gitaly.Features["gitaly-feature-x"] != "true" {
		t.Fatalf("Allowed = %+v, %v", out, err)
	}
	want := `{"action":"git-upload-pack","project":"team/tool.git","changes":"_any","protocol":"ssh","key_id":"7","check_ip":"198.51.100.4"}`
	if body != want {
		t.Errorf("body\n got %s\nwant %s", body, want)
	}
	if got.URL.Path != "/api/v4/internal/allowed" || got.Header.Get("User-Agent") != "GitLab-Shell" ||
		got.Header.Get("X-Request-Id") != "cid" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("request = %s %v", got.URL, got.Header)
	}
	if err := apijwt.Verify([][]byte{key}, apijwt.ShellIssuer, got.Header.Get(apijwt.ShellHeader), time.Now()); err != nil {
		t.Errorf("token: %v", err)
	}
}

func TestClient_unixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "api.sock")
	ln, err := netx.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Host + r.URL.RequestURI()
		_, _ = io.WriteString(w, `null`)
	}))
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	c := newClient(t, internalapi.Config{URL: "http+unix://" + url.PathEscape(path), RelativeURLRoot: "/gitlab/"}, nil)
	who, err := c.Discover(context.Background(), 7, "")
	if err != nil || who.ID != 0 {
		t.Errorf("Discover = %+v, %v", who, err)
	}
	if want := "unix/gitlab/api/v4/internal/discover?key_id=7"; got != want {
		t.Errorf("request = %q, want %q", got, want)
	}
}

func TestClient_answers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		status      int
		contentType string
		body        string
		requireJSON bool
		want        string
	}{
		{"refused", 401, "application/json", `{"status":false,"message":"no"}`, false, "no"},
		{"not JSON", 404, "text/html", `<html>`, false, "Internal API error (404)"},
		{"message is an object", 404, "application/json", `{"message":{"error":"x"}}`, false, "Internal API error (404)"},
		{"no message", 422, "application/json", `{"error":"x"}`, false, ""},
		{"server error with a message, one attempt", 500, "application/json", `{"message":"m"}`, true, "m"},
		{"redirect", 302, "text/html", ``, false, `Internal API returned redirect (302) to "http://elsewhere/"`},
		{"garbage", 200, "application/json", `{"status":`, false, "parsing failed"},
		{"wrong type of a field", 200, "application/json", `{"gl_key_id":"7"}`, false, "parsing failed"},
		{"wrong content type", 200, "text/html", `{}`, true, `unsupported content type: "text/html"`},
		{"other good status", 204, "application/json", ``, true, "gitlab api is not accessible: 204"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, internalapi.Config{RequireJSON: tc.requireJSON}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				w.Header().Set("Location", "http://elsewhere/")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := c.Allowed(context.Background(), internalapi.AllowedRequest{})
			if err == nil || err.Error() != tc.want {
				t.Errorf("err = %q, want %q", err, tc.want)
			}
		})
	}
}

func TestClient_retries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		calls  int32
		want   error
	}{
		{"unavailable", 503, 2, internalapi.ErrUnreachable},
		{"too many requests", 429, 2, internalapi.ErrUnreachable},
		{"not implemented", 501, 1, nil},
		{"refused", 403, 1, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			var tokens []string
			c := newClient(t, internalapi.Config{Attempts: 2}, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				tokens = append(tokens, r.Header.Get(apijwt.ShellHeader))
				w.WriteHeader(tc.status)
			})
			_, err := c.Check(context.Background())
			if err == nil || calls.Load() != tc.calls || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("err = %v after %d calls", err, calls.Load())
			}
			if tokens[0] != tokens[len(tokens)-1] {
				t.Error("a repeated request carries a new token")
			}
		})
	}
}

func TestClient_down(t *testing.T) {
	t.Parallel()
	c := newClient(t, internalapi.Config{URL: "http+unix:///nonexistent.sock", Attempts: 1}, nil)
	if _, err := c.PreReceive(context.Background(), internalapi.PreReceiveRequest{GLRepository: "project-1"}); !errors.Is(err, internalapi.ErrUnreachable) {
		t.Errorf("err = %v, want ErrUnreachable", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.PostReceive(ctx, internalapi.PostReceiveRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want Canceled", err)
	}
}

func TestClient_hugeAnswer(t *testing.T) {
	t.Parallel()
	c := newClient(t, internalapi.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(" ", 5<<20))
	})
	if _, err := c.AuthorizedKeys(context.Background(), "blob"); !errors.Is(err, internalapi.ErrUnreachable) {
		t.Errorf("err = %v", err)
	}
}

func TestNew_faults(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "ftp://x", "http://", "http+unix://", "http+unix://%zz"} {
		if _, err := internalapi.New(internalapi.Config{URL: raw, Secret: key}); err == nil {
			t.Errorf("New accepts %q", raw)
		}
	}
	if _, err := internalapi.New(internalapi.Config{URL: "http://x"}); err == nil {
		t.Error("New accepts an empty secret")
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]internalapi.ID{`"7"`: 7, `7`: 7, `null`: 0, `""`: 0} {
		var id internalapi.ID
		if err := json.Unmarshal([]byte(in), &id); err != nil || id != want {
			t.Errorf("unmarshal %s = %v, %v", in, id, err)
		}
	}
	for _, in := range []string{`"x"`, `-1`, `1.5`, `{}`, `"99999999999999999999"`} {
		var id internalapi.ID
		if err := json.Unmarshal([]byte(in), &id); err == nil {
			t.Errorf("unmarshal %s = %v", in, id)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClient_wrap(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int64
	wrap := func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			attempts.Add(1)
			return next.RoundTrip(r)
		})
	}
	c := newClient(t, internalapi.Config{Wrap: wrap}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"redis":true}`)
	})
	if got, err := c.Check(t.Context()); err != nil || !got.Redis || attempts.Load() != 1 {
		t.Errorf("Check = %+v, %v after %d attempts", got, err, attempts.Load())
	}
}
