package pack

import (
	"strconv"
	"strings"

	"gitsplit/kit/pktline"
)

// report reads in what receive-pack writes which references it has moved: the
// report-status of git's protocol-capabilities documentation, packets in band 1, or as
// they are for a client without side-band.
type report struct {
	outer, inner packets
	begun        bool
	complete     bool
	ok           map[string]bool
}

func newReport() *report {
	r := &report{ok: map[string]bool{}}
	r.inner.each = r.line
	r.outer.each = func(payload []byte) {
		if len(payload) > 0 && payload[0] == pktline.BandData {
			r.inner.write(payload[1:])
		} else if r.inner.buf == nil {
			r.line(payload)
		}
	}
	return r
}

// line takes one line, nil for the packet that ends the report.
func (r *report) line(payload []byte) {
	line := strings.TrimSuffix(string(payload), "\n")
	switch ref, ok := strings.CutPrefix(line, "ok "); {
	case r.complete:
	case strings.HasPrefix(line, reportStart):
		r.begun = true
	case r.begun && payload == nil:
		r.complete = true
	case r.begun && ok:
		r.ok[ref] = true
	}
}

// moved tells which references have moved; it is nil if git did not say all.
func (r *report) moved() func(ref string) bool {
	if !r.complete {
		return nil
	}
	return func(ref string) bool { return r.ok[ref] }
}

// packets takes a stream of packets apart.
type packets struct {
	each func(payload []byte) // nil for packets without length
	buf  []byte               // of the present packet; not nil once there was one
	lost bool                 // what comes are no packets
}

func (s *packets) write(p []byte) {
	if s.lost {
		return
	}
	s.buf = append(s.buf, p...)
	for len(s.buf) >= 4 {
		n, err := strconv.ParseUint(string(s.buf[:4]), 16, 16)
		size := int(n) //nolint:gosec // 16 bits
		switch {
		case err != nil:
			s.lost = true
			return
		case size < 4:
			s.each(nil)
			size = 4
		case len(s.buf) < size:
			return
		default:
			s.each(s.buf[4:size])
		}
		s.buf = s.buf[size:]
	}
	s.buf = append([]byte{}, s.buf...) // do not keep what has been read
}
