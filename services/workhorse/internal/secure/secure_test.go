package secure_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/cert"
	"gitsplit/services/workhorse/internal/framing"
	"gitsplit/services/workhorse/internal/secure"
)

const patience = 20 * time.Second

// server is an HTTP server behind a listener of ours.
type server struct {
	addr  string
	roots *x509.CertPool
}

// serve starts one that says what it was asked, over which protocol.
func serve(t *testing.T, timeout time.Duration) server {
	t.Helper()
	dir := t.TempDir()
	authority, err := cert.NewLocal(t.Context(), cert.LocalOptions{
		Dir: dir, Names: []string{"localhost", "127.0.0.1"}, Now: time.Now, Log: logging.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, cert.AuthorityFile)) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	s := server{roots: x509.NewCertPool()}
	s.roots.AppendCertsFromPEM(pem)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = plain.Addr().String()
	ln := secure.Listen(plain, secure.Options{Timeout: timeout, Log: logging.Discard(), Config: &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: append(secure.Protocols(), "acme-tls/1"), GetCertificate: authority.Get,
	}})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/echo" {
			echo(w)
			return
		}
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %v %s %q %v", r.Proto, r.TLS != nil && r.TLS.HandshakeComplete, r.URL.Path, body, err)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func (s server) dial(t *testing.T, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	config := &tls.Config{RootCAs: s.roots, ServerName: "localhost", MinVersion: tls.VersionTLS10}
	if change != nil {
		change(config)
	}
	d := tls.Dialer{Config: config}
	c, err := d.DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*tls.Conn), nil
}

func TestListen_protocols(t *testing.T) {
	t.Parallel()
	s := serve(t, patience)
	for name, tc := range map[string]struct {
		http2, http1 bool
		want         string
	}{
		"a browser":       {true, true, `HTTP/2.0 true /x "body" <nil>`},
		"http/1 only":     {false, true, `HTTP/1.1 true /x "body" <nil>`},
		"no negotiation":  {false, false, `HTTP/1.1 true /x "body" <nil>`},
		"http/2 demanded": {true, false, `HTTP/2.0 true /x "body" <nil>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p http.Protocols
			p.SetHTTP2(tc.http2)
			p.SetHTTP1(tc.http1 || !tc.http2)
			tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: "localhost"}} //nolint:gosec // a client
			if name == "no negotiation" {
				tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
				tr.Protocols = nil
			}
			defer tr.CloseIdleConnections()
			c := http.Client{Transport: tr, Timeout: patience}
			for range 2 { // the second on the same connection
				res, err := c.Post("https://"+s.addr+"/x", "text/plain", strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || string(got) != tc.want {
					t.Errorf("%q, %v; want %q", got, err, tc.want)
				}
			}
		})
	}
}

// Ambiguous requests are refused over TLS as on a plain connection.
func TestListen_ambiguous(t *testing.T) {
	t.Parallel()
	s := serve(t, patience)
	post := "POST /p HTTP/1.1\r\nHost: x\r\n"
	for name, tc := range map[string]struct{ request, want string }{
		"plain":                 {post + "Content-Length: 3\r\nConnection: close\r\n\r\nabc", "200"},
		"length and chunks":     {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"two lengths":           {post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400"},
		"folded":                {post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400"},
		"chunks in http/1.0":    {"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"an upgrade to http/2":  {"GET /p HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "200"},
		"the second of the two": {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + post + "Content-Length: +3\r\n\r\nabc", "200 400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := s.dial(t, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, tc.request); err != nil {
				t.Fatal(err)
			}
			var got []string
			for br := bufio.NewReader(c); ; {
				res, err := http.ReadResponse(br, nil)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, res.Body)
				got = append(got, res.Status[:3])
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("answers %v, want %s", got, tc.want)
			}
		})
	}
}

// A connection that stops being HTTP, such as a web socket, carries any bytes.
func TestListen_hijacked(t *testing.T) {
	t.Parallel()
	s := serve(t, patience)
	c, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	const bytes = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
	if _, err := io.WriteString(c, "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("go on\n"))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	got = make([]byte, len(bytes))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != bytes {
		t.Errorf("%q came back, %v", got, err)
	}
}

// echo takes the connection over and sends back what comes on it.
func echo(w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	framing.Release(c)
	_, _ = io.WriteString(c, "go on\n")
	_, _ = io.Copy(c, rw)
}

// What cannot become a connection is closed at once, and the listener goes on.
func TestListen_refused(t *testing.T) {
	t.Parallel()
	s := serve(t, patience)
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.0":          func(c *tls.Config) { c.MaxVersion = tls.VersionTLS10 },
		"TLS 1.1":          func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 },
		"another protocol": func(c *tls.Config) { c.NextProtos = []string{"smtp"} },
		"old ciphers": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA}
		},
	} {
		if _, err := s.dial(t, change); err == nil {
			t.Errorf("%s: a connection", name)
		}
	}
	c, err := s.dial(t, func(c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} })
	if err != nil {
		t.Fatalf("the handshake of a challenge: %v", err)
	}
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("after the handshake of a challenge: %q, %v", got, err)
	}
	plain, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if _, err := io.WriteString(plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(plain); !bytes.HasPrefix(got, []byte("HTTP/1.0 400 Bad Request\r\n")) || !bytes.Contains(got, []byte("HTTPS only")) {
		t.Errorf("a client without TLS reads %q", got)
	}
}

// A client that does not finish its handshake is cut off, and holds up nobody.
func TestListen_slowHandshake(t *testing.T) {
	t.Parallel()
	s := serve(t, 100*time.Millisecond)
	for name, first := range map[string]string{"nothing": "", "a part of a greeting": "\x16\x03\x01\x02\x00\x01\x00"} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client that sends %s is not cut off", name)
		}
	}
}

// Close does not wait for handshakes under way.
func TestListen_close(t *testing.T) {
	t.Parallel()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := secure.Listen(plain, secure.Options{Timeout: time.Hour, Log: logging.Discard(), Config: &tls.Config{MinVersion: tls.VersionTLS12}})
	c, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}
