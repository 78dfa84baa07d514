package sidechannel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"gitsplit/kit/sidechannel"
)

// opener is the AuthInfo of a multiplexed connection whose only stream is given.
type opener struct {
	credentials.AuthInfo
	stream net.Conn
	err    error
	after  time.Duration
}

func (o opener) OpenStream(context.Context) (net.Conn, error) {
	time.Sleep(o.after) // of a bubble's clock
	return o.stream, o.err
}

func incoming(ctx context.Context, o opener, ids ...string) context.Context {
	ctx = peer.NewContext(ctx, &peer.Peer{AuthInfo: o})
	return metadata.NewIncomingContext(ctx, metadata.MD{sidechannel.MetadataKey: ids})
}

func TestOpen_errors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		ctx  context.Context //nolint:containedctx // the input
		want string
		open bool // an *OpenError
	}{
		{name: "no peer", ctx: t.Context(), want: "sidechannel: fail to extract mux session: non-multiplexed connection"},
		{name: "plain peer", ctx: peer.NewContext(t.Context(), &peer.Peer{}), want: "sidechannel: fail to extract mux session: non-multiplexed connection"},
		{name: "no id", ctx: incoming(t.Context(), opener{}), want: "sidechannel: sidechannel-id not found in incoming metadata"},
		{name: "bad id", ctx: incoming(t.Context(), opener{}, "x"), want: `sidechannel: parse sidechannel-id: strconv.ParseInt: parsing "x": invalid syntax`},
		{name: "no stream", ctx: incoming(t.Context(), opener{err: io.ErrClosedPipe}, "1"), want: "sidechannel: open stream: io: read/write on closed pipe", open: true},
		{name: "stream lost", ctx: incoming(t.Context(), opener{stream: closed()}, "1"), want: "sidechannel: open stream: io: read/write on closed pipe", open: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := sidechannel.Open(tc.ctx)
			if _, open := errors.AsType[*sidechannel.OpenError](err); err == nil || err.Error() != tc.want || open != tc.open {
				t.Errorf("got %v (OpenError %v), want %s (%v)", err, open, tc.want, tc.open)
			}
		})
	}
}

func closed() net.Conn {
	a, b := net.Pipe()
	_ = b.Close()
	_ = a.Close()
	return a
}

func TestOpen_lastIDCounts(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer client.Close() //nolint:errcheck // test
	got := make(chan string, 1)
	go func() {
		hello := make([]byte, 19)
		_, _ = io.ReadFull(client, hello)
		got <- string(hello)
		_, _ = io.WriteString(client, "ok")
	}()
	conn, err := sidechannel.Open(incoming(t.Context(), opener{stream: server}, "1", "258"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // test
	if hello := <-got; hello != "sidechannel\x00\x00\x00\x00\x00\x00\x01\x02" {
		t.Errorf("greeted with %q", hello)
	}
}

// TestOpen_waits: others that open a stream first may take their time, the client's greeting may not.
func TestOpen_waits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for silent := range 2 {
			server, client := net.Pipe()
			go func() {
				_, _ = io.ReadFull(client, make([]byte, 19))
				if silent == 0 {
					_, _ = io.WriteString(client, "ok")
				}
			}()
			began := time.Now()
			_, err := sidechannel.Open(incoming(t.Context(), opener{stream: server, after: 20 * time.Second}, "1"))
			if took := time.Since(began); (err == nil) != (silent == 0) || took != time.Duration(20+5*silent)*time.Second {
				t.Errorf("silent %d: %v after %v", silent, err, took)
			}
			_ = client.Close()
		}
	})
}

func TestOpen_canceled(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer client.Close() //nolint:errcheck // test
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.ReadFull(client, make([]byte, 19))
		cancel() // instead of an answer
	}()
	if _, err := sidechannel.Open(incoming(ctx, opener{stream: server}, "1")); err == nil {
		t.Error("opened without a confirmation")
	}
}

func TestRegistry_idsAreGoodForOneStream(t *testing.T) {
	t.Parallel()
	reg := sidechannel.NewRegistry()
	ctx, waiter := sidechannel.Register(t.Context(), reg, func(*sidechannel.ClientConn) error { return io.ErrNoProgress })
	if md, _ := metadata.FromOutgoingContext(ctx); len(md[sidechannel.MetadataKey]) != 1 || md[sidechannel.MetadataKey][0] != "0" {
		t.Errorf("metadata %v", md)
	}
	if err := serve(reg, 0); err != nil {
		t.Errorf("first stream: %v", err)
	}
	for range 2 {
		if err := waiter.Close(); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("close: %v", err)
		}
	}
	if err := serve(reg, 0); err == nil {
		t.Error("the id was served twice")
	}
}

// serve plays a server that opens a stream for id and reads what comes.
func serve(reg *sidechannel.Registry, id uint64) error {
	server, client := net.Pipe()
	go func() {
		_, _ = server.Write(binary.BigEndian.AppendUint64(nil, id))
		_, _ = io.Copy(io.Discard, server)
	}()
	return reg.Serve(client)
}

func TestRegistry_streamEndsBeforeTheID(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	_ = server.Close()
	if err := sidechannel.NewRegistry().Serve(client); err == nil {
		t.Error("served a stream without an id")
	}
}

func TestWaiter_abortBeforeTheStream(t *testing.T) {
	t.Parallel()
	reg := sidechannel.NewRegistry()
	_, waiter := sidechannel.Register(t.Context(), reg, func(c *sidechannel.ClientConn) error {
		_, err := c.Read(make([]byte, 1))
		return err
	})
	waiter.Abort()
	if err := serve(reg, 0); err != nil {
		t.Fatal(err)
	}
	if err := waiter.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the callback got %v, want %v", err, net.ErrClosed)
	}
}

// FuzzConn feeds the server's end with what a client may send, the confirmation first.
func FuzzConn(f *testing.F) {
	for _, s := range []string{"ok0009hello0000", "ok0000", "ok0001", "no", "ok", "okfff1", "ok0005x0004", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		server, client := net.Pipe()
		go func() {
			defer client.Close() //nolint:errcheck // test
			_, _ = io.ReadFull(client, make([]byte, 19))
			_, _ = client.Write(in)
		}()
		conn, err := sidechannel.Open(incoming(t.Context(), opener{stream: server}, "1"))
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // test
		if got, err := io.ReadAll(conn); err == nil && len(got)+len("ok0000") > len(in) {
			t.Fatalf("%q gave %q", in, got)
		}
	})
}
