package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/config"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/app"
)

const refsPath = "/g/app.git/info/refs?service=git-upload-pack"

// What rails-api answers to the question, and what the client gets.
func TestPreauth_answers(t *testing.T) {
	t.Parallel()
	say := func(status int, contentType, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	huge := strings.Repeat("x", 32768)
	cases := []struct {
		name    string
		preauth func(http.ResponseWriter, *http.Request)
		status  int
		body    string
	}{
		{"unauthorized", say(401, "text/plain", "who?"), 401, "who?"},
		{"forbidden", say(403, "text/plain", "no"), 403, "no"},
		{"not found", say(404, "text/plain", "what?"), 404, "what?"},
		{"unavailable", say(503, "text/plain", "Push operation timed out"), 503, "Push operation timed out"},
		{"plain json is no permission", say(200, "application/json", "{}"), 200, "{}"},
		{"html", say(200, "text/html", "<p>sign in</p>"), 200, "<p>sign in</p>"},
		{"no type", func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"internal type with another status", say(201, api.MediaType, `{"GL_ID":"user-1"}`), 500, "Internal Server Error\n"},
		{"internal type misspelt", say(200, "Application/Vnd.Gitlab-Workhorse+JSON garbage", `{}`), 500, "Internal Server Error\n"},
		{"server error", say(500, "text/html", "<h1>500</h1>"), 500, "<h1>500</h1>"},
		{"huge refusal", say(403, "text/plain", huge), 500, "Internal Server Error\n"},
		{"huge not found", say(404, "text/plain", huge), 404, "Not Found\n"},
		{"just not huge", say(403, "text/plain", huge[1:]), 403, huge[1:]},
		{"bad json", say(200, api.MediaType, "{"), 500, "Internal Server Error\n"},
		{"wrong type in json", say(200, api.MediaType, `{"GL_ID":7}`), 500, "Internal Server Error\n"},
		{"two documents", say(200, api.MediaType, "{}{}"), 500, "Internal Server Error\n"},
		{"no gitaly in it", say(200, api.MediaType, "{}"), 500, "Internal Server Error\n"},
		{"closes the connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "GitLab is not responding"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			s.rails.preauth = tc.preauth
			res, body := s.do("GET", refsPath, nil)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("answer %d %.60q, want %d %.60q", res.StatusCode, body, tc.status, tc.body)
			}
		})
	}
}

func TestPreauth_redirect(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.preauth = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/g/new.git/info/refs?service=git-upload-pack", http.StatusMovedPermanently)
	}
	res, _ := s.do("GET", refsPath, nil)
	if res.StatusCode != 301 || res.Header.Get("Location") != "/g/new.git/info/refs?service=git-upload-pack" {
		t.Errorf("answer %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
}

// The headers of a refusal reach the client, but those for workhorse.
func TestPreauth_refusalHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.preauth = func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Gitlab-Workhorse-Send-Data", "Gitlab-Lb", "Gitlab-Sv", "X-Sendfile", "Keep-Alive", "X-Kept"} {
			w.Header().Set(name, "x")
		}
		w.Header()["gitlab-workhorse-detect-content-type"] = []string{"true"}
		w.Header().Add("WWW-Authenticate", `Basic realm="GitLab"`)
		w.Header().Add("WWW-Authenticate", `Negotiate`)
		w.Header().Set("Set-Cookie", "a=b")
		http.Error(w, "no", http.StatusUnauthorized)
	}
	_, answer := rawExchange(t, s.at(), "GET "+refsPath+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	head, _, _ := strings.Cut(answer, "\r\n\r\n")
	var got []string
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		if name != "Date" {
			got = append(got, name)
		}
	}
	want := []string{"HTTP/1.1 401 Unauthorized", "Content-Length", "Content-Type", "Set-Cookie", "WWW-Authenticate",
		"WWW-Authenticate", "X-Accel-Buffering", "X-Content-Type-Options", "X-Kept", "X-Request-Id", "Connection"}
	sortStrings(got, want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header names (-want +got):\n%s", diff)
	}
}

// The question is the client's request without its body, signed.
func TestPreauth_question(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.ClientReadTimeout = config.Duration(time.Second) }) // the body never comes
	s.rails.preauth = func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); len(body) > 0 || r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("the question has a body: %q, length %d, %v", body, r.ContentLength, r.TransferEncoding)
		}
		http.Error(w, "no", http.StatusForbidden)
	}
	_, answer := rawExchange(t, s.at(), "POST //g/x/../app.git/git-upload-pack?a=b%20c HTTP/1.1\r\nHost: git.example:8080\r\n"+
		"Content-Type: application/x-git-upload-pack-request\r\nTransfer-Encoding: chunked\r\nAuthorization: Basic eDp5\r\n"+
		"Content-Disposition: x\r\nAccept-Encoding: gzip\r\nGit-Protocol: version=2\r\nCookie: a=b\r\nX-Forwarded-For: 6.6.6.6\r\n"+
		"Gitlab-Workhorse-Api-Request: forged\r\nGitlab-Shell-Api-Request: forged\r\nConnection: close, X-Drop\r\nX-Drop: 1\r\nTE: trailers\r\n"+
		"Expect: 100-continue\r\nX-Request-Id: MINE\r\nUser-Agent: git/2.39\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 403 ") { // no 100 Continue before it: the body was not wanted
		t.Fatalf("answer %q", answer)
	}
	r := s.rails.last()
	if r.Method != "POST" || r.RequestURI != "/g/app.git/git-upload-pack?a=b%20c" || r.Host != "git.example:8080" {
		t.Errorf("asked %s %s at %s", r.Method, r.RequestURI, r.Host)
	}
	token := r.Header.Get("Gitlab-Workhorse-Api-Request")
	var claims struct {
		Iss string
		Iat int64
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		t.Fatalf("token claims %q: %v", parts[1], err)
	}
	if claims.Iss != "gitlab-workhorse" || time.Since(time.Unix(claims.Iat, 0)).Abs() > patience {
		t.Errorf("token claims %+v", claims)
	}
	id := r.Header.Get("X-Request-Id")
	if id == "" || id == "MINE" {
		t.Errorf("X-Request-Id = %q", id)
	}
	r.Header.Del("Gitlab-Workhorse-Api-Request")
	r.Header.Del("X-Request-Id")
	want := http.Header{
		"Authorization": {"Basic eDp5"}, "Cookie": {"a=b"}, "Git-Protocol": {"version=2"}, "Gitlab-Workhorse": {"dev"},
		"User-Agent": {"git/2.39"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"git.example:8080"},
		"X-Forwarded-Proto": {"http"},
	}
	// An empty POST says so.
	if r.Header.Get("Content-Length") == "0" {
		r.Header.Del("Content-Length")
	}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("headers of the question (-want +got):\n%s", diff)
	}
}

// What rails-api says about the caller reaches gitaly.
func TestPreauth_toGitaly(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.answer = map[string]any{"ShowAllRefs": true, "GlBuildID": "9", "GlScopedUserID": "user-2"}
	res, _ := s.do("GET", refsPath, nil, "Git-Protocol", "version=2")
	if res.StatusCode != 200 {
		t.Fatalf("answer %d", res.StatusCode)
	}
	got := s.gitaly.last(t)
	id := res.Header.Get("X-Request-Id")
	want := call{Method: "InfoRefs upload-pack", Repo: "@hashed/aa/bb.git", Protocol: "version=2", Options: []string{"transfer.hideRefs=!refs"},
		Metadata: map[string]string{"x-gitlab-correlation-id": id, "x-gitlab-client-name": "gitlab-workhorse", "user_id": "user-1",
			"username": "root", "remote_ip": "127.0.0.1", "gitaly-feature-x": "true"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("call of gitaly (-want +got):\n%s", diff)
	}
	s.do("POST", "/g/app.git/git-receive-pack", strings.NewReader("0000"), "Content-Type", "application/x-git-receive-pack-request")
	got = s.gitaly.last(t)
	if c := got.Metadata["gitaly-client-context-bin"]; c != `{"scoped-user-id":"user-2","glBuildId":"9"}` {
		t.Errorf("client context %q", c)
	}
	if diff := cmp.Diff([]string{"receive.maxInputSize=1000"}, got.Options); diff != "" || got.GLID != "user-1" {
		t.Errorf("push as %q with options (-want +got):\n%s", got.GLID, diff)
	}
	if !strings.Contains(s.log.String(), `"user":"root","project":"g/app"`) {
		t.Errorf("no user and project in the access line")
	}
	for _, secret := range []string{gitalyToken, "password\"", "Basic "} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log shows %q", fmt.Sprintf("%.5s…", secret))
		}
	}
}

// rails-api was restarted: the connection that was kept is dead, and no client
// sees it.
func TestPreauth_railsRestarted(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for range 5 {
		res, _ := s.do("POST", fetchPath, strings.NewReader("0000"), "Content-Type", fetchType, "Idempotency-Key", "x")
		if res.StatusCode != 200 {
			t.Fatalf("answer %d", res.StatusCode)
		}
		if got := s.rails.last().Header.Get("Idempotency-Key"); got != "" {
			t.Errorf("the question has Idempotency-Key %q", got)
		}
		s.rails.stop()
		s.rails.start()
	}
}
