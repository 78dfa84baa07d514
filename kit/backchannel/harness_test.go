package backchannel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/sidechannel"
)

// patience bounds what a test waits for; nothing takes near as long unless it is broken.
const patience = 20 * time.Second

// method is the one RPC of the tests' service: what it does is up to each test.
const method = "/test.Service/Call"

type handler func(ctx context.Context, in string) (string, error)

func desc(h handler) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "test.Service", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in wrapperspb.StringValue
			if err := decode(&in); err != nil {
				return nil, err
			}
			out, err := h(ctx, in.GetValue())
			return wrapperspb.String(out), err
		},
	}}}
}

// serve starts a gRPC server with the credentials under test and returns its address.
func serve(t *testing.T, inner credentials.TransportCredentials, h handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener on loopback
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.Creds(backchannel.ServerCredentials(inner)))
	srv.RegisterService(desc(h), nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Stop(); <-done })
	return ln.Addr().String()
}

func dial(t *testing.T, addr string, inner credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	reg := sidechannel.NewRegistry()
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(backchannel.TransportCredentials(inner, reg)),
		grpc.WithChainUnaryInterceptor(sidechannel.UnaryInterceptor(reg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func call(t *testing.T, conn *grpc.ClientConn, in string, opts ...grpc.CallOption) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out wrapperspb.StringValue
	err := conn.Invoke(ctx, method, wrapperspb.String(in), &out, opts...)
	return out.GetValue(), err
}

// upper answers on the sidechannel with its stdin in capitals.
func upper(ctx context.Context, in string) (string, error) {
	conn, err := sidechannel.Open(ctx)
	if err != nil {
		return "", err
	}
	stdin, err := io.ReadAll(conn)
	if err == nil {
		_, err = io.WriteString(conn, strings.ToUpper(string(stdin)))
	}
	return in, errors.Join(err, conn.Close())
}

// exchange sends stdin and returns the whole answer.
func exchange(stdin string, answer *string) sidechannel.Callback {
	return func(c *sidechannel.ClientConn) error {
		if _, err := io.WriteString(c, stdin); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		*answer = string(b)
		return err
	}
}

func plainText() credentials.TransportCredentials { return insecure.NewCredentials() }

// TestMain fails when goroutines of the tests are left.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	deadline := time.After(patience)
	for runtime.NumGoroutine() > before {
		select {
		case <-deadline:
			buf := make([]byte, 1<<20)
			fmt.Printf("%d goroutines are left of %d:\n%s\n", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			os.Exit(1)
		case <-time.After(10 * time.Millisecond):
		}
	}
	os.Exit(code)
}
