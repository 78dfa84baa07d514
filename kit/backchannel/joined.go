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

// joined is a connection for yamux, which writes the header of each data frame and right after it the body: on a socket
// without TLS both go out with one system call, and wake the other side once. Not for concurrent writes: yamux has one
// writer.
type joined struct {
	net.Conn
	header [headerSize]byte
	held   bool // header waits for its body
}

// Write holds back the header of a frame with a body and reports it as written: what fails then fails the body.
func (c *joined) Write(p []byte) (int, error) {
	if !c.held {
		if len(p) == headerSize && p[typeOf] == typeData && binary.BigEndian.Uint32(p[lengthOf:]) > 0 {
			copy(c.header[:], p)
			c.held = true
			return len(p), nil
		}
		return c.Conn.Write(p)
	}
	c.held = false
	both := net.Buffers{c.header[:], p}
	n, err := both.WriteTo(c.Conn)
	return max(int(n)-headerSize, 0), err
}
