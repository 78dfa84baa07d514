package logs

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

// maxLine bounds what is kept of one line; maxTail is how many of the last lines
// are kept for the report of a failed start.
const (
	maxLine = 64 << 10
	maxTail = 12
)

// Sink is the output of one service. Its Write never fails for long and never
// blocks on a reader: a full disk must not stop a service. Safe for concurrent use.
type Sink struct {
	name    string
	file    io.Writer
	console *Console
	read    Format

	mu    sync.Mutex
	part  []byte
	tail  []string
	shown bool // a line of it was on the terminal
}

// NewSink returns the sink of the named service, whose lines have the format.
func NewSink(name string, file io.Writer, console *Console, read Format) *Sink {
	return &Sink{name: name, file: file, console: console, read: read}
}

// Write takes output in pieces of any size. It always takes all of it.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := p
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			s.keep(rest)
			return len(p), nil
		}
		s.keep(rest[:i])
		s.flush()
		rest = rest[i+1:]
	}
}

// keep adds to the line in progress, up to its limit.
func (s *Sink) keep(p []byte) {
	s.part = append(s.part, p[:min(len(p), maxLine-len(s.part))]...)
}

// flush ends the line in progress.
func (s *Sink) flush() {
	entry := s.read(string(s.part))
	s.part = append(s.part, '\n')
	_, _ = s.file.Write(s.part) // a log that cannot be written is no reason to stop
	if entry.Text != "" {
		s.tail = append(s.tail, entry.Text)
		if len(s.tail) > maxTail {
			s.tail = slices.Delete(s.tail, 0, 1)
		}
	}
	s.shown = s.console.show(s.name, entry) || s.shown
	s.part = s.part[:0]
}

// LastWords returns the last lines of a service that ended without a word on the
// terminal, in the form shown there. If it had any, there is nothing to add.
func (s *Sink) LastWords() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.part) > 0 {
		s.flush()
	}
	if s.shown {
		return nil
	}
	return slices.Clone(s.tail)
}
