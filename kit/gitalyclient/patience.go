package gitalyclient

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// patience is how long a call that may not be repeated waits for a gitaly that is not
// there: about as long as gRPC repeats the others (§1.2). A call that was not sent is
// safe to hold back whatever it does, so a restart of gitaly fails no push.
const patience = 2600 * time.Millisecond

// reconnect makes a gitaly that comes back be found soon; gRPC's own pauses grow to
// two minutes.
func reconnect() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: 5 * time.Second,
	}
}

// awaitReady waits while the connection is known to be broken, at most for patience.
// The call itself tells what is wrong if it still is.
func awaitReady(ctx context.Context, conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready && state != connectivity.Shutdown; state = conn.GetState() {
		if state == connectivity.Idle {
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// patient are the methods that wait, by full name: those of gitaly that no retry
// policy covers.
type patient map[string]bool

func newPatient() patient {
	p := patient{}
	for _, m := range methods(func(m protoreflect.MethodDescriptor) bool { return !isAccessor(m) }) {
		p["/"+m.Service+"/"+m.Method] = true
	}
	return p
}

func (p patient) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if p[method] {
		awaitReady(ctx, conn)
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}

func (p patient) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if p[method] {
		awaitReady(ctx, conn)
	}
	return open(ctx, desc, conn, method, opts...)
}
