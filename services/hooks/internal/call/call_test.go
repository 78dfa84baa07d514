package call_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gitsplit/services/hooks/internal/call"
)

func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, socket
}

// serve runs a gRPC server that handles every method.
func serve(t *testing.T, handle grpc.StreamHandler) string {
	t.Helper()
	ln, socket := listen(t)
	srv := grpc.NewServer(grpc.UnknownServiceHandler(handle))
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(srv.Stop)
	return socket
}

func value(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := proto.Marshal(wrapperspb.String(text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestMake_large sends and receives more than fits into a window, at the same time.
func TestMake_large(t *testing.T) {
	t.Parallel()
	const rounds = 4
	socket := serve(t, func(_ any, stream grpc.ServerStream) error {
		for {
			m := &wrapperspb.StringValue{}
			if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(m); err != nil {
				return err
			}
		}
	})
	want := value(t, strings.Repeat("0123456789abcdef", 10_000))
	c, err := call.Make(t.Context(), socket, "/service/method", http.Header{}, bytes.NewReader(bytes.Repeat(call.Frame(want), rounds)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range rounds {
		if got, err := c.Receive(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("received %d bytes, %v", len(got), err)
		}
	}
	if got, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("then received %q, %v", got, err)
	}
}

// TestMake_refused is a server that does not want to hear everything.
func TestMake_refused(t *testing.T) {
	t.Parallel()
	socket := serve(t, func(any, grpc.ServerStream) error { return status.Error(codes.ResourceExhausted, "later") })
	c, err := call.Make(t.Context(), socket, "/service/method", http.Header{}, bytes.NewReader(call.Frame(make([]byte, 1<<20))))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Receive()
	if st := (*call.Status)(nil); !errors.As(err, &st) || st.Code != call.ResourceExhausted || st.Message != "later" {
		t.Errorf("Receive = %v", err)
	}
}

// failing is what cannot be read to its end.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestMake_half is a call of which only a part was sent: nobody may take it for the whole.
func TestMake_half(t *testing.T) {
	t.Parallel()
	whole := make(chan error, 1)
	socket := serve(t, func(_ any, stream grpc.ServerStream) error {
		m := &wrapperspb.StringValue{}
		err := stream.RecvMsg(m)
		for err == nil {
			err = stream.RecvMsg(m)
		}
		whole <- err
		return nil
	})
	broken := errors.New("broken")
	c, err := call.Make(t.Context(), socket, "/service/method", http.Header{},
		io.MultiReader(bytes.NewReader(call.Frame(value(t, "x"))), failing{broken}))
	if err == nil {
		_, err = c.Receive()
		c.Close()
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client gets %v", err)
	}
	if err := <-whole; errors.Is(err, io.EOF) {
		t.Error("the server thinks that it has got everything")
	}
}

func TestMake_canceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	socket := serve(t, func(_ any, stream grpc.ServerStream) error {
		cancel()
		<-stream.Context().Done()
		return nil
	})
	if c, err := call.Make(ctx, socket, "/service/method", http.Header{}, strings.NewReader("")); err == nil {
		c.Close()
		t.Error("a call that was broken off is answered")
	}
}

// TestMake_noServer has what is no gRPC server: an error, and no success.
func TestMake_noServer(t *testing.T) {
	t.Parallel()
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for name, answer := range map[string]string{
		"nothing":               "",
		"HTTP/1":                "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
		"end without a status":  settings + "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88",
		"data instead of it":    settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x00\x00\x01\x00\x00\x00\x01",
		"not found":             settings + "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x8d",
		"reset":                 settings + "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",
		"connection that ends":  settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88",
		"half a message":        settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x06\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x05x",
		"only a prefix":         settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x05\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x05",
		"compressed":            settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x05\x00\x01\x00\x00\x00\x01\x01\x00\x00\x00\x00",
		"message that is large": settings + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x05\x00\x01\x00\x00\x00\x01\x00\xff\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, socket := listen(t)
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.ReadFull(conn, make([]byte, 100)) // the beginning of the request
				_, _ = io.WriteString(conn, answer)
				_ = conn.(*net.UnixConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
			c, err := call.Make(t.Context(), socket, "/service/method", http.Header{}, bytes.NewReader(call.Frame([]byte("question"))))
			if err == nil {
				_, err = c.Receive()
				c.Close()
			}
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}
