package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/pktline"
	"gitsplit/proto/go/gitalypb"
)

// packServer makes a pack of what it is asked for.
type packServer struct {
	gitalypb.UnimplementedHookServiceServer
	req    *gitalypb.PackObjectsHookWithSidechannelRequest
	socket string
	fail   error // before it connects
	answer func(conn net.Conn, stdin string) error
}

func (s *packServer) PackObjectsHookWithSidechannel(ctx context.Context, req *gitalypb.PackObjectsHookWithSidechannelRequest) (*gitalypb.PackObjectsHookWithSidechannelResponse, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	s.req, s.socket = req, metadata.ValueFromIncomingContext(ctx, "gitaly-sidechannel-socket")[0]
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stdin, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.socket); !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the socket is still there")
	}
	return &gitalypb.PackObjectsHookWithSidechannelResponse{}, s.answer(conn, string(stdin))
}

// servePacks returns the environment and the runtime directory.
func servePacks(t *testing.T, s *packServer) (env []string, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "chan.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(gitalyauth.UnaryInterceptor(gitalyauth.Options{Token: token})))
	gitalypb.RegisterHookServiceServer(srv, s)
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(srv.Stop)
	entry, err := hookpayload.Payload{
		RequestedHooks: hookpayload.PackObjects, Repository: &gitalypb.Repository{StorageName: "default", RelativePath: "r.git"},
		RuntimeDir: dir, InternalSocket: filepath.Join(dir, "s"), InternalSocketToken: token,
		UserDetails: &hookpayload.UserDetails{Username: "ada", UserID: "user-7", Protocol: "ssh", RemoteIP: "192.0.2.1"},
	}.Env()
	if err != nil {
		t.Fatal(err)
	}
	return []string{entry}, dir
}

func TestMain_packObjects(t *testing.T) {
	t.Parallel()
	s := &packServer{answer: func(conn net.Conn, stdin string) error {
		out := pktline.NewBandWriter(conn, pktline.BandData)
		for range 3 {
			if err := pktline.Band(conn, pktline.BandProgress, []byte("Counting\n")); err != nil {
				return err
			}
			if _, err := io.WriteString(out, strings.Repeat(stdin, 10_000)); err != nil { // several packets
				return err
			}
		}
		return nil
	}}
	env, dir := servePacks(t, s)
	args := []string{"--shallow-file", "", "pack-objects", "--revs", "--stdout"}
	code, stdout, stderr := run(env, "wants\n", append([]string{"gitaly-hooks", "git"}, args...)...)
	if code != 0 || stdout != strings.Repeat("wants\n", 30_000) || stderr != strings.Repeat("Counting\n", 3) {
		t.Errorf("exit %d, %d bytes, stderr %q", code, len(stdout), stderr)
	}
	if diff := cmp.Diff(args, s.req.GetArgs()); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if s.req.GetGlId() != "user-7" || s.req.GetGlUsername() != "ada" || s.req.GetGitProtocol() != "ssh" || s.req.GetRemoteIp() != "192.0.2.1" ||
		s.req.GetRepository().GetRelativePath() != "r.git" || len(s.req.GetEnvironmentVariables()) != 1 {
		t.Errorf("request %v", s.req)
	}
	if want := filepath.Join(dir, "chan.d"); filepath.Dir(filepath.Dir(s.socket)) != want || filepath.Base(s.socket) != "sidechannel" {
		t.Errorf("socket %q, want one below %q", s.socket, want)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "chan.d")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestMain_packObjects_fails has what the user reads.
func TestMain_packObjects_fails(t *testing.T) {
	t.Parallel()
	write := func(text string, err error) func(net.Conn, string) error {
		return func(conn net.Conn, _ string) error {
			_, _ = io.WriteString(conn, text)
			return err
		}
	}
	const failed = "error executing git hook\n"
	for _, tc := range []struct {
		name   string
		server packServer
		args   []string
		want   string
	}{
		{"limit", packServer{fail: status.Error(codes.ResourceExhausted, "maximum queue size reached")}, []string{"git", "pack-objects"},
			failed + "error resource exhausted, please try again later\n"},
		{"limit, later", packServer{answer: write("", status.Error(codes.ResourceExhausted, "x"))}, []string{"git", "pack-objects"},
			failed + "error resource exhausted, please try again later\n"},
		{"refused", packServer{fail: status.Error(codes.InvalidArgument, "secret reason")}, []string{"git", "pack-objects"}, failed},
		{"git fails half-way", packServer{answer: write("0006\x01x", status.Error(codes.Internal, "secret reason"))}, []string{"git", "pack-objects"}, failed},
		{"no packets", packServer{answer: write("zzzz", nil)}, []string{"git", "pack-objects"}, failed},
		{"unknown band", packServer{answer: write("0006\x07x", nil)}, []string{"git", "pack-objects"}, failed},
		{"empty packet", packServer{answer: write("0004", nil)}, []string{"git", "pack-objects"}, failed},
		{"cut off", packServer{answer: write("0009\x01x", nil)}, []string{"git", "pack-objects"}, failed},
		{"not git", packServer{}, []string{"sh", "-c"}, "subcommand name invalid: want git pack-objects, got [\"sh\" \"-c\"]\n"},
		{"nothing", packServer{}, []string{"git"}, "subcommand name invalid: want git pack-objects, got [\"git\"]\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env, dir := servePacks(t, &tc.server)
			code, _, stderr := run(env, "x", append([]string{"gitaly-hooks"}, tc.args...)...)
			if code != 1 || stderr != tc.want {
				t.Errorf("exit %d, stderr %q, want %q", code, stderr, tc.want)
			}
			if left, _ := os.ReadDir(filepath.Join(dir, "chan.d")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
