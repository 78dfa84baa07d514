package backchannel

import (
	"encoding/binary"
	"net"
)

// Layout of a yamux frame's header (wire/gitaly.md §4.1).
const (
	headerSize = 12
	typeOf     = 1
	lengthOf   = 8
	typeData   = 0
)

// joined is a connection for yamux, which writes the header of each data frame and right after it the body: both go
// out with one system call, or in one TLS record, and wake the other side once. They are copied for that, which is less
// work. Not for concurrent writes: yamux has one writer.
type joined struct {
	net.Conn
	frame []byte // begins with a header that waits for its body, if held
	held  bool
}

// Write holds back the header of a frame with a body and reports it as written: what fails then fails the body.
func (c *joined) Write(p []byte) (int, error) {
	if !c.held {
		if len(p) == headerSize && p[typeOf] == typeData && binary.BigEndian.Uint32(p[lengthOf:]) > 0 {
			c.frame, c.held = append(c.frame[:0], p...), true
			return len(p), nil
		}
		return c.Conn.Write(p)
	}
	c.frame, c.held = append(c.frame, p...), false
	n, err := c.Conn.Write(c.frame)
	return max(n-headerSize, 0), err
}
