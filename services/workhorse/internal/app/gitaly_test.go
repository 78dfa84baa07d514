package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/sidechannel"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

const gitalyToken = "the token of the fake gitaly, long enough"

// fakeGitaly runs the real git on one repository. The functions, when set, replace
// that for one RPC.
type fakeGitaly struct {
	gitalypb.UnimplementedSmartHTTPServiceServer
	address string
	repo    string
	srv     *grpc.Server
	ended   chan struct{} // closed when srv has stopped

	infoRefs    func() error // before the answer
	advertised  func() error // after it
	postUpload  func(ctx context.Context, c *sidechannel.Conn) error
	postReceive func(s grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error

	data *fakeData

	mu    sync.Mutex
	calls []call
}

// call is what one RPC told gitaly.
type call struct {
	Method   string
	Repo     string
	Protocol string
	Options  []string
	GLID     string
	Metadata map[string]string
}

func startGitaly(t testing.TB) *fakeGitaly {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("git is not installed")
	}
	f := &fakeGitaly{repo: filepath.Join(t.TempDir(), "repo.git")}
	git(t, "", "init", "-q", "--bare", "--initial-branch=main", f.repo)
	git(t, f.repo, "config", "http.receivepack", "true")
	git(t, f.repo, "config", "uploadpack.allowFilter", "true")
	f.address = "unix:" + filepath.Join(t.TempDir(), "g.sock")
	f.data = &fakeData{gitaly: f}
	f.serve(t)
	return f
}

// serve starts the server, also anew after it was stopped.
func (f *fakeGitaly) serve(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("unix", strings.TrimPrefix(f.address, "unix:"))
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	auth := gitalyauth.Options{Token: gitalyToken}
	srv := grpc.NewServer(grpc.Creds(backchannel.ServerCredentials(insecure.NewCredentials())),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}), // as gitaly's
		grpc.UnaryInterceptor(gitalyauth.UnaryInterceptor(auth)), grpc.StreamInterceptor(gitalyauth.StreamInterceptor(auth)))
	gitalypb.RegisterSmartHTTPServiceServer(srv, f)
	gitalypb.RegisterBlobServiceServer(srv, f.data)
	gitalypb.RegisterDiffServiceServer(srv, f.data)
	gitalypb.RegisterRepositoryServiceServer(srv, f.data)
	done := make(chan struct{})
	f.srv, f.ended = srv, done
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() { srv.Stop(); <-done })
}

func (f *fakeGitaly) record(ctx context.Context, method string, repo *gitalypb.Repository, protocol string, options []string, glID string) {
	md, _ := metadata.FromIncomingContext(ctx)
	kept := map[string]string{}
	for _, key := range []string{"x-gitlab-correlation-id", "x-gitlab-client-name", "user_id", "username", "remote_ip",
		"gitaly-feature-x", "secret", "gitaly-client-context-bin"} {
		if v := md.Get(key); len(v) > 0 {
			kept[key] = v[0]
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call{method, repo.GetRelativePath(), protocol, options, glID, kept})
}

func (f *fakeGitaly) last(t *testing.T) call {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) == 0 {
		t.Fatal("gitaly was not called")
	}
	return f.calls[len(f.calls)-1]
}

// forget returns the calls so far, and starts anew.
func (f *fakeGitaly) forget() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// text is what a call told gitaly, one thing a line.
func (c call) text() string {
	lines := []string{c.Method + " " + c.Repo, "protocol: " + c.Protocol, fmt.Sprintf("options: %q", c.Options), "GL_ID: " + c.GLID}
	for _, key := range slices.Sorted(maps.Keys(c.Metadata)) {
		value := c.Metadata[key]
		if key == "x-gitlab-correlation-id" {
			value = "ID"
		}
		lines = append(lines, key+": "+value)
	}
	return strings.Join(lines, "\n")
}

func (f *fakeGitaly) run(ctx context.Context, service, protocol string, stdin io.Reader, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{service, "--stateless-rpc"}, append(args, f.repo)...)...)
	cmd.Env = append(cmd.Environ(), "GIT_PROTOCOL="+protocol)
	cmd.Stdin, cmd.Stdout = stdin, stdout
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return status.Errorf(codes.FailedPrecondition, "git %s: %v: %s", service, err, stderr.String())
	}
	return nil
}

func (f *fakeGitaly) InfoRefsUploadPack(r *gitalypb.InfoRefsRequest, s grpc.ServerStreamingServer[gitalypb.InfoRefsResponse]) error {
	return f.advertise("upload-pack", r, s)
}

func (f *fakeGitaly) InfoRefsReceivePack(r *gitalypb.InfoRefsRequest, s grpc.ServerStreamingServer[gitalypb.InfoRefsResponse]) error {
	return f.advertise("receive-pack", r, s)
}

func (f *fakeGitaly) advertise(service string, r *gitalypb.InfoRefsRequest, s grpc.ServerStreamingServer[gitalypb.InfoRefsResponse]) error {
	f.record(s.Context(), "InfoRefs "+service, r.GetRepository(), r.GetGitProtocol(), r.GetGitConfigOptions(), "")
	if f.infoRefs != nil {
		if err := f.infoRefs(); err != nil {
			return err
		}
	}
	w := streamio.NewWriter(func(b []byte) error { return s.Send(&gitalypb.InfoRefsResponse{Data: b}) })
	line := "# service=git-" + service + "\n"
	if _, err := fmt.Fprintf(w, "%04x%s0000", len(line)+4, line); err != nil {
		return err
	}
	err := f.run(s.Context(), service, r.GetGitProtocol(), nil, w, "--advertise-refs")
	if err == nil && f.advertised != nil {
		err = f.advertised()
	}
	return err
}

func (f *fakeGitaly) PostUploadPackWithSidechannel(ctx context.Context, r *gitalypb.PostUploadPackWithSidechannelRequest) (*gitalypb.PostUploadPackWithSidechannelResponse, error) {
	f.record(ctx, "PostUploadPack", r.GetRepository(), r.GetGitProtocol(), r.GetGitConfigOptions(), "")
	c, err := sidechannel.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if f.postUpload != nil {
		err = f.postUpload(ctx, c)
	} else {
		// git ends with 128 after an exchange that only deepens; gitaly takes that for success.
		if err = f.run(ctx, "upload-pack", r.GetGitProtocol(), c, c); err != nil {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.PostUploadPackWithSidechannelResponse{}, c.Close()
}

func (f *fakeGitaly) PostReceivePack(s grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	f.record(s.Context(), "PostReceivePack", first.GetRepository(), first.GetGitProtocol(), first.GetGitConfigOptions(), first.GetGlId())
	if first.Data != nil {
		return status.Error(codes.InvalidArgument, "non-empty Data")
	}
	if f.postReceive != nil {
		return f.postReceive(s)
	}
	in := streamio.NewReader(func() ([]byte, error) {
		m, err := s.Recv()
		return m.GetData(), err
	})
	out := streamio.NewWriter(func(b []byte) error { return s.Send(&gitalypb.PostReceivePackResponse{Data: b}) })
	return f.run(s.Context(), "receive-pack", first.GetGitProtocol(), in, out)
}

// busy is how gitaly refuses a call for its load.
func busy() error {
	st, err := status.New(codes.ResourceExhausted, "maximum queue size reached").
		WithDetails(&gitalypb.LimitError{ErrorMessage: "maximum queue size reached", RetryAfter: durationpb.New(0)})
	if err != nil {
		return err
	}
	return st.Err()
}
