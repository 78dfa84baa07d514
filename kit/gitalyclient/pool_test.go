package gitalyclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/correlation"
	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
)

func TestPool(t *testing.T) {
	t.Parallel()
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	a, err := pool.Conn("unix:/a", "x")
	if err != nil {
		t.Fatal(err)
	}
	same, _ := pool.Conn("unix:/a", "x")
	other, _ := pool.Conn("unix:/a", "y")
	if a != same || a == other {
		t.Error("connections are not kept by address and token")
	}
	if _, err := pool.Conn("", "x"); err == nil || err.Error() != "no gitaly_address given" {
		t.Errorf("empty address: %v", err)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pool.Conn("unix:/a", "x"); err == nil {
		t.Error("a closed pool gave a connection")
	}
}

func TestPool_addresses(t *testing.T) {
	t.Parallel()
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	defer pool.Close() //nolint:errcheck // test
	for _, good := range []string{
		"unix:/a/b", "unix:a/b", "unix:///a/b", "tcp://host:1", "tls://host:1", "tcp://[::1]:1",
		"dns:host:1", "dns:///host:1", "dns://127.0.0.1:53/host:1", "dns:host", "dns+tls:host:1", "dns+tls:///host:1",
	} {
		if _, err := pool.Conn(good, "x"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"/a/b", "host", "host:1", "unix:", "unix://", "unix://host/a", "unix:///", "tcp:host:1", "tcp://host", "tcp://:1", "tcp://host:1/",
		"tcp://host:1/x", "tls://u@host:1", "tcp://host:1?x", "http://host:1", "dns:", "dns:///", "dns://ns/", "dns+tls:", ":", "tcp://\x7f:1",
	} {
		_, err := pool.Conn(bad, "x")
		if want := "invalid connection string: "; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzPool_address(f *testing.F) {
	for _, s := range []string{"unix:/a", "tcp://h:1", "tls://h:1", "dns:h:1", "dns+tls:///h:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		pool := gitalyclient.NewPool(gitalyclient.Options{})
		_, _ = pool.Conn(address, "x")
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
}

func serverInfo(ctx context.Context, t *testing.T, f *fakeGitaly) error {
	t.Helper()
	_, err := gitalypb.NewServerServiceClient(start(t, f)).ServerInfo(ctx, &gitalypb.ServerInfoRequest{})
	return err
}

func TestConn_metadata(t *testing.T) {
	t.Parallel()
	ctx := correlation.With(bounded(t), "the-id")
	err := serverInfo(ctx, t, &fakeGitaly{serverInfo: func(ctx context.Context) error {
		if id := correlation.ID(ctx); id != "the-id" {
			t.Errorf("correlation id %q", id)
		}
		if name := metadata.ValueFromIncomingContext(ctx, "x-gitlab-client-name"); len(name) != 1 || name[0] != "gitsplit-test" {
			t.Errorf("client name %q", name)
		}
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestConn_wrongToken(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{serverInfo: func(context.Context) error { return nil }})
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	defer pool.Close() //nolint:errcheck // test
	other, err := pool.Conn(conn.Target(), "another secret")
	if err != nil {
		t.Fatal(err)
	}
	_, err = gitalypb.NewServerServiceClient(other).ServerInfo(bounded(t), &gitalypb.ServerInfoRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
}

// Accessors are tried again on Unavailable, mutators never.
func TestConn_retries(t *testing.T) {
	t.Parallel()
	var accessor, mutator atomic.Int32
	f := &fakeGitaly{
		uploadPack: func(context.Context) error {
			if accessor.Add(1) < 2 {
				return status.Error(codes.Unavailable, "again")
			}
			return status.Error(codes.NotFound, "enough")
		},
		receivePack: func(receiveStream) error {
			mutator.Add(1)
			return status.Error(codes.Unavailable, "again")
		},
	}
	conn := start(t, f)
	_, err := gitalypb.NewSSHServiceClient(conn).SSHUploadPackWithSidechannel(bounded(t), request)
	if status.Code(err) != codes.NotFound || accessor.Load() != 2 {
		t.Errorf("accessor: %d calls, %v", accessor.Load(), err)
	}
	_, err = gitalyclient.SSHReceivePack(bounded(t), conn, first, strings.NewReader(""), writerFunc(nil), writerFunc(nil))
	if status.Code(err) != codes.Unavailable || mutator.Load() != 1 {
		t.Errorf("mutator: %d calls, %v", mutator.Load(), err)
	}
}

// A policy of the API replaces the default; one that is none is refused.
func TestConnRetrying(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	f := &fakeGitaly{uploadPack: func(context.Context) error {
		calls.Add(1)
		return status.Error(codes.ResourceExhausted, "queue full")
	}}
	pool, address := gitalyclient.NewPool(gitalyclient.Options{}), serve(t, filepath.Join(t.TempDir(), "g.sock"), f)
	defer pool.Close() //nolint:errcheck // test
	const twice = `{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.002s","backoffMultiplier":1.5,"retryableStatusCodes":["RESOURCE_EXHAUSTED"]}`
	for _, tc := range []struct {
		policy string
		want   int32
	}{{"", 1}, {"null", 1}, {twice, 2}} {
		calls.Store(0)
		conn, err := pool.ConnRetrying(address, token, json.RawMessage(tc.policy))
		if err != nil {
			t.Fatal(err)
		}
		_, err = gitalypb.NewSSHServiceClient(conn).SSHUploadPackWithSidechannel(bounded(t), request)
		if status.Code(err) != codes.ResourceExhausted || calls.Load() != tc.want {
			t.Errorf("policy %q: %d calls, %v; want %d", tc.policy, calls.Load(), err, tc.want)
		}
	}
	for _, bad := range []string{`{}`, `"often"`, `{"maxAttempts":1}`, `{`, `{"maxAttempts":2,"initialBackoff":"1m"}`} {
		if conn, err := pool.ConnRetrying(address, token, json.RawMessage(bad)); err == nil {
			t.Errorf("policy %q gave %v", bad, conn.Target())
		}
	}
}

// Nobody listens: the call fails with Unavailable rather than to wait for ever.
func TestConn_serverDown(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // to get a free port
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	defer pool.Close() //nolint:errcheck // test
	conn, err := pool.Conn("tcp://"+ln.Addr().String(), token)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gitalyclient.SSHReceivePack(bounded(t), conn, first, open(t), writerFunc(nil), writerFunc(nil))
	if status.Code(err) != codes.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A gitaly that is not there yet when a push begins, and comes, is waited for: the
// call was not sent, so it is safe to hold back.
func TestConn_serverComes(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "g.sock")
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	defer pool.Close() //nolint:errcheck // test
	conn, err := pool.Conn("unix:"+socket, token)
	if err != nil {
		t.Fatal(err)
	}
	conn.Connect()
	for state := conn.GetState(); state != connectivity.TransientFailure; state = conn.GetState() {
		if !conn.WaitForStateChange(bounded(t), state) {
			t.Fatalf("the connection is %v", state)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := gitalypb.NewServerServiceClient(conn).ServerInfo(bounded(t), &gitalypb.ServerInfoRequest{})
		ended <- err
	}()
	serve(t, socket, &fakeGitaly{serverInfo: func(context.Context) error { return nil }})
	if err := <-ended; err != nil {
		t.Errorf("the call failed though gitaly came: %v", err)
	}
}
