// Package shelltest has stand-ins for what gitlab-sshd talks to: a gitaly that
// speaks the real protocol and runs real git, and an internal API. Tests only.
package shelltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/netx"
	"gitsplit/kit/pktline"
	"gitsplit/kit/sidechannel"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

// Call is one RPC that the fake gitaly got.
type Call struct {
	RPC      string
	Metadata metadata.MD
	// Request is the first message.
	Request any
}

// Gitaly is a gitaly with one storage. Its SSH RPCs run git as they should.
type Gitaly struct {
	gitalypb.UnimplementedSSHServiceServer
	// Address is what clients dial.
	Address string
	root    string

	mu       sync.Mutex
	calls    []Call
	override func(ctx context.Context) error
	stop     func()
}

// NewGitaly starts a gitaly whose storage is the directory root.
func NewGitaly(t *testing.T, root string) *Gitaly {
	t.Helper()
	g := &Gitaly{root: root, Address: "unix:" + filepath.Join(t.TempDir(), "gitaly.sock")}
	g.Start(t)
	return g
}

// Start starts the server again after Stop.
func (g *Gitaly) Start(t *testing.T) {
	t.Helper()
	ln, err := netx.Listen(g.Address)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.Creds(backchannel.ServerCredentials(insecure.NewCredentials())))
	gitalypb.RegisterSSHServiceServer(srv, g)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // ends with Stop
	}()
	g.stop = sync.OnceFunc(func() {
		srv.Stop()
		<-served
	})
	t.Cleanup(g.stop)
}

// Stop ends the server at once, RPCs included.
func (g *Gitaly) Stop() { g.stop() }

// Override makes f the behaviour of every RPC from now on; f must return an error.
func (g *Gitaly) Override(f func(ctx context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.override = f
}

// Calls returns the RPCs so far.
func (g *Gitaly) Calls() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Call(nil), g.calls...)
}

func (g *Gitaly) called(ctx context.Context, rpc string, req any) func(context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, Call{RPC: rpc, Metadata: md, Request: req})
	return g.override
}

// SSHUploadPackWithSidechannel serves a fetch.
func (g *Gitaly) SSHUploadPackWithSidechannel(ctx context.Context, req *gitalypb.SSHUploadPackWithSidechannelRequest) (*gitalypb.SSHUploadPackWithSidechannelResponse, error) {
	if override := g.called(ctx, "SSHUploadPackWithSidechannel", req); override != nil {
		return nil, override(ctx)
	}
	conn, err := sidechannel.Open(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "opennig sidechannel: %v", err)
	}
	defer func() { _ = conn.Close() }() // the RPC's status says what went wrong
	out, notices := pktline.NewBandWriter(conn, 1), pktline.NewBandWriter(conn, 2)
	if err := g.git(ctx, "upload-pack", req.GetRepository(), req.GetGitProtocol(), conn, out, notices); err != nil {
		return nil, err
	}
	return &gitalypb.SSHUploadPackWithSidechannelResponse{}, nil
}

// SSHReceivePack takes a push.
func (g *Gitaly) SSHReceivePack(stream gitalypb.SSHService_SSHReceivePackServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if override := g.called(stream.Context(), "SSHReceivePack", first); override != nil {
		return override(stream.Context())
	}
	stdin := streamio.NewReader(func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetStdin(), err
	})
	var mu sync.Mutex
	send := func(m *gitalypb.SSHReceivePackResponse) error {
		mu.Lock()
		defer mu.Unlock()
		return stream.Send(m)
	}
	out := streamio.NewWriter(func(p []byte) error { return send(&gitalypb.SSHReceivePackResponse{Stdout: p}) })
	notices := streamio.NewWriter(func(p []byte) error { return send(&gitalypb.SSHReceivePackResponse{Stderr: p}) })
	return g.git(stream.Context(), "receive-pack", first.GetRepository(), first.GetGitProtocol(), stdin, out, notices)
}

// SSHUploadArchive serves an archive.
func (g *Gitaly) SSHUploadArchive(stream gitalypb.SSHService_SSHUploadArchiveServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if override := g.called(stream.Context(), "SSHUploadArchive", first); override != nil {
		return override(stream.Context())
	}
	stdin := streamio.NewReader(func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetStdin(), err
	})
	out := streamio.NewWriter(func(p []byte) error {
		return stream.Send(&gitalypb.SSHUploadArchiveResponse{Stdout: p})
	})
	return g.git(stream.Context(), "upload-archive", first.GetRepository(), "", stdin, out, io.Discard)
}

func (g *Gitaly) git(ctx context.Context, service string, repo *gitalypb.Repository, protocol string, in io.Reader, out, notices io.Writer) error {
	cmd := exec.CommandContext(ctx, "git", service, filepath.Join(g.root, repo.GetRelativePath())) //nolint:gosec // a test
	cmd.Env = append(cmd.Environ(), "GIT_PROTOCOL="+protocol)
	var kept bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, io.MultiWriter(notices, &kept)
	// Not cmd.Stdin: Wait would wait for the client's half-close.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, in)
		_ = stdin.Close()
	}()
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return status.Errorf(codes.Internal, "cmd wait: %v, stderr: %q", exit, kept.String())
	}
	return err
}
