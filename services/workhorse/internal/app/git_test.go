package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/config"
	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/app"
)

const (
	fetchPath = "/g/app.git/git-upload-pack"
	pushPath  = "/g/app.git/git-receive-pack"
	fetchType = "application/x-git-upload-pack-request"
	pushType  = "application/x-git-receive-pack-request"
)

func TestInfoRefs(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, service := range []string{"git-upload-pack", "git-receive-pack"} {
		for _, accept := range []string{"", "deflate, gzip", "gzip;q=0", "identity, gzip;q=0.5", "*"} {
			res, body := s.do("GET", "/g/app.git/info/refs?service="+service, nil, "Accept-Encoding", accept)
			zipped := accept == "deflate, gzip"
			if got := res.Header.Get("Content-Encoding"); (got == "gzip") != zipped {
				t.Errorf("Accept-Encoding %q: Content-Encoding %q", accept, got)
			}
			if zipped {
				body = gunzip(t, body)
			}
			if want := fmt.Sprintf("%04x# service=%s\n0000", len(service)+15, service); !strings.HasPrefix(body, want) {
				t.Errorf("%s: advertisement %.60q", service, body)
			}
			for name, want := range map[string]string{"Content-Type": "application/x-" + service + "-advertisement",
				"Cache-Control": "no-cache, max-age=0, must-revalidate", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s: %s = %q, want %q", service, name, got, want)
				}
			}
		}
	}
}

func gunzip(t *testing.T, body string) string {
	t.Helper()
	zr, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, err := zw.Write(plain)
	if err = errors.Join(err, zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInfoRefs_failures(t *testing.T) {
	t.Parallel()
	down := "The git server, Gitaly, is not available at this time. Please contact your administrator.\n"
	cases := []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{"unavailable", status.Error(codes.Unavailable, "x"), 503, down},
		{"overloaded", busy(), 500, "Internal Server Error\n"},
		{"not found", status.Error(codes.NotFound, "repository not found"), 404, "Not Found.\n"},
		{"invalid", status.Error(codes.InvalidArgument, "x"), 500, "Internal Server Error\n"},
		{"internal", status.Error(codes.Internal, "secret path"), 500, "Internal Server Error\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			s.gitaly.infoRefs = func() error { return tc.err }
			res, body := s.do("GET", refsPath, nil, "Accept-Encoding", "gzip")
			if res.StatusCode != tc.status || body != tc.body || res.Header.Get("Content-Encoding") != "" ||
				!strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("answer %d %q %v, want %d %q", res.StatusCode, body, res.Header, tc.status, tc.body)
			}
		})
	}
}

func TestInfoRefs_gitalyDown(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.answer = map[string]any{"GitalyServer": map[string]any{"address": "unix:/nonexistent/g.sock", "token": "x"}}
	out, err := tryGit(t, "", "ls-remote", s.remote())
	if err == nil || !strings.Contains(out, "remote: The git server, Gitaly, is not available at this time. Please contact your administrator.") {
		t.Errorf("ls-remote: %v\n%s", err, out)
	}
	res, body := s.do("POST", fetchPath, strings.NewReader("0000"), "Content-Type", fetchType)
	if res.StatusCode != 500 || body != "" {
		t.Errorf("fetch: %d %q, want 500 without body", res.StatusCode, body)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.gitaly.postUpload = func(context.Context, *sidechannel.Conn) error { return busy() }
	s.gitaly.postReceive = func(grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		return busy()
	}
	res, body := s.do("POST", fetchPath, strings.NewReader("0000"), "Content-Type", fetchType)
	text := "GitLab is currently unable to handle this request due to load (ID " + res.Header.Get("X-Request-Id") + ").\n"
	if want := fmt.Sprintf("%04xERR %s", len(text)+8, text); res.StatusCode != 200 || body != want {
		t.Errorf("fetch: %d %q, want 200 %q", res.StatusCode, body, want)
	}
	res, body = s.do("POST", pushPath, strings.NewReader("0000"), "Content-Type", pushType)
	text = "GitLab is currently unable to handle this request due to load (ID " + res.Header.Get("X-Request-Id") + ").\n"
	if want := fmt.Sprintf("0023\x01001aunpack server is busy\n0000%04x\x02%s0000", len(text)+5, text); res.StatusCode != 200 || body != want {
		t.Errorf("push: %d %q, want 200 %q", res.StatusCode, body, want)
	}
	// And what people see; the push is large, and gitaly reads none of it.
	work := s.work()
	s.commit(work, "big", noise(t, 4<<20))
	out, err := tryGit(t, work, "push", "origin", "main")
	if err == nil || !strings.Contains(out, "remote: GitLab is currently unable to handle this request due to load") {
		t.Errorf("push: %v\n%s", err, out)
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) {
		c.Git.UploadPackBodyLimit = 2 << 20
		c.Git.InflatedPushLimit = 3 << 20
		c.Git.InflateRatio = 20
	})
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		n, err := io.Copy(io.Discard, c)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c, "got %d", n)
		return err
	}
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		n := 0
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return stream.Send(&gitalypb.PostReceivePackResponse{Data: fmt.Appendf(nil, "got %d", n)})
			}
			if err != nil {
				return err
			}
			n += len(m.GetData())
		}
	}
	zeros := func(n int) []byte { return make([]byte, n) }
	cases := []struct {
		name, path, encoding string
		body                 []byte
		status               int
		want                 string
	}{
		{"plain fetch", fetchPath, "", zeros(1000), 200, "got 1000"},
		{"gzip fetch", fetchPath, "gzip", gzipped(t, zeros(1000)), 200, "got 1000"},
		{"gzip in capitals", fetchPath, "GZip", gzipped(t, zeros(1000)), 200, "got 1000"},
		{"gzip twice over", fetchPath, "gzip", append(gzipped(t, zeros(10)), gzipped(t, zeros(20))...), 200, "got 30"},
		{"fetch at the limit", fetchPath, "", noise(t, 2<<20), 200, "got 2097152"},
		{"fetch over the limit", fetchPath, "", noise(t, 2<<20+1), 413, "Request Entity Too Large\n"},
		{"gzip fetch over the limit", fetchPath, "gzip", gzipped(t, noise(t, 2<<20+1)), 413, "Request Entity Too Large\n"},
		{"gzip bomb", pushPath, "gzip", gzipped(t, zeros(2<<20)), 413, "Request Entity Too Large\n"},
		{"gzip push", pushPath, "gzip", gzipped(t, noise(t, 2<<20)), 200, "got 2097152"},
		{"gzip push over the limit", pushPath, "gzip", gzipped(t, noise(t, 3<<20+1)), 413, "Request Entity Too Large\n"},
		{"plain push has no limit", pushPath, "", zeros(5 << 20), 200, "got 5242880"},
		{"other encoding", fetchPath, "br", zeros(10), 500, "Internal Server Error\n"},
		{"two encodings", fetchPath, "gzip, gzip", zeros(10), 500, "Internal Server Error\n"},
		{"no gzip", fetchPath, "gzip", []byte("0000 this is no gzip"), 500, "Internal Server Error\n"},
		{"gzip cut short", fetchPath, "gzip", gzipped(t, noise(t, 1000))[:500], 400, "Bad Request\n"},
		{"gzip with a tail", pushPath, "gzip", append(gzipped(t, zeros(10)), "tail"...), 400, "Bad Request\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			contentType := map[string]string{fetchPath: fetchType, pushPath: pushType}[tc.path]
			headers := []string{"Content-Type", contentType}
			if tc.encoding != "" {
				headers = append(headers, "Content-Encoding", tc.encoding)
			}
			for name, body := range map[string]io.Reader{"length": bytes.NewReader(tc.body), "chunked": io.MultiReader(bytes.NewReader(tc.body))} {
				res, got := s.do("POST", tc.path, body, headers...)
				if res.StatusCode != tc.status || got != tc.want {
					t.Errorf("%s: %d %q, want %d %q", name, res.StatusCode, got, tc.status, tc.want)
				}
			}
		})
	}
}

// gitaly answers, and ends the call, before the push was read. The client, which
// writes everything before it reads, gets the whole answer.
func TestReceivePack_earlyAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *app.Config) { c.Git.DrainTimeout = config.Duration(time.Minute) })
	early := strings.Repeat("early answer ", 100_000) + "0000" // more than stays in memory; git's answers end with a flush
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		for rest := early; len(rest) > 0; {
			n := min(len(rest), 100_000)
			if err := stream.Send(&gitalypb.PostReceivePackResponse{Data: []byte(rest[:n])}); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return status.Error(codes.FailedPrecondition, "waiting for receive-pack: exit status 1")
	}
	res, body := s.do("POST", pushPath, io.MultiReader(bytes.NewReader(noise(t, 20<<20))), "Content-Type", pushType)
	if res.StatusCode != 200 || body != early {
		t.Errorf("answer %d with %d bytes, want 200 with %d", res.StatusCode, len(body), len(early))
	}
	_, answer := rawExchange(t, s.at(), "POST "+pushPath+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic cm9vdDpwYXNzd29yZA==\r\n"+
		"Content-Type: "+pushType+"\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n0000")
	if !strings.HasPrefix(answer, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n") {
		t.Errorf("answer with Expect: %.80q", answer)
	}
}

// A client that leaves ends the call of gitaly, and half a push is not a whole one.
func TestClientAbort(t *testing.T) {
	t.Parallel()
	for _, path := range []string{fetchPath, pushPath} {
		for _, half := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, half a body %v", path, half), func(t *testing.T) {
				t.Parallel()
				abort(t, path, half)
			})
		}
	}
}

func abort(t *testing.T, path string, half bool) {
	t.Helper()
	s := start(t, nil)
	reached, ended := make(chan struct{}), make(chan error, 1)
	s.gitaly.postUpload = func(ctx context.Context, c *sidechannel.Conn) error {
		_, err := io.ReadFull(c, make([]byte, 4))
		close(reached)
		<-ctx.Done()
		ended <- err
		return ctx.Err()
	}
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		_, err := stream.Recv()
		close(reached)
		<-stream.Context().Done()
		if _, err := stream.Recv(); half && (err == nil || errors.Is(err, io.EOF)) {
			ended <- fmt.Errorf("saw the regular end of the push: %w", err)
		}
		ended <- err
		return stream.Context().Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pr, pw := io.Pipe()
	defer func() { _ = pw.Close() }()
	go func() {
		_, _ = io.WriteString(pw, "0000")
		if !half {
			_ = pw.Close()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, "POST", s.base()+path, pr)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("root", "password")
	req.Header.Set("Content-Type", map[string]string{fetchPath: fetchType, pushPath: pushType}[path])
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := client(t, "").Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	within(t, reached, "gitaly to be called")
	cancel()
	_ = pw.CloseWithError(context.Canceled)
	within(t, gone, "the client to leave")
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("gitaly: %v", err)
		}
	case <-time.After(patience):
		t.Error("the call of gitaly goes on")
	}
}

func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
	}
}

// A fetch request that trickles in is cut by the total limit; afterwards nothing
// is left in the directory of early answers.
func TestUploadPack_slowBody(t *testing.T) {
	t.Parallel()
	var dir string
	s := start(t, func(c *app.Config) {
		c.Git.UploadPackBodyTimeout = config.Duration(300 * time.Millisecond)
		dir = c.Git.TempDir
	})
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		_, err := io.Copy(io.Discard, c)
		return err
	}
	pr, pw := io.Pipe()
	go func() {
		for {
			if _, err := io.WriteString(pw, "0000"); err != nil {
				return
			}
			<-time.After(20 * time.Millisecond)
		}
	}()
	defer func() { _ = pr.Close() }()
	res, _ := s.do("POST", fetchPath, pr, "Content-Type", fetchType)
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("answer %d", res.StatusCode)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Each pack request leaves what went out, for the project; connections to gitaly
// are counted.
func TestTraffic(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.answer = map[string]any{"ProjectID": 7, "RootNamespaceID": 9}
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		_, err := io.WriteString(c, "12345")
		return err
	}
	s.do("POST", fetchPath, strings.NewReader("0000"), "Content-Type", fetchType)
	if want := `"msg":"git_traffic","service":"gitlab-workhorse","git_service":"git-upload-pack","written_bytes":5,"project_id":7,"root_namespace_id":9,"correlation_id":"`; !strings.Contains(s.log.String(), want) {
		t.Errorf("%s is not in the log", want)
	}
	s.rails.answer = map[string]any{"GitalyServer": map[string]any{"address": "nonsense"}}
	s.do("POST", fetchPath, strings.NewReader("0000"), "Content-Type", fetchType)
	if got, want := s.metric("gitaly_connections_total"), "gitlab_workhorse_gitaly_connections_total{status=\"fail\"} 1\n"+
		"gitlab_workhorse_gitaly_connections_total{status=\"ok\"} 1\n"; got != want {
		t.Errorf("metrics:\n%swant\n%s", got, want)
	}
}
