package sidechannel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
)

// Callback moves the data of one RPC. The stream is closed when it returns. It must come to an end once reads and
// writes of the conn fail, which they do when the RPC has failed.
type Callback func(*ClientConn) error

// errNotRun is the protocol's text for an RPC that succeeded without its sidechannel.
var errNotRun = errors.New("sidechannel: callback de-registered without having run")

// Registry holds the callbacks that wait for a server to open their stream: one Registry for each gRPC connection,
// used by all of its calls. Safe for concurrent use.
type Registry struct {
	mu      sync.Mutex
	next    int64
	waiting map[int64]*Waiter
}

// NewRegistry returns an empty registry. Ids count from 0.
func NewRegistry() *Registry { return &Registry{waiting: make(map[int64]*Waiter)} }

// Waiter is a registered callback. Close must be called when the RPC is over.
type Waiter struct {
	reg      *Registry
	id       int64
	callback Callback
	done     chan error // the callback's result; buffered

	mu      sync.Mutex
	conn    *ClientConn // while the callback runs
	aborted bool
}

// Register makes callback wait for the server and returns the context to make the RPC with: it carries the id.
func Register(ctx context.Context, reg *Registry, callback Callback) (context.Context, *Waiter) {
	w := &Waiter{reg: reg, callback: callback, done: make(chan error, 1)}
	reg.mu.Lock()
	w.id = reg.next
	reg.next++
	reg.waiting[w.id] = w
	reg.mu.Unlock()
	return metadata.AppendToOutgoingContext(ctx, MetadataKey, strconv.FormatInt(w.id, 10)), w
}

// Close removes the callback from the registry, or waits for its end and returns its error if it was called. For a
// callback that never ran the text is "sidechannel: callback de-registered without having run".
func (w *Waiter) Close() error {
	if w.reg.take(w.id) != nil {
		return errNotRun
	}
	err := <-w.done
	w.done <- err // for the next Close
	return err
}

// Abort makes reads and writes of the callback's stream fail. Call it when the RPC has failed, before Close, for the
// callback might wait for bytes that no one will send.
func (w *Waiter) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
	if w.conn != nil {
		_ = w.conn.Close()
	}
}

func (r *Registry) take(id int64) *Waiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiting[id]
	delete(r.waiting, id)
	return w
}

// Serve answers a stream on which the server has already sent Magic: it reads the id, confirms, and runs the callback
// in the calling goroutine. It closes the stream in every case; the error says why no callback ran.
func (r *Registry) Serve(stream net.Conn) error {
	defer stream.Close() //nolint:errcheck // nothing is left to be told
	deadline := time.Now().Add(handshakeTimeout)
	if err := stream.SetDeadline(deadline); err != nil {
		return err
	}
	var id [idLength]byte
	if _, err := io.ReadFull(stream, id[:]); err != nil {
		return eof(err)
	}
	w := r.take(int64(binary.BigEndian.Uint64(id[:]))) //nolint:gosec // the bits of the id, unchanged
	if w == nil {
		return errors.New("sidechannel: unknown id") // the server sees the stream end before an "ok"
	}
	return w.serve(stream)
}

func (w *Waiter) serve(stream net.Conn) error {
	_, err := io.WriteString(stream, confirmation)
	if err == nil {
		err = stream.SetDeadline(time.Time{})
	}
	if err != nil {
		w.done <- err
		return err
	}
	conn := newClientConn(stream)
	w.mu.Lock()
	w.conn = conn
	if w.aborted {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.done <- w.run(conn)
	return nil
}

// run keeps a panic of the callback from taking the process down: the callback runs in a goroutine of the connection.
func (w *Waiter) run(conn *ClientConn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
		_ = conn.Close()
	}()
	return w.callback(conn)
}
