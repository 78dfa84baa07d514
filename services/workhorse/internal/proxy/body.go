package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

type bodyKey struct{}

// clientBody remembers whether reading the client's body failed: then the fault
// is not rails-api's.
type clientBody struct {
	io.ReadCloser
	bad atomic.Bool
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.bad.Store(true)
	}
	return n, err
}

func (b *clientBody) failed() bool { return b.bad.Load() }
