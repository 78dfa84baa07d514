package sidechannel

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"

	"gitsplit/kit/pktline"
)

// ClientConn is the client's end. Write sends stdin in packets, CloseWrite ends it and leaves the conn open for
// reading. Read gives the server's bytes as they came, io.EOF when it has closed. One reader and one writer at a time.
type ClientConn struct {
	stream net.Conn
	stdin  *pktline.Writer
	once   sync.Once
	done   chan struct{}
}

func newClientConn(stream net.Conn) *ClientConn {
	return &ClientConn{stream: stream, stdin: pktline.NewWriter(stream), done: make(chan struct{})}
}

// Read reads what the server sent.
func (c *ClientConn) Read(p []byte) (int, error) {
	n, err := c.stream.Read(p)
	if err != nil {
		select {
		case <-c.done:
			err = net.ErrClosed // closed at this side: not the server's end of data
		default:
		}
	}
	return n, err
}

// Write sends p in one or more packets.
func (c *ClientConn) Write(p []byte) (int, error) { return c.stdin.Write(p) }

// ReadFrom sends all of stdin; io.Copy uses it.
func (c *ClientConn) ReadFrom(stdin io.Reader) (int64, error) {
	return c.stdin.ReadFrom(stdin)
}

// CloseWrite tells the server that stdin has ended.
func (c *ClientConn) CloseWrite() error { return c.stdin.Flush() }

// Close ends both directions; blocked reads and writes return an error. A server that still reads stdin gets an
// unexpected EOF. It may be called more than once, from any goroutine.
func (c *ClientConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		interrupt(c.stream)
	})
	return nil
}

// Done is closed once the conn is closed at this side, in particular because the RPC failed.
func (c *ClientConn) Done() <-chan struct{} { return c.done }

// callOption carries a callback from a call site to the interceptor that knows the connection's registry.
type callOption struct {
	grpc.EmptyCallOption
	callback Callback
}

// With is the call option for a unary RPC that uses a sidechannel. The connection must have been dialled with
// UnaryInterceptor and with backchannel credentials of the same registry.
func With(callback Callback) grpc.CallOption { return callOption{callback: callback} }

// UnaryInterceptor registers the callback given by With, makes the call, and waits for both the response and the
// callback's end. An error of the RPC wins over one of the callback.
func UnaryInterceptor(reg *Registry) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		callback := callbackOf(opts)
		if callback == nil {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		ctx, waiter := Register(ctx, reg, callback)
		if err := invoke(ctx, method, req, reply, cc, opts...); err != nil {
			waiter.Abort()
			_ = waiter.Close()
			return err
		}
		stop := context.AfterFunc(ctx, waiter.Abort)
		defer stop()
		return waiter.Close()
	}
}

func callbackOf(opts []grpc.CallOption) Callback {
	for _, o := range opts {
		if c, ok := o.(callOption); ok {
			return c.callback
		}
	}
	return nil
}

func panicError(p any) error {
	return fmt.Errorf("sidechannel: callback panicked: %v\n%s", p, debug.Stack())
}
