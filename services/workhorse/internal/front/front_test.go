package front

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/logging"
	"gitsplit/kit/netx"
)

// door is a running front whose handlers say where a request arrived.
type door struct {
	addr string
	log  *syncBuffer

	mu   sync.Mutex
	seen *http.Request // the last request that reached a handler
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func openDoor(t *testing.T, internal bool, root string) *door {
	t.Helper()
	d := &door{log: &syncBuffer{}}
	say := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.mu.Lock()
			d.seen = r
			d.mu.Unlock()
			if strings.HasSuffix(r.URL.Path, "/panic") {
				panic("on purpose")
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprintf(w, "%s %s", name, r.URL.RequestURI())
		})
	}
	log, err := logging.New(d.log, logging.Options{Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	h := New(Handlers{InfoRefs: say("info-refs"), UploadPack: say("upload-pack"), ReceivePack: say("receive-pack"),
		BodyUpload: say("body-upload"), FormUpload: say("form-upload"),
		Health: say("health"), Cable: say("cable"), JobRequest: say("job-request"), API: say("api"), Proxy: say("proxy"), Pages: say("pages")},
		Options{Internal: internal, Root: root, Log: log, Metrics: NewMetrics(prometheus.NewRegistry()),
			Timeouts: Timeouts{Read: 300 * time.Millisecond, Write: time.Minute}})
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = netx.HTTPServer(h, logging.Discard())
	srv.Config.DisableGeneralOptionsHandler = true
	srv.Start()
	t.Cleanup(srv.Close)
	d.addr = srv.Listener.Addr().String()
	return d
}

// raw sends bytes and returns the answer's status, headers and body.
func (d *door) raw(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatalf("send: %v", err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer to %q: %v", request, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the body of the answer to %q: %v", request, err)
	}
	return res, string(body)
}

func get(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }

const packRequest = "Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 0\r\n\r\n"

func TestFront_checks(t *testing.T) {
	t.Parallel()
	d := openDoor(t, false, "/gitlab")
	cases := []struct {
		name, request string
		status        int
		body          string
	}{
		{"unknown method", "BREW /gitlab/a HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Method Not Allowed\n"},
		{"star", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Connection upgrade not allowed\n"},
		{"star for another method", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Connection upgrade not allowed\n"},
		{"connect", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "CONNECT not allowed\n"},
		{"outside the root", get("/elsewhere"), 404, "Not found \"/elsewhere\"\n"},
		{"beside the root", get("/gitlabx"), 404, "Not found \"/gitlabx\"\n"},
		{"web socket", "GET /gitlab/-/cables HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
			400, "websocket upgrade not allowed\n"},
		{"web socket by post", "POST /gitlab/-/cable HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			400, "websocket upgrade not allowed\n"},
		{"opaque target", get("http:gitlab/a"), 400, "Bad Request\n"},
		{"hidden climb", get("/gitlab/files/..%2f..%2fx"), 400, "Bad Request\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			res, body := d.raw(t, tc.request)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, body, tc.status, tc.body)
			}
			if got := res.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type = %q", got)
			}
			if res.Close != (tc.status != 405) {
				t.Errorf("Connection: close = %v", res.Close)
			}
			if res.Header.Get("X-Accel-Buffering") != "no" || res.Header.Get("X-Request-Id") == "" {
				t.Errorf("headers %v", res.Header)
			}
		})
	}
}

func TestFront_routes(t *testing.T) {
	t.Parallel()
	d := openDoor(t, false, "")
	post := func(path, contentType string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Type: " + contentType + "\r\n\r\n"
	}
	put := func(path, contentType string) string {
		return "PUT" + strings.TrimPrefix(post(path, contentType), "POST")
	}
	oid := strings.Repeat("ab", 32)
	cases := []struct {
		name, request, want string // want is the handler and what it saw, or a status
	}{
		{"fetch advertisement", get("/g/a.git/info/refs?service=git-upload-pack"), "info-refs /g/a.git/info/refs?service=git-upload-pack"},
		{"push advertisement", get("/g/a.git/info/refs?service=git-receive-pack"), "info-refs /g/a.git/info/refs?service=git-receive-pack"},
		{"collapsed", get("//g/./a.git//info/refs?service=git-upload-pack"), "info-refs /g/a.git/info/refs?service=git-upload-pack"},
		{"dumb protocol", get("/g/a.git/info/refs"), "404"},
		{"other service", get("/g/a.git/info/refs?service=git-upload-archive"), "404"},
		{"two services", get("/g/a.git/info/refs?service=git-upload-pack&service=git-receive-pack"), "404"},
		{"service in a broken query", get("/g/a.git/info/refs?service=git-upload-pack&x;y=1"), "404"},
		{"head", "HEAD /g/a.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"},
		{"dumb object", get("/g/a.git/objects/info/packs"), "404"},
		{"dumb HEAD file", get("/g/a.git/HEAD"), "404"},
		{"config", get("/g/a.git/config"), "404"},
		{"fetch", post("/g/a.git/git-upload-pack", "application/x-git-upload-pack-request"), "upload-pack /g/a.git/git-upload-pack"},
		{"push", post("/g/a.git/git-receive-pack", "application/x-git-receive-pack-request"), "receive-pack /g/a.git/git-receive-pack"},
		{"push typed as fetch", post("/g/a.git/git-receive-pack", "application/x-git-upload-pack-request"), "404"},
		{"wrong type", post("/g/a.git/git-upload-pack", "text/plain"), "404"},
		{"type with parameters", post("/g/a.git/git-upload-pack", "application/x-git-upload-pack-request; a=b"), "404"},
		{"two types", "POST /g/a.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n" + packRequest, "404"},
		{"get of a pack service", get("/g/a.git/git-upload-pack"), "404"},
		{"more below", post("/g/a.git/git-upload-pack/x", "application/x-git-upload-pack-request"), "404"},
		{"lfs batch", post("/g/a.git/info/lfs/objects/batch", "application/vnd.git-lfs+json"), "proxy /g/a.git/info/lfs/objects/batch"},
		{"lfs upload", put("/g/a.git/gitlab-lfs/objects/"+oid+"/12", "application/octet-stream"), "body-upload /g/a.git/gitlab-lfs/objects/" + oid + "/12"},
		{"lfs upload of another type", put("/g/a.git/gitlab-lfs/objects/"+oid+"/12", "text/plain"), "404"},
		{"lfs upload without a size", put("/g/a.git/gitlab-lfs/objects/"+oid+"/", "application/octet-stream"), "404"},
		{"lfs upload of no object", put("/g/a.git/gitlab-lfs/objects/"+oid[1:]+"/12", "application/octet-stream"), "404"},
		{"lfs permission from outside", put("/g/a.git/gitlab-lfs/objects/"+oid+"/12/authorize", "application/octet-stream"), "404"},
		{"attachment", post("/api/v4/projects/g%2fa/uploads", "multipart/form-data; boundary=b"), "form-upload /api/v4/projects/g%2Fa/uploads"},
		{"attachments", get("/api/v4/projects/1/uploads"), "api /api/v4/projects/1/uploads"},
		{"attachment's permission", post("/api/v4/projects/1/uploads/authorize", ""), "api /api/v4/projects/1/uploads/authorize"},
		{"attachment deeper", post("/api/v4/projects/g/a/uploads", ""), "api /api/v4/projects/g/a/uploads"},
		{"lfs download", get("/g/a.git/gitlab-lfs/objects/" + oid), "proxy /g/a.git/gitlab-lfs/objects/" + oid},
		{"without .git", get("/g/a/info/refs?service=git-upload-pack"), "pages /g/a/info/refs?service=git-upload-pack"},
		{"the repository's page", get("/g/a.git"), "pages /g/a.git"},
		{"api", get("/api/v4/projects/g%2fa"), "api /api/v4/projects/g%2Fa"},
		{"file in the api", get("/api/v4/projects/1/repository/files/x.git/raw"), "api /api/v4/projects/1/repository/files/x.git/raw"},
		{"jobs", post("/api/v4/jobs/request", "application/json"), "job-request /api/v4/jobs/request"},
		{"a job", get("/api/v4/jobs/request/1"), "api /api/v4/jobs/request/1"},
		{"file page", get("/g/a/-/blob/main/x.git/y"), "pages /g/a/-/blob/main/x.git/y"},
		{"health", get("/-/health"), "health /-/health"},
		{"liveness", get("/-/liveness"), "health /-/liveness"},
		{"readiness with a token", get("/-/readiness?all=1"), "health /-/readiness?all=1"},
		{"web socket", "GET //-/cable?a=b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n", "cable /-/cable?a=b"},
		{"no web socket", get("/-/cable"), "pages /-/cable"},
		{"below readiness", get("/-/readiness/x"), "pages /-/readiness/x"},
		{"root", get("/"), "pages /"},
		{"empty query mark", get("/a?"), "pages /a?"},
		{"absolute form", get("http://other/a?b"), "pages /a?b"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			res, body := d.raw(t, tc.request)
			got := body
			if res.StatusCode != http.StatusOK {
				got = fmt.Sprint(res.StatusCode)
			}
			if got != tc.want {
				t.Errorf("answer %d %q, want %q", res.StatusCode, body, tc.want)
			}
		})
	}
}

func TestFront_internalAPI(t *testing.T) {
	t.Parallel()
	public := openDoor(t, false, "/gitlab")
	targets := []string{"http://h/api/v4/internal/check", "http:api/v4/internal/check", "http:%61pi/v4/internal", "/api/v4/internal/check?x#y"}
	for _, target := range append(targets, internalShapes...) {
		if strings.ContainsAny(target, `\`) || !strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "http:") {
			continue // no request target
		}
		for _, method := range []string{"GET", "POST", "HEAD"} {
			// The body never comes: the answer must not wait for it.
			res, body := public.raw(t, method+" "+target+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\n")
			if res.StatusCode != http.StatusNotFound || method != "HEAD" && body != "Not Found\n" {
				t.Errorf("%s %s on the public door: %d %q, want 404", method, target, res.StatusCode, body)
			}
		}
	}
	if public.seen != nil {
		t.Errorf("a request reached a handler: %v", public.seen.URL)
	}

	internal := openDoor(t, true, "/gitlab")
	for target, want := range map[string]string{
		"/gitlab/api/v4/internal/allowed": "proxy /gitlab/api/v4/internal/allowed",
		"/gitlab//api/v4/internal/check":  "proxy /gitlab/api/v4/internal/check",
	} {
		if res, body := internal.raw(t, get(target)); res.StatusCode != 200 || body != want {
			t.Errorf("GET %s on the internal door: %d %q, want %q", target, res.StatusCode, body, want)
		}
	}
}

func TestFront_correlation(t *testing.T) {
	t.Parallel()
	for _, internal := range []bool{false, true} {
		d := openDoor(t, internal, "")
		res, _ := d.raw(t, "GET /a HTTP/1.1\r\nHost: x\r\nX-Request-Id: CLIENT1\r\nConnection: X-Request-Id\r\n\r\n")
		got := res.Header.Get("X-Request-Id")
		if (got == "CLIENT1") != internal || got == "" {
			t.Errorf("internal %v: the client got X-Request-Id %q", internal, got)
		}
		if passed := d.seen.Header.Get("X-Request-Id"); passed != got {
			t.Errorf("internal %v: the handler got X-Request-Id %q, the client %q", internal, passed, got)
		}
	}
}

func TestFront_accessLine(t *testing.T) {
	t.Parallel()
	d := openDoor(t, true, "")
	for _, request := range []string{get("/g/a.git/info/refs?service=git-upload-pack"), get("/api/v4/internal/allowed"),
		get("/api/v4/internal/other"), "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", get("/g/a.git/x")} {
		d.raw(t, request)
	}
	var got []string
	for line := range strings.Lines(d.log.String()) {
		var entry struct {
			Msg, Method, Route, Path string
			Status                   int
			CorrelationID            string `json:"correlation_id"`
			RemoteIP                 string `json:"remote_ip"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry.CorrelationID == "" {
			t.Errorf("no correlation id in %q", line)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d %s", entry.Msg, entry.Method, entry.Route, entry.Path, entry.Status, entry.RemoteIP))
	}
	want := []string{
		"access GET /:repository.git/info/refs /g/a.git/info/refs 200 127.0.0.1",
		"access GET /api/v4/internal/allowed /api/v4/internal/allowed 200 127.0.0.1",
		"access GET /api/v4/internal /api/v4/internal/other 200 127.0.0.1",
		"access BREW refused / 405 ",
		"access GET /:repository.git /g/a.git/x 404 127.0.0.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("access lines (-want +got):\n%s", diff)
	}
}

func TestFront_panic(t *testing.T) {
	t.Parallel()
	d := openDoor(t, false, "")
	if res, err := http.Get("http://" + d.addr + "/panic"); err == nil {
		_ = res.Body.Close()
		t.Errorf("a panic was answered with %d, want a closed connection", res.StatusCode)
	}
	if log := d.log.String(); !strings.Contains(log, "on purpose") || !strings.Contains(log, "stack") || !strings.Contains(log, `"aborted":true`) {
		t.Errorf("the panic is not in the log: %s", log)
	}
	if res, _ := d.raw(t, get("/a")); res.StatusCode != 200 {
		t.Errorf("after a panic: %d", res.StatusCode)
	}
}

// A body that stalls is cut; one that was read leaves no deadline behind for the
// next request of the connection.
func TestFront_bodyProgress(t *testing.T) {
	t.Parallel()
	d := openDoor(t, false, "")
	started := time.Now()
	d.raw(t, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
	if took := time.Since(started); took < 200*time.Millisecond || took > 10*time.Second {
		t.Errorf("a stalled body was cut after %v, want about 300ms", took)
	}
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	br := bufio.NewReader(conn)
	for i := range 2 {
		if _, err := io.WriteString(conn, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-time.After(500 * time.Millisecond) // longer than the body's deadline
		}
	}
}

// FuzzRouter compares the table with its description in words.
func FuzzRouter(f *testing.F) {
	for _, s := range []string{"/g/a.git/info/refs", "/g/a.git/git-upload-pack", "/api/v4/x", "/-/health", "/", "/.git/info/refs",
		"/g/a.git/b.git/info/refs", "/api/v4/internal/x", "/g/-/x.git/info/refs"} {
		for _, m := range []string{"GET", "POST"} {
			f.Add(m, s, "service=git-upload-pack", "application/x-git-upload-pack-request")
		}
	}
	var got string
	say := func(name string) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got = name })
	}
	door := &Front{}
	router := door.router(Handlers{InfoRefs: say("info-refs"), UploadPack: say("upload-pack"),
		ReceivePack: say("receive-pack"), Health: say("health"), Cable: say("cable"), JobRequest: say("job-request"), API: say("api"), Proxy: say("proxy"), Pages: say("pages")})
	f.Fuzz(func(t *testing.T, method, path, query, contentType string) {
		clean, err := cleanPath(path)
		if err != nil || !methods[method] {
			return
		}
		r := httptest.NewRequest(method, "/", nil)
		r.Header.Set("Content-Type", contentType)
		r.URL.RawQuery = query
		got = "404"
		router.ServeHTTP(httptest.NewRecorder(), withPath(r, clean))
		if want := describe(method, clean, query, contentType); got != want {
			t.Fatalf("%s %s?%s (%s) went to %s, want %s", method, clean, query, contentType, got, want)
		}
	})
}

// describe says where a request belongs.
func describe(method, path, query, contentType string) string {
	name, rest, inRepository := strings.Cut(path, ".git/")
	inRepository = inRepository && name != "/" && !strings.HasSuffix(name, "/") && !strings.Contains(name, "/-/")
	pack := strings.TrimPrefix(rest, "git-")
	known := rest == "git-upload-pack" || rest == "git-receive-pack"
	switch {
	case inRepository && method == "GET" && rest == "info/refs" && oneService(query):
		return "info-refs"
	case inRepository && method == "POST" && known && contentType == "application/x-git-"+pack+"-request":
		return pack
	case inRepository && !strings.HasPrefix(path, "/api/") && !strings.HasPrefix(rest, "info/lfs/"):
		return "404"
	case path == "/-/health" || path == "/-/liveness" || path == "/-/readiness":
		return "health"
	case strings.HasPrefix(path, internalPrefix) || inRepository && !strings.HasPrefix(path, "/api/"):
		return "proxy"
	case path == "/api/v4/jobs/request":
		return "job-request"
	case strings.HasPrefix(path, "/api/"):
		return "api"
	}
	return "pages"
}

func oneService(query string) bool {
	n, good := 0, false
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(pair, "%;+") { // the oracle leaves decoding to TestFront_routes
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.RawQuery = query
			return isInfoRefs(r, "info/refs")
		}
		if key == "service" {
			n++
			good = value == "git-upload-pack" || value == "git-receive-pack"
		}
	}
	return n == 1 && good
}
