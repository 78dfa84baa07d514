package sidechannel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"gitsplit/kit/pktline"
)

// Errors of Open when the RPC came without what a sidechannel needs.
var (
	ErrNotMultiplexed = errors.New("sidechannel: fail to extract mux session: non-multiplexed connection")
	ErrNoID           = errors.New("sidechannel: sidechannel-id not found in incoming metadata")
)

// OpenError says that the stream towards the client could not be opened or was lost during the handshake. The client
// may try again: PostUploadPackWithSidechannel answers Unavailable for it, SSHUploadPackWithSidechannel Internal.
type OpenError struct {
	Step string // "open stream", "write magic bytes" or "receive confirmation"
	Err  error
}

func (e *OpenError) Error() string { return "sidechannel: " + e.Step + ": " + e.Err.Error() }

func (e *OpenError) Unwrap() error { return e.Err }

// Open opens the sidechannel that the caller of the current RPC asked for. The handshake takes at most 5 s; before it,
// streams of one connection wait for each other as long as ctx lets them (wire/gitaly.md §4.1: one that is not
// acknowledged at a time), which on a busy machine is longer. A handler must open it even for an empty answer, and
// close it before it returns.
//
// Errors: ErrNotMultiplexed, ErrNoID, *OpenError, or a plain error for a wrong confirmation; their texts are those of
// the protocol, without the prefix that each RPC puts before them.
func Open(ctx context.Context) (*Conn, error) {
	opener, err := openerOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := idOf(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := opener.OpenStream(ctx)
	if err != nil {
		return nil, &OpenError{Step: "open stream", Err: err}
	}
	deadline := time.Now().Add(handshakeTimeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { interrupt(stream) })
	err = greet(stream, id, deadline)
	if !stop() && err == nil {
		err = &OpenError{Step: "receive confirmation", Err: ctx.Err()}
	}
	if err != nil {
		interrupt(stream)
		return nil, err
	}
	return &Conn{stream: stream, stdin: pktline.NewReader(stream)}, nil
}

func openerOf(ctx context.Context) (StreamOpener, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, ErrNotMultiplexed
	}
	opener, ok := p.AuthInfo.(StreamOpener)
	if !ok {
		return nil, ErrNotMultiplexed
	}
	return opener, nil
}

// idOf takes the last value, as gitaly does.
func idOf(ctx context.Context) (int64, error) {
	values := metadata.ValueFromIncomingContext(ctx, MetadataKey)
	if len(values) == 0 {
		return 0, ErrNoID
	}
	id, err := strconv.ParseInt(values[len(values)-1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("sidechannel: parse sidechannel-id: %w", err)
	}
	return id, nil
}

func greet(stream net.Conn, id int64, deadline time.Time) error {
	if err := stream.SetDeadline(deadline); err != nil {
		return &OpenError{Step: "open stream", Err: err}
	}
	hello := binary.BigEndian.AppendUint64([]byte(Magic), uint64(id)) //nolint:gosec // the bits of the id, unchanged
	if _, err := stream.Write(hello); err != nil {
		return &OpenError{Step: "write magic bytes", Err: err}
	}
	var answer [len(confirmation)]byte
	if _, err := io.ReadFull(stream, answer[:]); err != nil {
		return &OpenError{Step: "receive confirmation", Err: err}
	}
	if string(answer[:]) != confirmation {
		return fmt.Errorf("sidechannel: expected ok, got %q", answer[:])
	}
	if err := stream.SetDeadline(time.Time{}); err != nil {
		return &OpenError{Step: "receive confirmation", Err: err}
	}
	return nil
}

// Conn is the server's end. Read gives the client's stdin, unframed, and io.EOF at its half-close; a client that goes
// away without one gives io.ErrUnexpectedEOF. Write sends bytes as they are; each Write is atomic, so band writers
// (pktline.NewBandWriter) for stdout and stderr may share a Conn. One reader and any number of writers at a time.
type Conn struct {
	stream net.Conn
	stdin  *pktline.Reader
}

// Read reads the client's stdin.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.stdin.Read(p)
	if _, ok := errors.AsType[*pktline.HeaderError](err); ok {
		err = fmt.Errorf("sidechannel: %w", err)
	}
	return n, err
}

// Write sends p to the client without framing.
func (c *Conn) Write(p []byte) (int, error) { return c.stream.Write(p) }

// Close ends the data towards the client and the reading of its stdin. It may be called more than once and from any
// goroutine: a blocked Read or Write returns.
func (c *Conn) Close() error {
	_ = c.stream.SetReadDeadline(time.Unix(1, 0)) // first: closing wakes the reader, which then looks at it
	return c.stream.Close()
}
