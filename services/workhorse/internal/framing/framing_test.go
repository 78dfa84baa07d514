package framing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const patience = 20 * time.Second

// serve runs a guarded server that says what it read.
func serve(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "[%s %q %v]", r.URL.Path, body, err)
	}))
	srv.Listener = Listen(srv.Listener)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// exchange sends the requests and returns the statuses and bodies of the answers.
func exchange(t *testing.T, addr, requests string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, requests); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	var got strings.Builder
	for {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			return got.String()
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 200 {
			body = nil
		}
		_, _ = fmt.Fprintf(&got, "%d%s ", res.StatusCode, body)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	post := "POST /p HTTP/1.1\r\nHost: x\r\n"
	next := "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
	cases := []struct{ name, requests, want string }{
		{"length", post + "Content-Length: 3\r\n\r\nabc" + next, `200[/p "abc" <nil>] 200[/next "" <nil>] `},
		{"chunked", post + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n" + next, `200[/p "abc" <nil>] 200[/next "" <nil>] `},
		{"chunked in capitals", post + "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n" + next, `200[/p "" <nil>] 200[/next "" <nil>] `},
		{"headers about framing inside a body", post + "Content-Length: 47\r\n\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + next,
			`200[/p "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" <nil>] 200[/next "" <nil>] `},
		{"http/1.0", "GET /p HTTP/1.0\r\nContent-Length: 0\r\n\r\n", `200[/p "" <nil>] `},
		{"both", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "400 "},
		{"both, the other way", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + next, "400 "},
		{"second request of a connection", next + post + "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + next,
			`200[/next "" <nil>] 400 `},
		{"after a chunked body", post + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
			`200[/p "a" <nil>] 400 `},
		{"length twice", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400 "},
		{"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400 "},
		{"list of lengths", post + "Content-Length: 3, 3\r\n\r\nabc", "400 "},
		{"signed length", post + "Content-Length: +3\r\n\r\nabc", "400 "},
		{"negative length", post + "Content-Length: -1\r\n\r\n", "400 "},
		{"hexadecimal length", post + "Content-Length: 0x3\r\n\r\nabc", "400 "},
		{"no length", post + "Content-Length:\r\n\r\n", "400 "},
		{"huge length", post + "Content-Length: 99999999999999999999\r\n\r\n", "400 "},
		{"encoding twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 "},
		{"list of encodings", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400 "},
		{"identity", post + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", "400 "},
		{"strange encoding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400 "},
		{"encoding with a control byte", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "400 "},
		{"space before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400 "},
		{"folded encoding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400 "},
		{"any folded line", post + "X: a\r\n\tb\r\n\r\n", "400 "},
		{"encoding in http/1.0", "POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n", "400 "},
		{"broken chunk size", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + next, `200[/p "" invalid byte in chunk length] `},
		{"chunk size with a prefix", post + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + next, `200[/p "" invalid byte in chunk length] `},
		{"chunk longer than its size", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + next, `200[/p "a" malformed chunked encoding] `},
		{"overlong line", "GET /" + strings.Repeat("a", maxLine) + " HTTP/1.1\r\nHost: x\r\n\r\n", "400 "},
	}
	addr := serve(t)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := exchange(t, addr, tc.requests); got != tc.want {
				t.Errorf("answers %q, want %q", got, tc.want)
			}
		})
	}
}

// stream is a connection that brings the given bytes.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error) { return s.Reader.Read(p) }

var framed = regexp.MustCompile(`(?im)^[ \t]*(transfer-encoding|content-length)[ \t]*:`)

// FuzzConn reads a guarded connection as net/http does: no request that gets
// through has more than one header about its framing, and bytes before a spoilt
// head are untouched.
func FuzzConn(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\naPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 3)
	f.Add([]byte("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n1\r\na\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"), 7)
	f.Add([]byte("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 100)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		piece = min(max(piece, 1), 4096)
		guarded := &Conn{Conn: stream{Reader: pieces(in, piece)}}
		out, err := io.ReadAll(guarded)
		if err != nil && !errors.Is(err, errChunks) {
			t.Fatalf("read: %v", err)
		}
		if passed := strings.TrimSuffix(string(out), spoil); !strings.HasPrefix(string(in), passed) && !strings.HasPrefix(string(in), string(out)) {
			t.Fatalf("%q became %q", in, out)
		}
		source := bytes.NewReader(out)
		br := bufio.NewReader(iotest.OneByteReader(source))
		for {
			start := len(out) - source.Len() - br.Buffered()
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			head := out[start : len(out)-source.Len()-br.Buffered()]
			if n := len(framed.FindAll(head, -1)); n > 1 {
				t.Fatalf("a request with %d headers about its framing got through: %q", n, head)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
	})
}

// pieces returns a reader that brings at most n bytes at a time.
func pieces(b []byte, n int) io.Reader {
	r := bytes.NewReader(b)
	return readerFunc(func(p []byte) (int, error) { return r.Read(p[:min(len(p), n)]) })
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
