package gitalyclient_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
)

const (
	patience = 20 * time.Second
	token    = "a shared secret of the tests"
)

// fakeGitaly answers with the functions that a test sets.
type fakeGitaly struct {
	gitalypb.UnimplementedSSHServiceServer
	gitalypb.UnimplementedSmartHTTPServiceServer
	gitalypb.UnimplementedServerServiceServer

	uploadPack  func(ctx context.Context) error
	receivePack func(grpc.BidiStreamingServer[gitalypb.SSHReceivePackRequest, gitalypb.SSHReceivePackResponse]) error
	archive     func(grpc.BidiStreamingServer[gitalypb.SSHUploadArchiveRequest, gitalypb.SSHUploadArchiveResponse]) error
	infoRefs    func(service string, send func([]byte) error) error
	postUpload  func(ctx context.Context) error
	postReceive func(grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error
	serverInfo  func(ctx context.Context) error
}

func (f *fakeGitaly) SSHUploadPackWithSidechannel(ctx context.Context, _ *gitalypb.SSHUploadPackWithSidechannelRequest) (*gitalypb.SSHUploadPackWithSidechannelResponse, error) {
	return &gitalypb.SSHUploadPackWithSidechannelResponse{}, f.uploadPack(ctx)
}

func (f *fakeGitaly) SSHReceivePack(s grpc.BidiStreamingServer[gitalypb.SSHReceivePackRequest, gitalypb.SSHReceivePackResponse]) error {
	return f.receivePack(s)
}

func (f *fakeGitaly) SSHUploadArchive(s grpc.BidiStreamingServer[gitalypb.SSHUploadArchiveRequest, gitalypb.SSHUploadArchiveResponse]) error {
	return f.archive(s)
}

func (f *fakeGitaly) InfoRefsUploadPack(_ *gitalypb.InfoRefsRequest, s grpc.ServerStreamingServer[gitalypb.InfoRefsResponse]) error {
	return f.infoRefs("upload", func(b []byte) error { return s.Send(&gitalypb.InfoRefsResponse{Data: b}) })
}

func (f *fakeGitaly) InfoRefsReceivePack(_ *gitalypb.InfoRefsRequest, s grpc.ServerStreamingServer[gitalypb.InfoRefsResponse]) error {
	return f.infoRefs("receive", func(b []byte) error { return s.Send(&gitalypb.InfoRefsResponse{Data: b}) })
}

func (f *fakeGitaly) PostUploadPackWithSidechannel(ctx context.Context, _ *gitalypb.PostUploadPackWithSidechannelRequest) (*gitalypb.PostUploadPackWithSidechannelResponse, error) {
	return &gitalypb.PostUploadPackWithSidechannelResponse{}, f.postUpload(ctx)
}

func (f *fakeGitaly) PostReceivePack(s grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
	return f.postReceive(s)
}

func (f *fakeGitaly) ServerInfo(ctx context.Context, _ *gitalypb.ServerInfoRequest) (*gitalypb.ServerInfoResponse, error) {
	return &gitalypb.ServerInfoResponse{}, f.serverInfo(ctx)
}

// start serves f and returns a connection of a pool to it.
func start(t testing.TB, f *fakeGitaly) *grpc.ClientConn {
	t.Helper()
	address := serve(t, filepath.Join(t.TempDir(), "g.sock"), f)
	pool := gitalyclient.NewPool(gitalyclient.Options{ClientName: "gitsplit-test"})
	t.Cleanup(func() { _ = pool.Close() })
	conn, err := pool.Conn(address, token)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// serve serves f on a Unix socket, as gitaly does, and returns its address.
func serve(t testing.TB, socket string, f *fakeGitaly) string {
	t.Helper()
	ln, err := net.Listen("unix", socket) //nolint:noctx // a socket of our own
	if err != nil {
		t.Fatal(err)
	}
	opts := grpcx.ServerOptions(grpcx.Options{Log: logging.Discard(), ExposeInternal: true},
		[]grpc.UnaryServerInterceptor{gitalyauth.UnaryInterceptor(gitalyauth.Options{Token: token})},
		[]grpc.StreamServerInterceptor{gitalyauth.StreamInterceptor(gitalyauth.Options{Token: token})})
	srv := grpc.NewServer(append(opts, grpc.Creds(backchannel.ServerCredentials(insecure.NewCredentials())))...)
	gitalypb.RegisterSSHServiceServer(srv, f)
	gitalypb.RegisterSmartHTTPServiceServer(srv, f)
	gitalypb.RegisterServerServiceServer(srv, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Stop(); <-done })
	return "unix:" + socket
}

// bounded is a context that ends a test that hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestMain fails when goroutines of the tests are left.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if fuzz := flag.Lookup("test.fuzz"); fuzz != nil && fuzz.Value.String() != "" {
		os.Exit(code) // the fuzzer leaves goroutines of its own
	}
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
