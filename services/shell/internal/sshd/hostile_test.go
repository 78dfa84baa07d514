package sshd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"gitsplit/services/shell/internal/session"
	"gitsplit/services/shell/internal/sshd"
)

// TestServer_hugeCommand: a command line that fits a packet reaches the parser whole,
// one that does not ends its connection, and nobody else's.
func TestServer_hugeCommand(t *testing.T) {
	t.Parallel()
	length := runnerFunc(func(_ context.Context, req session.Request) (int, error) {
		_, err := fmt.Fprint(req.Stdout, len(req.Line))
		return 0, err
	})
	s := start(t, length, nil)
	other := s.dial(t)
	out, err := newSession(t, s.dial(t)).Output(strings.Repeat("a", 200<<10))
	if err != nil || string(out) != fmt.Sprint(200<<10) {
		t.Errorf("200 KiB: %q, %v", out, err)
	}
	if out, err := newSession(t, s.dial(t)).Output(strings.Repeat("a", 1<<20)); err == nil {
		t.Errorf("1 MiB was taken: %q", out)
	}
	if out, err := newSession(t, other).Output("abc"); err != nil || string(out) != "3" {
		t.Errorf("the other connection: %q, %v", out, err)
	}
}

// TestServer_oversizedPacket: lengths that no packet has end a connection at once.
func TestServer_oversizedPacket(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), nil)
	for _, size := range []uint32{0, 1, 300 << 10, 1<<31 - 1, 1<<32 - 1} {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		packet := append([]byte("SSH-2.0-Test\r\n"), binary.BigEndian.AppendUint32(nil, size)...)
		if _, err := nc.Write(append(packet, make([]byte, 64)...)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := io.Copy(io.Discard, nc); ended <- err }()
		_ = await(t, fmt.Sprintf("the end after a packet of %d bytes", size), ended)
		_ = nc.Close()
	}
}

// TestServer_idleConnections: 2,000 connections that say their version and then
// nothing keep nobody out.
func TestServer_idleConnections(t *testing.T) {
	t.Parallel()
	const idle = 2000
	s := start(t, runnerFunc(whoami), func(o *sshd.Options) {
		o.MaxConnections, o.MaxPerAddress = 2*idle, 2*idle
		o.Startups = sshd.Startups{Start: 2 * idle, Rate: 100, Full: 2 * idle}
	})
	for range idle {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		if _, err := io.WriteString(nc, "SSH-2.0-Idle\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := newSession(t, s.dial(t)).Output("x"); err != nil || !strings.HasPrefix(string(out), "key=7") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestServer_startups: connections that never log in take no more places than they
// may, and a place is free again as soon as one of them ends.
func TestServer_startups(t *testing.T) {
	t.Parallel()
	s := start(t, runnerFunc(whoami), func(o *sshd.Options) { o.Startups = sshd.Startups{Start: 3, Rate: 100, Full: 3} })
	user := s.dial(t) // logged in: it takes none
	var silent []net.Conn
	for range 3 {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.ReadFull(nc, make([]byte, len(sshd.Identification))); err != nil { // it has its place
			t.Fatal(err)
		}
		silent = append(silent, nc)
	}
	key := s.addKey(t, 8)
	if client, err := s.dialAs("git", gossh.PublicKeys(key)); err == nil {
		client.Close()
		t.Error("a fourth connection was not dropped")
	}
	if _, err := newSession(t, user).Output(""); err != nil {
		t.Errorf("who was logged in: %v", err)
	}
	_ = silent[0].Close()
	deadline := time.Now().Add(15 * time.Second)
	for {
		client, err := s.dialAs("git", gossh.PublicKeys(key))
		if err == nil {
			client.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the place of a closed connection is not free: %v", err)
		}
	}
}

// TestServer_300Sessions: ten on each of thirty connections, all at the same time.
func TestServer_300Sessions(t *testing.T) {
	t.Parallel()
	const connections, each = 30, 10
	var here sync.WaitGroup
	here.Add(connections * each)
	all := runnerFunc(func(_ context.Context, req session.Request) (int, error) {
		here.Done()
		here.Wait() // for the last of them
		_, err := io.WriteString(req.Stdout, req.Line)
		return 0, err
	})
	s := start(t, all, nil)
	faults := make(chan error, connections*each)
	for c := range connections {
		client := s.dial(t)
		for n := range each {
			go func() {
				line := fmt.Sprintf("%d/%d", c, n)
				sess, err := client.NewSession()
				if err != nil {
					here.Done()
					faults <- err
					return
				}
				out, err := sess.Output(line)
				if err == nil && string(out) != line {
					err = errors.New("the answer of another session: " + string(out))
				}
				faults <- err
			}()
		}
	}
	for range connections * each {
		if err := await(t, "300 sessions", faults); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkLogin is a whole login, client and server together: handshake, look-up of
// the key, signature.
func BenchmarkLogin(b *testing.B) {
	s := start(b, runnerFunc(whoami), nil)
	auth := gossh.PublicKeys(s.addKey(b, 7))
	for b.Loop() {
		client, err := s.dialAs("git", auth)
		if err != nil {
			b.Fatal(err)
		}
		_ = client.Close()
	}
}

// BenchmarkIdleUser reports what a connection costs that is logged in and silent,
// client and server together.
func BenchmarkIdleUser(b *testing.B) {
	const users = 1000
	for b.Loop() {
		b.ReportMetric(float64(idleMemory(b, users))/users/1024, "KiB/connection")
	}
}

// idleMemory is the growth of the heap and the stacks by n idle users.
func idleMemory(b *testing.B, n int) uint64 {
	b.Helper()
	s := start(b, runnerFunc(whoami), func(o *sshd.Options) {
		o.MaxConnections, o.MaxPerAddress = 2*n, 2*n
		o.Startups = sshd.Startups{Start: 2 * n, Rate: 100, Full: 2 * n}
	})
	auth := gossh.PublicKeys(s.addKey(b, 7))
	before := inUse()
	for range n {
		client, err := s.dialAs("git", auth)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = client.Close() })
	}
	return inUse() - before
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
