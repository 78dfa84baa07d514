package pktline

import "io"

// Writer cuts a byte stream into packets. Each packet is one Write of the writer below. It is not safe for
// concurrent use, but several Writers may share a writer below whose single Writes are atomic.
type Writer struct {
	w      io.Writer
	prefix []byte // nothing, or the band
}

// NewWriter returns a Writer of plain packets. Flush ends the stream.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// NewBandWriter returns a Writer of side-band packets on the given band.
func NewBandWriter(w io.Writer, band byte) *Writer {
	return &Writer{w: w, prefix: []byte{band}}
}

// Write sends p in as many packets as needed; an empty p sends none.
func (w *Writer) Write(p []byte) (int, error) {
	limit := MaxPayload - len(w.prefix)
	sent := 0
	for sent < len(p) {
		n := min(len(p)-sent, limit)
		if err := writePacket(w.w, w.prefix, p[sent:sent+n]); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// ReadFrom copies r until EOF, one packet for each read, without a second buffer: io.Copy uses it.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	buf := buffers.get()
	defer buffers.put(buf)
	head := lenHex + len(w.prefix)
	copy((*buf)[lenHex:], w.prefix)
	var total int64
	for {
		n, err := r.Read((*buf)[head:])
		if n > 0 {
			putLength(*buf, head+n)
			if _, err := w.w.Write((*buf)[:head+n]); err != nil {
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

// Flush writes the flush packet, which ends a stream for the Reader at the other side.
func (w *Writer) Flush() error { return Flush(w.w) }
