package session

import (
	"io"
)

// Request is one command that an authenticated user sent, with the streams to
// answer it on.
type Request struct {
	// KeyID is the id of the SSH key whose signature was verified.
	KeyID int64
	// RemoteAddr is the client's address, as ip:port.
	RemoteAddr string
	// Line is the command line as it came; empty for a shell request.
	Line string
	// GitProtocol is the value of GIT_PROTOCOL that the client sent, or "".
	GitProtocol string

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}
