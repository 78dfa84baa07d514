package app_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"gitsplit/services/workhorse/internal/app"
)

// cable is a backend of web sockets: it says how it was asked and echoes messages,
// until it hears "end".
func cable(c *websocket.Conn) {
	r := c.Request()
	_ = websocket.Message.Send(c, fmt.Sprintf("%s %s from %s as %s, cookie %s, %q", r.RequestURI, r.Host,
		r.Header.Get("X-Forwarded-For"), r.Header.Get("Gitlab-Workhorse"), r.Header.Get("Cookie"), r.Header.Get("Gitlab-Shell-Api-Request")))
	for {
		var text string
		if websocket.Message.Receive(c, &text) != nil || text == "end" {
			return
		}
		_ = websocket.Message.Send(c, "echo "+text)
	}
}

// browser opens a web socket.
func (s *setup) browser(path string) (*websocket.Conn, error) {
	s.t.Helper()
	c, err := websocket.NewConfig("ws://"+s.at()+path, "http://gitlab.example")
	if err != nil {
		s.t.Fatal(err)
	}
	c.Header.Set("Cookie", "a=b")
	c.Header.Set("X-Forwarded-For", "6.6.6.6")
	c.Header.Set("Gitlab-Shell-Api-Request", "forged")
	ws, err := c.DialContext(s.t.Context())
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	return ws, ws.SetDeadline(time.Now().Add(patience))
}

func hear(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	var got string
	if err := websocket.Message.Receive(ws, &got); err != nil || got != want {
		t.Fatalf("heard %.80q, %v; want %.80q", got, err, want)
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "c.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	backend := &http.Server{Handler: websocket.Server{Handler: cable}, ReadHeaderTimeout: patience}
	served := make(chan struct{})
	go func() { defer close(served); _ = backend.Serve(ln) }()
	t.Cleanup(func() { _ = backend.Close(); <-served })
	s := start(t, func(c *app.Config) { c.CableSocket = socket })

	ws, err := s.browser("/-/cable?x=1")
	if err != nil {
		t.Fatal(err)
	}
	hear(t, ws, "/-/cable?x=1 "+s.at()+" from 127.0.0.1 as dev, cookie a=b, \"\"")
	for _, text := range []string{"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "\n \n", strings.Repeat("x", 1<<20)} {
		if err := websocket.Message.Send(ws, text); err != nil {
			t.Fatal(err)
		}
		hear(t, ws, "echo "+text)
	}
	if err := websocket.Message.Send(ws, "end"); err != nil {
		t.Fatal(err)
	}
	var text string
	if err := websocket.Message.Receive(ws, &text); !errors.Is(err, io.EOF) {
		t.Errorf("after the backend's end: %q, %v", text, err)
	}

	for _, path := range []string{"/-/cable/x", "/api/v4/jobs/request", "/g/app/-/jobs/1/terminal.ws"} {
		if _, err := s.browser(path); err == nil {
			t.Errorf("%s takes web sockets", path)
		}
	}

	// workhorse stops though a web socket is open.
	if ws, err = s.browser("/-/cable"); err != nil {
		t.Fatal(err)
	}
	hear(t, ws, "/-/cable "+s.at()+" from 127.0.0.1 as dev, cookie a=b, \"\"")
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := websocket.Message.Receive(ws, &text); err == nil {
		t.Errorf("after the stop: %q", text)
	}
	// No server waits for what it has handed over, so the line may come late.
	for deadline := time.Now().Add(patience); strings.Count(s.log.String(), `"route":"/-/cable","path":"/-/cable","status":101`) != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no access lines of two web sockets")
		}
	}
}

// Without a backend of their own web sockets are rails-api's; one that refuses them
// answers as it likes.
func TestWebSocket_refused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no "+r.Header.Get("Upgrade"), http.StatusNotFound)
	}
	request := "GET /-/cable HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
	c := dialRaw(t, s.at())
	c.send(request)
	c.until("no websocket\n")
	c.send("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n") // is guarded still
	c.until("400 Bad Request")
	s.rails.stop()
	c = dialRaw(t, s.at())
	c.send(request)
	c.until("GitLab is not responding")
	s.rails.start()
}
