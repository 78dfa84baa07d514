// Package streamio turns the byte fields of streamed gRPC messages into an io.Reader and an io.Writer
// (wire/gitaly.md §5.1), so that handlers and relays copy instead of holding a pack in memory. NewReader and NewWriter
// know only bytes and go with any codec; NewReceiver and NewSender, for what is large, have the messages of a stream and
// a Codec at their end of it.
package streamio

import (
	"errors"
	"io"
	"sync"
)

// MaxChunk is the largest piece of data that is put into one message.
const MaxChunk = 128 << 10

// copySize is what ReadFrom reads at a time: enough to keep gRPC busy, and little for a stream that idles.
const copySize = 64 << 10

// buffers is a cache, not state.
var buffers sync.Pool

// NewReader returns a reader of what recv gives, message by message. Empty messages are skipped. The error of recv,
// io.EOF at the end of the stream, is final. The reader keeps no more than one message. Not for concurrent use.
func NewReader(recv func() ([]byte, error)) io.Reader { return &reader{recv: recv} }

type reader struct {
	recv func() ([]byte, error)
	rest []byte
	err  error
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes each message as it came, without a copy; io.Copy uses it.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
		n, err := w.Write(r.rest)
		total += int64(n)
		r.rest = r.rest[n:]
		if err != nil {
			return total, err
		}
	}
}

// fill makes sure that something is left to read.
func (r *reader) fill() error {
	for len(r.rest) == 0 && r.err == nil {
		var b []byte
		if b, r.err = r.recv(); len(b) > 0 {
			r.rest = b
		}
	}
	if len(r.rest) > 0 {
		return nil
	}
	return r.err
}

// NewWriter returns a writer that passes data to send in pieces of at most MaxChunk bytes. send must not keep the
// slice. Not for concurrent use: neither are gRPC streams.
func NewWriter(send func([]byte) error) io.Writer { return writer{send: send} }

type writer struct{ send func([]byte) error }

func (w writer) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n := min(len(p)-sent, MaxChunk)
		if err := w.send(p[sent : sent+n]); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// ReadFrom sends what src gives, as it comes; io.Copy uses it.
func (w writer) ReadFrom(src io.Reader) (int64, error) {
	buf, ok := buffers.Get().(*[]byte)
	if !ok {
		b := make([]byte, copySize)
		buf = &b
	}
	defer buffers.Put(buf)
	var total int64
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			if err := w.send((*buf)[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
