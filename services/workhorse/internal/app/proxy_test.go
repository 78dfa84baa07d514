package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/config"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/app"
)

// echo answers with the request as rails-api got it.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var lines []string
	for name, values := range r.Header {
		for _, v := range values {
			switch name {
			case "X-Request-Id", "Gitlab-Workhorse-Proxy-Start":
				v = "…"
			}
			lines = append(lines, name+": "+v)
		}
	}
	sortStrings(lines)
	_, _ = fmt.Fprintf(w, "%s %s at %s\n%s\n%q", r.Method, r.RequestURI, r.Host, strings.Join(lines, "\n"), body)
}

// The table of requests, and how they reach rails-api.
func TestProxy_forwardedRequests(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.proxied = echo
	ours := "Gitlab-Workhorse-Proxy-Start: …\nGitlab-Workhorse: dev\n"
	about := "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: h\nX-Forwarded-Proto: http\nX-Request-Id: …\nX-Sendfile-Type: X-Sendfile\n"
	cases := []struct{ name, request, want string }{
		{"get", "GET /api/v4/version?a=%20b&c HTTP/1.1\r\nHost: h\r\nPrivate-Token: t\r\nAccept-Encoding: br\r\n",
			"GET /api/v4/version?a=%20b&c at h\nAccept-Encoding: br\n" + ours + "Private-Token: t\n" + about + `""`},
		{"query that Go finds strange", "GET /a?b;c=%zz HTTP/1.1\r\nHost: h\r\n", "GET /a?b;c=%zz at h\n" + ours + about + `""`},
		{"encoded project", "DELETE /api/v4/projects/g%2fapp%2Fx HTTP/1.1\r\nHost: h\r\n",
			"DELETE /api/v4/projects/g%2Fapp%2Fx at h\n" + ours + about + `""`},
		{"cleaned path", "GET //a/./b/../c%2ed HTTP/1.1\r\nHost: h\r\n", "GET /a/c.d at h\n" + ours + about + `""`},
		{"absolute form", "GET http://other/a HTTP/1.1\r\nHost: h\r\n",
			"GET /a at other\n" + ours + strings.Replace(about, "Host: h", "Host: other", 1) + `""`},
		{"length", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n",
			"POST /a at h\nContent-Length: 3\nContent-Type: text/plain\n" + ours + about + `"abc"`},
		{"chunked", "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n",
			"PUT /a at h\nContent-Encoding: gzip\n" + ours + about + `"abc"`},
		{"trace", "TRACE /a HTTP/1.1\r\nHost: h\r\n", "TRACE /a at h\n" + ours + about + `""`},
		{"forged", "GET /a HTTP/1.1\r\nHost: h\r\nGitlab-Workhorse-Api-Request: x\r\nGitlab-Shell-Api-Request: x\r\nX-Sendfile-Type: x\r\n" +
			"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nGitlab-Workhorse-Proxy-Start: 1\r\n",
			"GET /a at h\n" + ours + about + `""`},
		{"named by connection", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Gitlab-Workhorse, X-Forwarded-For, X-Request-Id, X-Mine, close\r\n" +
			"X-Mine: 1\r\nUpgrade: h2c\r\nTE: trailers\r\nKeep-Alive: 1\r\n", "GET /a at h\n" + ours + about + `""`},
		{"lfs", "POST /g/other.git/info/lfs/objects/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n",
			"POST /g/other.git/info/lfs/objects/batch at h\nContent-Length: 3\n" + ours + about + `"abc"`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			request := tc.request
			if !strings.Contains(request, ", close") {
				request += "Connection: close\r\n"
			}
			request += "\r\n"
			switch {
			case strings.Contains(request, "Content-Length"):
				request += "abc"
			case strings.Contains(request, "chunked"):
				request += "3\r\nabc\r\n0\r\n\r\n"
			}
			res, answer := rawExchange(t, s.at(), request)
			if _, rest, ok := strings.Cut(answer, "100 Continue\r\n\r\n"); ok {
				answer = rest
				var err error
				if res, err = http.ReadResponse(bufio.NewReader(strings.NewReader(rest)), nil); err != nil {
					t.Fatal(err)
				}
			}
			_, body, _ := strings.Cut(answer, "\r\n\r\n")
			if res.StatusCode != 200 || body != tc.want {
				t.Errorf("forwarded request, answer %d (-want +got):\n%s", res.StatusCode, cmp.Diff(tc.want, body))
			}
		})
	}
}

func TestProxy_internalListener(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.proxied = echo
	ask := func(c *http.Client, base string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/api/v4/internal/allowed", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Gitlab-Shell-Api-Request", "jwt")
		req.Header.Set("X-Request-Id", "SHELL1")
		req.Header.Set("X-Forwarded-For", "198.51.100.7:22")
		return send(t, c, req)
	}
	if res, body := ask(client(t, ""), s.base()); res.StatusCode != 404 || body != "Not Found\n" {
		t.Errorf("public listener: %d %q", res.StatusCode, body)
	}
	res, body := ask(client(t, s.internal), "http://unix")
	for _, want := range []string{"Gitlab-Shell-Api-Request: jwt\n", "X-Forwarded-For: 198.51.100.7\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("internal listener: %q is not in %q", want, body)
		}
	}
	if got := res.Header["X-Request-Id"]; res.StatusCode != 200 || len(got) != 1 || got[0] != "SHELL1" {
		t.Errorf("internal listener: %d, X-Request-Id %q", res.StatusCode, got)
	}
}

func TestProxy_answers(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.ProxyHeadersTimeout = config.Duration(500 * time.Millisecond) })
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/internal-type":
			w.Header().Set("Content-Type", api.MediaType)
			_, _ = io.WriteString(w, "secret")
		case "/control":
			for _, name := range []string{"X-Sendfile", "Gitlab-Workhorse-Send-Data", "X-Accel-Redirect", "X-Accel-Buffering"} {
				w.Header().Set(name, "x")
			}
			w.Header()["gitlab-workhorse-detect-content-type"] = []string{"true"}
			w.Header().Set("Link", "<x>")
			w.WriteHeader(418)
		case "/slow", "/-/liveness":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/early":
			w.WriteHeader(422) // without reading the body
		case "/closes":
			panic(http.ErrAbortHandler)
		}
	}
	cases := []struct {
		path   string
		status int
		body   string
	}{
		{"/internal-type", 500, "Internal Server Error\n"},
		{"/control", 418, ""},
		{"/slow", 502, "GitLab is not responding"},
		{"/closes", 502, "GitLab is not responding"},
		{"/early", 422, ""},
	}
	for _, tc := range cases {
		t.Run(tc.path, func(t *testing.T) {
			t.Parallel()
			res, body := s.do("POST", tc.path, strings.NewReader("body"))
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, body, tc.status, tc.body)
			}
			if tc.status == 502 && res.Header.Get("Content-Type") != "text/plain" {
				t.Errorf("Content-Type %q", res.Header.Get("Content-Type"))
			}
			for name := range res.Header {
				n := strings.ToLower(name)
				if strings.HasPrefix(n, "gitlab-") || strings.HasPrefix(n, "x-sendfile") || strings.HasPrefix(n, "x-accel") {
					t.Errorf("the client got %s", name)
				}
			}
			if ids := res.Header["X-Request-Id"]; len(ids) != 1 || strings.Contains(ids[0], "rails") {
				t.Errorf("X-Request-Id %q", ids)
			}
		})
	}
}

// Bytes travel as they come, and the end of either side ends the other.
func TestProxy_streams(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	read, cut, left := make(chan struct{}), make(chan error, 1), make(chan struct{})
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 3)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			t.Errorf("read the first piece: %v", err)
		}
		if r.URL.Path == "/cut" {
			close(read)
			_, err := io.ReadAll(r.Body)
			cut <- err
			return
		}
		_, _ = w.Write(first)
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/die" {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
		close(left)
	}
	c := dialRaw(t, s.at())
	c.send("POST /leave HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none")
	c.until("one\r\n") // though the answer has no end
	_ = c.Close()
	within(t, left, "rails-api to hear that the client left")

	c = dialRaw(t, s.at())
	c.send("POST /die HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none")
	c.until("one\r\n")
	if rest, _ := io.ReadAll(c.br); strings.Contains(string(rest), "0\r\n") {
		t.Errorf("an answer that was cut short looks complete: %q", rest)
	}

	c = dialRaw(t, s.at())
	c.send("POST /cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
	within(t, read, "the first piece of a body to reach rails-api")
	_ = c.Close()
	if err := <-cut; err == nil {
		t.Error("rails-api took half a body for a whole one")
	}
}

func TestProxy_brokenBody(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.ProxyBodyLimit = 10 })
	s.rails.proxied = echo
	for body, want := range map[string]int{
		"Transfer-Encoding: chunked\r\n\r\nzz\r\n":                         400,
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n":         400,
		"Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n":  413,
		"Content-Length: 11\r\n\r\n":                                       413,
		"Content-Length: 10\r\n\r\n0123456789":                             200,
		"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
	} {
		res, _ := rawExchange(t, s.at(), "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+body)
		if res.StatusCode != want {
			t.Errorf("%q: %d, want %d", body, res.StatusCode, want)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "bad" {
			http.Error(w, "<h1>broken</h1>", http.StatusServiceUnavailable)
			return
		}
		if r.URL.RawQuery == "custom" {
			w.Header().Set("X-GitLab-Custom-Error", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, "fine")
	}
	check := func(path string, status int, contentType, body string) {
		t.Helper()
		res, got := s.do("GET", path, nil)
		if res.StatusCode != status || got != body || contentType != "" && res.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: %d %q %q, want %d %q %q", path, res.StatusCode, res.Header.Get("Content-Type"), got, status, contentType, body)
		}
	}
	check("/-/health", 200, "", "fine")
	check("/-/readiness?custom", 503, "", "fine")
	check("/-/health?bad", 503, "text/plain; charset=utf-8", "Service Unavailable\n")
	check("/-/liveness?bad", 503, "application/json; charset=utf-8", `{"error":"Service Unavailable","status":503}`+"\n")
	s.rails.stop()
	check("/-/health", 502, "text/plain; charset=utf-8", "Bad Gateway\n")
	check("/-/readiness", 502, "application/json; charset=utf-8", `{"error":"Bad Gateway","status":502}`+"\n")
	check("/g/app/info/refs", 502, "text/plain", "GitLab is not responding")
	s.rails.start()
	check("/-/liveness", 200, "", "fine")
}

// rawConn is a connection for exchanges by hand.
type rawConn struct {
	net.Conn
	t  *testing.T
	br *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *rawConn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{Conn: c, t: t, br: bufio.NewReader(c)}
}

func (c *rawConn) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send %q: %v", s, err)
	}
}

// until reads up to the text.
func (c *rawConn) until(text string) {
	c.t.Helper()
	var got []byte
	for !strings.HasSuffix(string(got), text) {
		b, err := c.br.ReadByte()
		if err != nil {
			c.t.Fatalf("read %q, and then: %v", got, err)
		}
		got = append(got, b)
	}
}
