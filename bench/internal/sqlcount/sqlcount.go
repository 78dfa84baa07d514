// Package sqlcount stands between programs and PostgreSQL and counts round trips: each
// ends with the server's ReadyForQuery (PostgreSQL, Frontend/Backend Protocol). It
// changes nothing that passes.
package sqlcount

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
)

// socketName is what PostgreSQL's clients look for in a directory.
const socketName = ".s.PGSQL.5432"

// Proxy listens in a directory of its own, as PostgreSQL would.
type Proxy struct {
	dir string
	ln  net.Listener

	mu     sync.Mutex
	server string
	trips  map[int]int // by the pid of the client
	conns  []io.Closer
	wg     sync.WaitGroup
}

// Listen makes the directory and listens there. Between says where the server is.
func Listen(dir string) (*Proxy, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", filepath.Join(dir, socketName)) //nolint:noctx // until Close
	if err != nil {
		return nil, err
	}
	p := &Proxy{dir: dir, ln: ln, trips: map[int]int{}}
	p.wg.Go(p.accept)
	return p, nil
}

var databaseURL = regexp.MustCompile(`(?m)^database_url: *"?([^"\n]+)"?$`)

// Between reads the database's address from a configuration of rails-api, makes it the
// server, and returns the address that leads through the proxy.
func (p *Proxy) Between(config string) (through string, err error) {
	raw, err := os.ReadFile(config) //nolint:gosec // of an instance of ours
	if err != nil {
		return "", err
	}
	m := databaseURL.FindSubmatch(raw)
	if m == nil {
		return "", fmt.Errorf("no database_url in %s", config)
	}
	u, err := url.Parse(string(m[1]))
	if err != nil {
		return "", err
	}
	q := u.Query()
	p.mu.Lock()
	p.server = filepath.Join(q.Get("host"), socketName)
	p.mu.Unlock()
	q.Set("host", p.dir)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Trips is the number of round trips of a client process so far.
func (p *Proxy) Trips(pid int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trips[pid]
}

// Close ends all connections.
func (p *Proxy) Close() error {
	err := p.ln.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close() // closed already: fine
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		s, err := net.Dial("unix", p.server) //nolint:noctx // local
		if err != nil {
			p.mu.Unlock()
			_ = c.Close()
			continue
		}
		p.conns = append(p.conns, c, s)
		p.mu.Unlock()
		pid := peerOf(c)
		p.wg.Go(func() { _, _ = io.Copy(s, c); _ = s.Close() })
		p.wg.Go(func() { _ = p.count(c, s, pid); _ = c.Close() })
	}
}

// count copies the server's messages: a byte of kind, a length that counts itself, the
// rest.
func (p *Proxy) count(to io.Writer, from io.Reader, pid int) error {
	r := bufio.NewReader(from)
	w := bufio.NewWriter(to)
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return errors.Join(err, w.Flush())
		}
		if head[0] == 'Z' {
			p.mu.Lock()
			p.trips[pid]++
			p.mu.Unlock()
		}
		if _, err := w.Write(head[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(w, r, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return err
		}
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// peerOf is the process at the other end, 0 if the kernel does not tell.
func peerOf(c net.Conn) (pid int) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
