// Package pktline reads and writes git's packet lines: four lower-case hex digits that give the length of the
// packet including themselves, then the payload. Lengths 0, 1 and 2 are markers without payload.
//
// The same framing carries git's stdin on a sidechannel (a plain stream of packets ended by 0000) and, with a band
// byte in front of each payload, git's stdout and stderr on the way back (wire/gitaly.md §4.3). Writer and Reader
// serve the former, BandWriter and Scanner the latter; Scanner also reads protocol packets one by one.
package pktline

import (
	"errors"
	"fmt"
	"io"
)

// Limits of one packet, in bytes.
const (
	MaxPacket   = 65520              // the whole packet, length digits included
	MaxPayload  = MaxPacket - lenHex // payload of a plain packet
	MaxBandData = MaxPayload - 1     // data of a side-band packet
)

// Bands of a side-band packet.
const (
	BandData     = 1 // stdout, pack data
	BandProgress = 2 // stderr, text for the user
	BandError    = 3 // a fatal message of git itself
)

const lenHex = 4

// ErrTooLong is returned for a payload that does not fit into one packet.
var ErrTooLong = errors.New("payload too long for a packet")

// HeaderError tells of a packet length that is not allowed where it was found.
type HeaderError struct{ Length int }

func (e *HeaderError) Error() string { return fmt.Sprintf("invalid header %d", e.Length) }

// Write writes payload as one packet, with one call of w.Write. An empty payload gives the packet 0004.
func Write(w io.Writer, payload []byte) error {
	if len(payload) > MaxPayload {
		return ErrTooLong
	}
	return writePacket(w, nil, payload)
}

// Band writes data as one side-band packet, with one call of w.Write.
func Band(w io.Writer, band byte, data []byte) error {
	if len(data) > MaxBandData {
		return ErrTooLong
	}
	return writePacket(w, []byte{band}, data)
}

// Flush writes the flush packet, 0000.
func Flush(w io.Writer) error { return marker(w, "0000") }

// Delim writes the delimiter packet of protocol v2, 0001.
func Delim(w io.Writer) error { return marker(w, "0001") }

func marker(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// writePacket sends prefix and data in one write, so that packets of concurrent writers do not mix as long as
// single writes do not.
func writePacket(w io.Writer, prefix, data []byte) error {
	buf := buffers.get()
	defer buffers.put(buf)
	b := (*buf)[:lenHex]
	b = append(append(b, prefix...), data...)
	putLength(b, len(b))
	_, err := w.Write(b)
	return err
}

func putLength(b []byte, n int) {
	const digits = "0123456789abcdef"
	for i := lenHex - 1; i >= 0; i-- {
		b[i] = digits[n&0xf]
		n >>= 4
	}
}

// parseLength reads four hex digits; git accepts both cases, so this does too.
func parseLength(b []byte) (int, error) {
	n := 0
	for _, c := range b[:lenHex] {
		var d byte
		switch {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c >= 'a' && c <= 'f':
			d = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			d = c - 'A' + 10
		default:
			return 0, fmt.Errorf("invalid packet length %q", b[:lenHex])
		}
		n = n<<4 | int(d)
	}
	if n > MaxPacket {
		return 0, &HeaderError{Length: n}
	}
	return n, nil
}
