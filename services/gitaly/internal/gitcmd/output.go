package gitcmd

import (
	"errors"
	"io"
	"sync"
)

// stderrLimit is how much of git's complaints is kept (security-baseline.md G8).
const stderrLimit = 10 << 10

// tail passes everything on and keeps the first bytes for the error and the log.
type tail struct {
	next io.Writer // may be nil
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	if room := stderrLimit - len(t.data); room > 0 {
		t.data = append(t.data, p[:min(room, len(p))]...)
	}
	t.mu.Unlock()
	if t.next == nil {
		return len(p), nil
	}
	return t.next.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}

// ErrTooLong says that git printed more than the caller is willing to hold.
var ErrTooLong = errors.New("output of git is too long")

type bounded struct {
	limit int
	data  []byte
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > b.limit {
		return 0, ErrTooLong
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
