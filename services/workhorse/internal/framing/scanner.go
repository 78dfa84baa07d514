package framing

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

var errAmbiguous = errors.New("ambiguous request")

// state is what the next bytes of a connection are.
type state uint8

const (
	requestLine state = iota
	headerLine
	body      // left bytes of it
	chunkSize // a line
	chunkEnd  // the line break after a chunk
	trailer   // lines up to an empty one
)

// maxLine is more than net/http takes of a head.
const maxLine = 80 << 10

// keptLine is the buffer that a connection keeps from one head to the next.
const keptLine = 1 << 10

// scanner follows the requests of a connection. The zero value is at the start of
// the first.
type scanner struct {
	state state
	line  []byte // the beginning of the current line
	left  uint64 // bytes of the body or chunk
	head  head
}

// head is what is known of the current request's framing.
type head struct {
	old     bool // HTTP/1.0
	length  bool // Content-Length was seen
	chunked bool // Transfer-Encoding was seen
	n       uint64
}

// advance follows p. It returns how much of p is good: all of it, or, with a fault,
// what comes up to and including the line at fault.
func (s *scanner) advance(p []byte) (good int, fault error) {
	for good < len(p) {
		if s.state == body {
			n := min(s.left, uint64(len(p)-good))
			good += int(n) //nolint:gosec // at most len(p)
			s.left -= n
			if s.left == 0 {
				s.afterBody()
			}
			continue
		}
		i := bytes.IndexByte(p[good:], '\n')
		if i < 0 {
			return len(p), s.keep(p[good:])
		}
		if err := s.keep(p[good : good+i]); err != nil {
			return good, err
		}
		good += i + 1
		line := bytes.TrimSuffix(s.line, []byte("\r"))
		err := s.take(line)
		s.line = s.line[:0]
		if err != nil {
			return good, err
		}
	}
	return good, nil
}

func (s *scanner) keep(p []byte) error {
	if len(s.line)+len(p) > maxLine {
		return errAmbiguous // net/http has given up before
	}
	s.line = append(s.line, p...)
	return nil
}

// take handles one line without its end.
func (s *scanner) take(line []byte) error {
	switch s.state {
	case requestLine:
		s.head = head{old: !bytes.HasSuffix(line, []byte("HTTP/1.1"))}
		s.state = headerLine
	case headerLine:
		if len(line) > 0 {
			return s.head.take(string(line))
		}
		s.afterHead()
		if cap(s.line) > keptLine {
			s.line = nil
		}
	case chunkSize:
		return s.takeChunkSize(string(line))
	case chunkEnd:
		if len(line) > 0 {
			return errChunks
		}
		s.state = chunkSize
	case trailer:
		if len(line) == 0 {
			s.state = requestLine
		}
	}
	return nil
}

// take handles a header line.
func (h *head) take(line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errAmbiguous // a folded line
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "transfer-encoding":
		if h.old || h.length || h.chunked || !strings.EqualFold(value, "chunked") {
			return errAmbiguous
		}
		h.chunked = true
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || value[0] == '+' || h.length || h.chunked {
			return errAmbiguous
		}
		h.length, h.n = true, n
	}
	return nil
}

func (s *scanner) afterHead() {
	switch {
	case s.head.chunked:
		s.state = chunkSize
	case s.head.n > 0:
		s.state, s.left = body, s.head.n
	default:
		s.state = requestLine
	}
}

func (s *scanner) afterBody() {
	s.state = requestLine
	if s.head.chunked {
		s.state = chunkEnd
	}
}

func (s *scanner) takeChunkSize(line string) error {
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(strings.TrimRight(size, " \t"), 16, 63)
	if err != nil || strings.ContainsAny(size, "+_xX") {
		return errChunks
	}
	s.state, s.left = body, n
	if n == 0 {
		s.state = trailer
	}
	return nil
}
