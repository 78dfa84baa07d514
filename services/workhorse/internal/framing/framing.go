// Package framing refuses HTTP/1 requests whose extent two servers could see
// differently (security-baseline.md H1): that is how requests are smuggled past a
// proxy in front of us. net/http is lenient here: it lets Transfer-Encoding win
// over Content-Length, ignores it in HTTP/1.0, folds header lines, and takes the
// same Content-Length twice.
//
// A guarded connection follows the requests on it, heads and bodies, and spoils an
// ambiguous head before net/http has read it all: net/http then answers 400 and
// closes the connection. It changes nothing else. A connection that stops being
// HTTP/1, such as an upgraded one, must be released.
package framing

import (
	"errors"
	"io"
	"net"
)

// Listen guards every connection that ln accepts.
func Listen(ln net.Listener) net.Listener { return &listener{ln} }

type listener struct{ net.Listener }

// Accept returns the next connection, guarded.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Guard(c), nil
}

// Guard guards one connection, whose next byte begins a request.
func Guard(c net.Conn) *Conn { return &Conn{Conn: c} }

// spoil is no header line, and so makes net/http answer 400.
const spoil = "\x00\r\n\r\n"

// errChunks ends a connection whose chunks cannot be followed.
var errChunks = errors.New("malformed chunked encoding")

// Conn is a guarded connection. Reads come one at a time, as net/http does it.
type Conn struct {
	net.Conn
	scan scanner
	rest []byte // of spoil, once the connection is spoilt
	err  error  // sticky
	free bool   // not guarded any more
}

// CloseWrite lets net/http end a connection in a way that the client still gets to
// read the answer, where the connection below can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Read returns the client's bytes, up to the line that makes a head ambiguous.
func (c *Conn) Read(p []byte) (int, error) {
	if c.free {
		return c.Conn.Read(p)
	}
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	good, fault := c.scan.advance(p[:n])
	switch {
	case fault == nil:
		return n, err
	case errors.Is(fault, errAmbiguous):
		c.rest, c.err = []byte(spoil), io.EOF
	default:
		c.err = fault
	}
	return good, nil
}

// Release ends the guard of a connection that was hijacked, whatever is wrapped
// around it. What had been found wrong with it stays wrong.
func Release(c net.Conn) {
	if guarded, ok := c.(interface{ release() }); ok {
		guarded.release()
	}
}

func (c *Conn) release() { c.free = c.err == nil }
