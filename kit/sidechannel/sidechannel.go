// Package sidechannel moves the bytes of an RPC outside of gRPC, on a stream of its own that the server opens on the
// caller's connection (wire/gitaly.md §4.2 and §4.3). The connection must be multiplexed: see package backchannel.
//
// A client registers a callback under an id and sends the id with the RPC. The server's handler opens a stream and
// names the id; the client answers "ok" and runs the callback on the stream. Data flows in packets from client to
// server (0000 is its half-close) and raw from server to client, ended by the server's close. Errors never travel
// here: the RPC's status carries them, and it wins over an error of the callback.
package sidechannel

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

const (
	// Magic begins each stream that is a sidechannel; an 8-byte big-endian id follows.
	Magic = "sidechannel"
	// MetadataKey carries the id with the RPC.
	MetadataKey = "gitaly-sidechannel-id"

	confirmation     = "ok"
	idLength         = 8
	handshakeTimeout = 5 * time.Second
)

// StreamOpener is what a server's AuthInfo offers when the caller's connection is multiplexed.
type StreamOpener interface {
	// OpenStream opens a stream towards the caller. It gives up when ctx ends.
	OpenStream(ctx context.Context) (net.Conn, error)
}

// interrupt closes stream such that blocked reads and writes return at once; a close alone would leave reads to
// wait for the peer's close.
func interrupt(stream net.Conn) {
	_ = stream.SetDeadline(time.Unix(1, 0))
	_ = stream.Close()
}

// eof turns the end of a stream in the middle of a handshake into an error that says so.
func eof(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
