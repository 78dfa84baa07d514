package faults_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// link carries the connections between two processes, so that a test can cut them or
// let nothing through for a while.
type link struct {
	network string
	// addresses are where the connections lead to: to all in turn, past those in without,
	// which take no new ones, and those that do not answer.
	addresses []string
	ln        net.Listener

	mu      sync.Mutex
	conns   map[net.Conn]bool
	cut     bool
	lag     time.Duration // how late each piece comes
	without string
	turn    int
}

// newLink listens at from and connects to whoever listens at the addresses to by then.
func newLink(fromNetwork, from, toNetwork string, to ...string) (*link, error) {
	if fromNetwork == "unix" {
		if err := os.Remove(from); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), fromNetwork, from)
	if err != nil {
		return nil, err
	}
	l := &link{network: toNetwork, addresses: to, ln: ln, conns: map[net.Conn]bool{}}
	go l.serve()
	return l, nil
}

func (l *link) serve() {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return
		}
		go l.carry(conn)
	}
}

func (l *link) carry(client net.Conn) {
	defer client.Close()
	if !l.add(client) {
		return
	}
	defer l.remove(client)
	server, err := l.dial()
	if err != nil {
		return
	}
	defer server.Close()
	if !l.add(server) {
		return
	}
	defer l.remove(server)
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client) })
	both.Go(func() { l.copy(client, server) })
	both.Wait()
}

// dial connects to the next instance.
func (l *link) dial() (conn net.Conn, err error) {
	l.mu.Lock()
	first, without := l.turn, l.without
	l.turn++
	l.mu.Unlock()
	err = errors.New("no instance takes connections")
	for i := range l.addresses {
		address := l.addresses[(first+i)%len(l.addresses)]
		if address == without {
			continue
		}
		if conn, err = net.Dial(l.network, address); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// drain keeps new connections away from an instance; "" from none.
func (l *link) drain(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.without = address
}

func (l *link) copy(dst, src net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		l.wait()
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				_ = src.Close()
				return
			}
		}
		if err != nil {
			if half, ok := dst.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
				_ = half.CloseWrite()
			} else {
				_ = dst.Close()
			}
			return
		}
	}
}

func (l *link) wait() {
	l.mu.Lock()
	lag := l.lag
	l.mu.Unlock()
	if lag > 0 {
		<-time.After(lag)
	}
}

func (l *link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) remove(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// breakOff ends all connections and lets no new ones through.
func (l *link) breakOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		_ = c.Close()
	}
}

// delay makes each piece of data late.
func (l *link) delay(lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lag = lag
}

// heal undoes breakOff and delay.
func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.lag = false, 0
}

func (l *link) close() {
	_ = l.ln.Close()
	l.breakOff()
}
