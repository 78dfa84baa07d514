package githttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

var (
	errTooLarge = errors.New("request body is too large")
	errTooSlow  = errors.New("request body took too long")
	errBadBody  = errors.New("broken request body")
)

// limitedBody is a request body that ends with errTooLarge past its size limit.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 { // one byte more tells the end from the limit
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// limit bounds the body of r; 0 is no limit.
func limit(r *http.Request, bytes int64) {
	if bytes > 0 {
		r.Body = &limitedBody{ReadCloser: r.Body, left: bytes}
	}
}

// requestBody is the body as the relay reads it. It learns what became of it:
// atEnd runs once, at the regular end; broken is kept for the answer. Reads may
// come from the relay and, after it, from drain.
type requestBody struct {
	src      io.Reader
	atEnd    func()
	onBreak  func()
	deadline time.Time // zero is none

	mu     sync.Mutex
	err    error // sticky
	ending sync.Once
}

// Read reads on. A failure to read is errBadBody and not the end of the body, so
// that half a push is never taken for a whole one.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if !b.deadline.IsZero() && time.Now().After(b.deadline) {
		b.err = errTooSlow
		b.onBreak()
		return 0, b.err
	}
	n, err := b.src.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		b.err = io.EOF
		b.ending.Do(b.atEnd)
	default:
		b.err = classify(err)
		b.onBreak()
	}
	return n, b.err
}

func classify(err error) error {
	switch {
	case errors.Is(err, errTooLarge):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", errTooSlow, err)
	}
	return fmt.Errorf("%w: %w", errBadBody, err)
}

// failure returns why the body could not be read, or nil.
func (b *requestBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

// drain reads the rest of the body to nowhere, for at most the given time. It
// returns at once if there is no rest.
func (b *requestBody) drain(d time.Duration) {
	buf := make([]byte, 32<<10)
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := b.Read(buf); err != nil {
			return
		}
	}
}
