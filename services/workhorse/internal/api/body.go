package api

import (
	"io"
	"net/http"
	"sync"
)

// heldBody keeps a request's body open while the request may still go to another
// backend: a transport closes the body of a request that it could not send.
type heldBody struct {
	io.ReadCloser

	mu       sync.Mutex
	read     bool
	closed   bool // by a transport
	released bool
}

// hold replaces the body of r, if it has one.
func hold(r *http.Request) *heldBody {
	b := &heldBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = b
	}
	return b
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// Close closes the body, or notes that it is to be closed.
func (b *heldBody) Close() error {
	b.mu.Lock()
	b.closed = true
	released := b.released
	b.mu.Unlock()
	if released {
		return b.ReadCloser.Close()
	}
	return nil
}

// touched reports whether anything was read.
func (b *heldBody) touched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// release lets Close through, and does what it was asked to so far.
func (b *heldBody) release() {
	b.mu.Lock()
	b.released = true
	closed := b.closed
	b.mu.Unlock()
	if closed {
		_ = b.ReadCloser.Close() // the transport ignores it too
	}
}
