package internalapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"gitsplit/kit/apijwt"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/internalapi"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/notice"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const secret = "shell-secret-of-at-least-32-bytes"

// bench is an installation with the internal API as its door.
type bench struct {
	*railstest.Bench
	http http.Handler
}

func setup(tb testing.TB, change ...func(*internalapi.Deps)) *bench {
	tb.Helper()
	return setupOn(railstest.New(tb), change...)
}

// setupOn opens another door to an installation.
func setupOn(on *railstest.Bench, change ...func(*internalapi.Deps)) *bench {
	on.TB.Helper()
	b := &bench{Bench: on}
	lfs, err := lfstoken.New(b.Box, b.Now)
	b.Must(err)
	d := internalapi.Deps{
		TwoFactor: b.TwoFactor, LFS: lfs, Files: b.Files, Limiter: ratelimit.New(b.Redis, b.Now), OperationLimit: 1000,
		DB: b.DB, Redis: b.Redis, Access: b.Access, Gitaly: b.Gitaly, Events: b.Events, Notices: notice.New(b.Redis, b.Site),
		Counter: counter.New(b.Redis, b.Log, b.Now), Branches: branchcache.New(b.Redis), Site: b.Site, Secrets: [][]byte{[]byte(secret)},
		ReceiveOptions: []string{"receive.maxInputSize=1048576"}, Version: "18.2.0", Revision: "abc", Log: b.Log, Now: b.Now,
	}
	for _, c := range change {
		c(&d)
	}
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	internalapi.Routes(r, d)
	b.http = r
	return b
}

// answer is what a door said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *bench) get(path string, query url.Values) answer {
	b.TB.Helper()
	return b.send(http.MethodGet, path+"?"+query.Encode(), "application/json", nil)
}

func (b *bench) post(path string, body any) answer {
	b.TB.Helper()
	text, err := json.Marshal(body)
	b.Must(err)
	return b.send(http.MethodPost, path, "application/json", strings.NewReader(string(text)))
}

func (b *bench) send(method, path, kind string, body io.Reader) answer {
	b.TB.Helper()
	token, err := apijwt.Sign([]byte(secret), apijwt.ShellIssuer, b.Now())
	b.Must(err)
	return b.sendAs(method, path, kind, token, body)
}

func (b *bench) sendAs(method, path, kind, token string, body io.Reader) answer {
	b.TB.Helper()
	r := httptest.NewRequestWithContext(b.TB.Context(), method, "/api/v4/internal"+path, body)
	r.Header.Set("Content-Type", kind)
	r.Header.Set(apijwt.ShellHeader, token)
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func (a answer) message(tb testing.TB) string {
	tb.Helper()
	var m struct{ Message string }
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		tb.Fatalf("answer %q is no JSON object: %v", a.body, err)
	}
	return m.Message
}

func (a answer) want(tb testing.TB, status int, body string) {
	tb.Helper()
	if a.status != status || a.body != body {
		tb.Errorf("answer %d %s\nwant   %d %s", a.status, a.body, status, body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		tb.Errorf("Content-Type %q", got)
	}
}

func TestRoutes_token(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sign := func(key, issuer string, at time.Time) string {
		token, err := apijwt.Sign([]byte(key), issuer, at)
		b.Must(err)
		return token
	}
	for name, token := range map[string]string{
		"none":            "",
		"garbage":         "a.b.c",
		"alg none":        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJnaXRsYWItc2hlbGwifQ.",
		"other secret":    sign("another-secret-of-at-least-32-by", apijwt.ShellIssuer, b.Time),
		"other issuer":    sign(secret, apijwt.WorkhorseIssuer, b.Time),
		"expired":         sign(secret, apijwt.ShellIssuer, b.Time.Add(-3*time.Minute)),
		"from the future": sign(secret, apijwt.ShellIssuer, b.Time.Add(3*time.Minute)),
		"huge":            strings.Repeat("x", 5000),
	} {
		for _, path := range []string{"/check", "/nothing"} {
			want := "401 Unauthorized"
			switch name { // only who has the secret learns of the clocks
			case "expired":
				want += ": the clocks of the two services differ: the caller's is 3m0s behind"
			case "from the future":
				want += ": the clocks of the two services differ: the caller's is 3m0s ahead"
			}
			b.sendAs(http.MethodGet, path, "application/json", token, nil).want(t, http.StatusUnauthorized, `{"message":"`+want+`"}`)
		}
	}
	if got := b.get("/nothing", nil); got.status != http.StatusNotFound {
		t.Errorf("unknown endpoint: %d", got.status)
	}
}

func TestRoutes_bodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Project(b.User("ada").NamespaceID, "p", visibility.Private) // project-1
	for name, tc := range map[string]struct {
		kind, body string
		status     int
	}{
		"no JSON":         {"application/json", "{", http.StatusBadRequest},
		"an array":        {"application/json", "[]", http.StatusBadRequest},
		"two documents":   {"application/json", `{"gl_repository":"project-1"}{}`, http.StatusBadRequest},
		"wrong type":      {"application/json", `{"gl_repository":7}`, http.StatusBadRequest},
		"deep":            {"application/json", `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", http.StatusBadRequest},
		"deep in a text":  {"application/json", `{"gl_repository":"project-1","x":"` + strings.Repeat("[", 40) + `\"["}`, http.StatusOK},
		"huge":            {"application/json", `{"gl_repository":"` + strings.Repeat("x", 70_000) + `"}`, http.StatusBadRequest},
		"empty":           {"application/json", "", http.StatusBadRequest},
		"unknown field":   {"application/json", `{"gl_repository":"project-1","later":{"a":[1]}}`, http.StatusOK},
		"form":            {"application/x-www-form-urlencoded", "gl_repository=project-1&x%5B%5D=1", http.StatusOK},
		"bad form":        {"application/x-www-form-urlencoded", "a=%zz", http.StatusBadRequest},
		"no content type": {"", `{"gl_repository":"project-1"}`, http.StatusOK},
		"not a project":   {"application/json", `{"gl_repository":"wiki-1"}`, http.StatusBadRequest},
	} {
		got := b.send(http.MethodPost, "/pre_receive", tc.kind, strings.NewReader(tc.body))
		if got.status != tc.status {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tc.status)
		}
		if tc.status == http.StatusBadRequest && !strings.HasPrefix(got.message(t), "400 Bad request - ") {
			t.Errorf("%s: message %q", name, got.message(t))
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.get("/check", nil).want(t, 200, `{"api_version":"v4","gitlab_version":"18.2.0","gitlab_rev":"abc","redis":true}`)
	b.Must(b.Redis.Close())
	b.get("/check", nil).want(t, 200, `{"api_version":"v4","gitlab_version":"18.2.0","gitlab_rev":"abc","redis":false}`)
}

func TestNotOffered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.post("/two_factor_push_otp_check", map[string]any{"key_id": "1"}).want(t, 200, `{"success":false,"message":"Feature is not available"}`)
	b.post("/shellhorse/git_audit_event", map[string]any{"key_id": 1}).want(t, 200, `{"status":false,"message":"No git audit event needed"}`)
}

// TestDatabaseDown: refused cleanly, with a sentence.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, blob := b.Key(b.User("ada"), keyOptions())
	b.DB.Close()
	for name, got := range map[string]answer{
		"authorized_keys": b.get("/authorized_keys", url.Values{"key": {blob}}),
		"discover":        b.get("/discover", url.Values{"key_id": {"1"}}),
		"allowed":         b.post("/allowed", map[string]any{"action": "git-upload-pack", "project": "a/b", "key_id": "1", "changes": "_any"}),
		"post_receive":    b.post("/post_receive", map[string]any{"gl_repository": "project-1", "identifier": "user-1"}),
	} {
		if got.status != http.StatusServiceUnavailable && got.status != http.StatusInternalServerError {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got.message(t) == "" {
			t.Errorf("%s: no message: %s", name, got.body)
		}
	}
}
