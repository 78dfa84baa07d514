package faults_test

import (
	"context"
	"encoding/json"
	"net"
	"sync"

	"gitsplit/kit/fault"
)

// watch is who the processes of an instance tell at which point they are. Those that
// a trial waits for stay there; the others go on.
type watch struct {
	ln   net.Listener
	mu   sync.Mutex
	wait map[place]*stop
}

// place is a point of one push or clone.
type place struct{ point, subject string }

// stop is a process that will be held at a place.
type stop struct {
	skip    int                // how often it passes before
	reached chan fault.Reached // told once
	release chan struct{}      // closed when it may go on
}

func newWatch(socket string) (*watch, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		return nil, err
	}
	w := &watch{ln: ln, wait: map[place]*stop{}}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return w, nil
}

// hold stops the next process at the place, after it has been passed skip times.
func (w *watch) hold(p place, skip int) *stop {
	s := &stop{skip: skip, reached: make(chan fault.Reached, 1), release: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wait[p] = s
	return s
}

// forget ends the waiting at a place: nobody is held there any more.
func (w *watch) forget(p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.wait[p]; s != nil {
		delete(w.wait, p)
		close(s.release)
	}
}

func (w *watch) serve(conn net.Conn) {
	defer conn.Close()
	var r fault.Reached
	if json.NewDecoder(conn).Decode(&r) != nil {
		return
	}
	if s := w.take(place{r.Point, r.Subject}); s != nil {
		s.reached <- r
		<-s.release
	}
	_, _ = conn.Write([]byte{'\n'})
}

// take returns the stop for a process that has come to a place, if it is to be held.
func (w *watch) take(p place) *stop {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.wait[p]
	if s == nil || s.skip < 0 {
		return nil
	}
	s.skip--
	if s.skip >= 0 {
		return nil
	}
	return s
}
