package netx

import (
	"net"
	"sync"
	"time"
)

// How long a listener that is being closed waits for the next connection, and in all.
const (
	lastPause = 50 * time.Millisecond
	lastTotal = time.Second
)

// LastCall returns ln such that Close lets in first who is at the door. The system takes
// connections before a server accepts them, and would reset those that wait when the
// listener closes; a client cannot tell that from a server that died at work. Accept
// fails with net.ErrClosed after the last of them, and ln is closed then: who has begun
// to accept has to go on. A listener without deadlines is returned as it is.
func LastCall(ln net.Listener) net.Listener {
	if timed, ok := ln.(timedListener); ok {
		return &lastCall{timedListener: timed}
	}
	return ln
}

type timedListener interface {
	net.Listener
	SetDeadline(deadline time.Time) error
}

type lastCall struct {
	timedListener
	mu    sync.Mutex
	begun bool      // somebody accepts
	end   time.Time // of the last call; zero before Close
}

// Close does not wait. Once more, or before anybody accepts, it closes at once.
func (l *lastCall) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun || !l.end.IsZero() {
		return l.timedListener.Close()
	}
	l.end = time.Now().Add(lastTotal)
	return l.SetDeadline(time.Unix(1, 0)) // wakes Accept
}

func (l *lastCall) Accept() (net.Conn, error) {
	if !l.closing() {
		c, err := l.timedListener.Accept()
		if err == nil || !l.closing() {
			return c, err
		}
	}
	if time.Now().Before(l.end) && l.SetDeadline(time.Now().Add(lastPause)) == nil {
		if c, err := l.timedListener.Accept(); err == nil {
			return c, nil
		}
	}
	_ = l.timedListener.Close() // its only fault is to be closed already
	return nil, net.ErrClosed
}

// closing reports to Accept whether Close was called, and has set its deadline.
func (l *lastCall) closing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	return !l.end.IsZero()
}
