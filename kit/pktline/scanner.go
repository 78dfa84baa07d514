package pktline

import (
	"errors"
	"io"
)

// Kind says what a packet is.
type Kind uint8

// The kinds of packets.
const (
	Data        Kind = iota // a payload, possibly empty (0004)
	FlushPkt                // 0000
	DelimPkt                // 0001
	ResponseEnd             // 0002
)

// Scanner reads packets one by one, in the manner of bufio.Scanner:
//
//	for s.Scan() { use(s.Kind(), s.Payload()) }
//	return s.Err()
//
// Call Close when done: it gives the packet buffer back. Not for concurrent use.
type Scanner struct {
	r       io.Reader
	buf     *[]byte
	kind    Kind
	payload []byte
	err     error
}

// NewScanner returns a Scanner of the packets of r. It reads no byte behind the packet it returned last.
func NewScanner(r io.Reader) *Scanner { return &Scanner{r: r, buf: buffers.get()} }

// Scan reads the next packet and reports whether there is one.
func (s *Scanner) Scan() bool {
	if s.err != nil {
		return false
	}
	s.err = s.read()
	return s.err == nil
}

func (s *Scanner) read() error {
	head := (*s.buf)[:lenHex]
	if _, err := io.ReadFull(s.r, head); err != nil {
		return err // io.EOF only between packets
	}
	n, err := parseLength(head)
	if err != nil {
		return err
	}
	switch n {
	case 0, 1, 2:
		s.kind, s.payload = FlushPkt+Kind(n), nil
		return nil
	case 3:
		return &HeaderError{Length: n}
	}
	s.kind, s.payload = Data, (*s.buf)[lenHex:n]
	if _, err := io.ReadFull(s.r, s.payload); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// Kind returns the kind of the packet that Scan read last.
func (s *Scanner) Kind() Kind { return s.kind }

// Payload returns the payload of that packet; it is valid until the next Scan or Close.
func (s *Scanner) Payload() []byte { return s.payload }

// Err returns what ended the scan: nil if the input ended between two packets.
func (s *Scanner) Err() error {
	if errors.Is(s.err, io.EOF) && !errors.Is(s.err, io.ErrUnexpectedEOF) {
		return nil
	}
	return s.err
}

// Close returns the buffer; Scan reports false from now on. It does not touch the reader.
func (s *Scanner) Close() {
	if s.buf == nil {
		return
	}
	buffers.put(s.buf)
	s.buf, s.payload = nil, nil
	if s.err == nil {
		s.err = io.EOF
	}
}
