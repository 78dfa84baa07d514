package streamio_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // for a call that compresses
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

// dial serves each call with handle and returns a connection to it.
func dial(t *testing.T, handle func(grpc.ServerStream) error, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	ln := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.ForceServerCodecV2(streamio.NewCodec()),
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return handle(s) }))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Stop(); <-done })
	conn, err := grpc.NewClient("passthrough:///bufconn", append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echo sends back what comes.
func echo(s grpc.ServerStream) error {
	in := streamio.NewReceiver(s, (*gitalypb.PostReceivePackRequest)(nil), "data")
	_, err := io.Copy(streamio.NewSender(s, (*gitalypb.PostReceivePackResponse)(nil), "data"), in)
	return err
}

// push sends src on a call and writes what comes back to dst.
func push(ctx context.Context, conn *grpc.ClientConn, dst io.Writer, src io.Reader, opts ...grpc.CallOption) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test/Push",
		append(opts, grpc.ForceCodecV2(streamio.NewCodec()))...)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := io.Copy(streamio.NewSender(stream, (*gitalypb.PostReceivePackRequest)(nil), "data"), src); err == nil {
			_ = stream.CloseSend()
		}
	})
	_, err = io.Copy(dst, streamio.NewReceiver(stream, (*gitalypb.PostReceivePackResponse)(nil), "data"))
	return err
}

// TestStreams has many calls at a time, of which each gets back its own bytes. Every third is cancelled half-way, with
// buffers on their way.
func TestStreams(t *testing.T) {
	t.Parallel()
	conn := dial(t, echo)
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				data := numbered(10*pieceSize+i, byte(i))
				var got bytes.Buffer
				if i%3 == 2 {
					_ = push(ctx, conn, cancelling{&got, cancel}, bytes.NewReader(data), opts...)
					if !bytes.HasPrefix(data, got.Bytes()) {
						t.Errorf("call %d got other bytes before it was cancelled", i)
					}
					return
				}
				if err := push(ctx, conn, &got, bytes.NewReader(data), opts...); err != nil || !bytes.Equal(got.Bytes(), data) {
					t.Errorf("call %d got %d bytes, %v", i, got.Len(), err)
				}
			})
		}
		wg.Wait()
	}
}

// TestCodec_contentType: the other side sees no difference to a call with gRPC's own codec.
func TestCodec_contentType(t *testing.T) {
	t.Parallel()
	got := make(chan []string, 2)
	conn := dial(t, func(s grpc.ServerStream) error {
		got <- metadata.ValueFromIncomingContext(s.Context(), "content-type")
		return nil
	})
	if err := push(t.Context(), conn, io.Discard, bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Invoke(t.Context(), "/test/Push", &gitalypb.PostReceivePackRequest{}, &gitalypb.PostReceivePackResponse{}) // it has no answer
	if ours, plain := <-got, <-got; len(ours) != 1 || !slices.Equal(ours, plain) {
		t.Errorf("content type %q, without the codec %q", ours, plain)
	}
}

// cancelling ends a call when half of it has come back.
type cancelling struct {
	got    *bytes.Buffer
	cancel context.CancelFunc
}

func (c cancelling) Write(p []byte) (int, error) {
	if c.got.Len() > 5*pieceSize {
		c.cancel()
	}
	return c.got.Write(p)
}

// TestSender_retry: what gRPC sends once more is what was sent first, though other calls use buffers meanwhile.
func TestSender_retry(t *testing.T) {
	t.Parallel()
	data := numbered(3*pieceSize, 1)
	var calls atomic.Int32
	conn := dial(t, func(s grpc.ServerStream) error {
		if calls.Add(1) > 1 {
			return echo(s)
		}
		in := streamio.NewReceiver(s, (*gitalypb.PostReceivePackRequest)(nil), "data")
		if _, err := io.CopyN(io.Discard, in, int64(len(data))); err != nil {
			return err
		}
		w := streamio.NewSender(&fakeStream{t: t}, (*gitalypb.PostReceivePackRequest)(nil), "data")
		if _, err := w.Write(numbered(10*pieceSize, 2)); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "once more")
	}, grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2,
		"initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`))
	var got bytes.Buffer
	if err := push(t.Context(), conn, &got, bytes.NewReader(data)); err != nil || !bytes.Equal(got.Bytes(), data) || calls.Load() != 2 {
		t.Errorf("got %d bytes in %d calls, %v", got.Len(), calls.Load(), err)
	}
}
