package store

import (
	"errors"
	"fmt"
	"io"
)

// Failures of Save that are not ours; what else it returns is. The text of
// ErrTooLarge is the one that clients see (wire/workhorse.md §6.4).
var (
	// ErrTooLarge means that the upload is larger than it may be.
	ErrTooLarge = errors.New("entity is too large")
	// ErrSource means that the upload could not be read: its sender left, was too
	// slow, or sent something broken.
	ErrSource = errors.New("reading the upload")
)

// source is an upload while it is read: it counts, sums, and ends with ErrTooLarge
// past the limit. A failure to read wraps ErrSource.
type source struct {
	r    io.Reader
	sums *sums
	max  int64 // 0 is no limit
	n    int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if s.max > 0 && s.n > s.max {
		return 0, ErrTooLarge
	}
	_, _ = s.sums.Write(p[:n]) // a hash never fails
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrSource, err)
	}
	return n, err
}
