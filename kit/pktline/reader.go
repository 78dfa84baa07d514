package pktline

import (
	"errors"
	"io"
)

// Reader joins the payloads of packets into a byte stream that ends (io.EOF) with a flush packet. Nothing after the
// flush packet is read. Any other marker is a *HeaderError, and an input that ends without a flush packet is
// io.ErrUnexpectedEOF. It reads payloads straight into the caller's buffer and holds none. Not for concurrent use.
type Reader struct {
	r      io.Reader
	header [lenHex]byte
	remain int
	err    error
}

// NewReader returns a Reader of the packets of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read implements io.Reader. An error is final: later calls return it again.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.remain == 0 {
		if r.err == nil {
			r.err = r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n, err := r.r.Read(p[:min(len(p), r.remain)])
	r.remain -= n
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the flush packet is still missing
		}
		r.remain, r.err = 0, err
	}
	if n > 0 {
		return n, nil // the error, if any, comes with the next call
	}
	return 0, r.err
}

func (r *Reader) next() error {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	n, err := parseLength(r.header[:])
	switch {
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	case n < lenHex:
		return &HeaderError{Length: n}
	}
	r.remain = n - lenHex
	return nil
}
