package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/hooks/internal/relay"
)

const token = "0123456789abcdef0123456789abcdef"

// server is a gitaly that writes down what it is asked.
type server struct {
	gitalypb.UnimplementedHookServiceServer
	mu     sync.Mutex
	calls  []string
	env    []string
	md     metadata.MD
	status int32
	fail   error
	mute   bool // end without an exit status
}

func (s *server) note(ctx context.Context, env []string, call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.env = append(s.calls, call), env
	s.md, _ = metadata.FromIncomingContext(ctx)
}

func (s *server) PreReceiveHook(stream gitalypb.HookService_PreReceiveHookServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if s.fail != nil {
		return s.fail
	}
	var stdin []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		stdin = append(stdin, m.GetStdin()...)
	}
	s.note(stream.Context(), first.GetEnvironmentVariables(), "pre-receive "+strings.Join(first.GetGitPushOptions(), ",")+" "+string(stdin))
	if s.mute {
		return nil
	}
	if err := stream.Send(&gitalypb.PreReceiveHookResponse{Stdout: []byte("out")}); err != nil {
		return err
	}
	return stream.Send(&gitalypb.PreReceiveHookResponse{Stderr: []byte("err"), ExitStatus: &gitalypb.ExitStatus{Value: s.status}})
}

func (s *server) UpdateHook(req *gitalypb.UpdateHookRequest, stream gitalypb.HookService_UpdateHookServer) error {
	s.note(stream.Context(), req.GetEnvironmentVariables(), "update "+string(req.GetRef())+" "+req.GetOldValue()+" "+req.GetNewValue())
	return stream.Send(&gitalypb.UpdateHookResponse{ExitStatus: &gitalypb.ExitStatus{Value: s.status}})
}

func (s *server) ReferenceTransactionHook(stream gitalypb.HookService_ReferenceTransactionHookServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	s.note(stream.Context(), first.GetEnvironmentVariables(), "reference-transaction "+first.GetState().String())
	return stream.Send(&gitalypb.ReferenceTransactionHookResponse{ExitStatus: &gitalypb.ExitStatus{}})
}

// serve runs the server and returns the environment that git would give a hook.
func serve(t testing.TB, s *server, hooks hookpayload.Hook) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.StreamInterceptor(gitalyauth.StreamInterceptor(gitalyauth.Options{Token: token})))
	gitalypb.RegisterHookServiceServer(srv, s)
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(srv.Stop)
	entry, err := hookpayload.Payload{
		RequestedHooks: hooks, Repository: &gitalypb.Repository{StorageName: "default", RelativePath: "r.git"},
		InternalSocket: socket, InternalSocketToken: token,
		UserDetails: &hookpayload.UserDetails{Username: "ada", UserID: "key-7", Protocol: "ssh", RemoteIP: "192.0.2.1"},
	}.Env()
	if err != nil {
		t.Fatal(err)
	}
	return []string{entry, "CORRELATION_ID=cid", "GIT_PUSH_OPTION_COUNT=2", "GIT_PUSH_OPTION_0=a", "GIT_PUSH_OPTION_1=b"}
}

func run(env []string, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = relay.Main(context.Background(), append([]string{"/run/hooks/" + args[0]}, args[1:]...), env,
		relay.Streams{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errOut})
	return code, out.String(), errOut.String()
}

func TestMain_preReceive(t *testing.T) {
	t.Parallel()
	s := &server{status: 7}
	env := serve(t, s, hookpayload.ReceivePack)
	stdin := strings.Repeat("old new refs/heads/x\n", 20000) // several messages
	code, stdout, stderr := run(env, stdin, "pre-receive")
	if code != 7 || stdout != "out" || stderr != "err" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if diff := cmp.Diff([]string{"pre-receive a,b " + stdin}, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(env, s.env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	for key, want := range map[string]string{
		"x-gitlab-correlation-id": "cid", "x-gitlab-client-name": "gitaly-hooks", "user_id": "key-7", "username": "ada", "remote_ip": "192.0.2.1",
	} {
		if got := s.md.Get(key); len(got) != 1 || got[0] != want {
			t.Errorf("metadata %s = %q, want %q", key, got, want)
		}
	}
}

func TestMain_otherHooks(t *testing.T) {
	t.Parallel()
	s := &server{}
	env := serve(t, s, hookpayload.ReceivePack)
	for _, args := range [][]string{
		{"update", "refs/heads/x", "1", "2"}, {"reference-transaction", "preparing"},
		{"reference-transaction", "prepared"}, {"reference-transaction", "committed"}, {"reference-transaction", "aborted"},
	} {
		if code, _, stderr := run(env, "", args...); code != 0 || stderr != "" {
			t.Errorf("%q exits %d: %s", args, code, stderr)
		}
	}
	want := []string{"update refs/heads/x 1 2", "reference-transaction PREPARED", "reference-transaction COMMITTED", "reference-transaction ABORTED"}
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestMain_notRequested(t *testing.T) {
	t.Parallel()
	s := &server{status: 1}
	env := serve(t, s, hookpayload.ReferenceTransaction)
	if code, _, stderr := run(env, "x", "pre-receive"); code != 0 || stderr != "" || len(s.calls) != 0 {
		t.Errorf("exit %d, stderr %q, calls %q", code, stderr, s.calls)
	}
}

func TestMain_fails(t *testing.T) {
	t.Parallel()
	dead := serve(t, &server{}, hookpayload.ReceivePack)
	gone, err := hookpayload.Payload{Repository: &gitalypb.Repository{}, InternalSocket: "/nonexistent/s"}.Env()
	if err != nil {
		t.Fatal(err)
	}
	broken := &server{fail: status.Error(codes.Internal, "secret reason")}
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"no payload", nil, []string{"pre-receive"}, "error when getting hooks payload: no hook payload in the environment\n"},
		{"bad payload", []string{hookpayload.EnvKey + "=%"}, []string{"update"}, "error when getting hooks payload: hook payload is not base64\n"},
		{"unknown hook", dead, []string{"pre-commit"}, "subcommand name invalid: \"pre-commit\"\n"},
		{"gitaly is gone", []string{gone}, []string{"pre-receive"}, "error executing git hook\n"},
		{"gitaly fails", serve(t, broken, 0), []string{"pre-receive"}, "error executing git hook\n"},
		{"not offered", dead, []string{"post-receive"}, "error executing git hook\n"},
		{"no exit status", serve(t, &server{mute: true}, 0), []string{"pre-receive"}, "error executing git hook\n"},
		{"update without arguments", dead, []string{"update"}, "subcommand name invalid: update wants a reference and two object ids\n"},
		{"unknown state", dead, []string{"reference-transaction", "x"}, "subcommand name invalid: reference-transaction wants its state, got [\"x\"]\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if code, _, stderr := run(tc.env, "x", tc.args...); code != 1 || stderr != tc.want {
				t.Errorf("exit %d, stderr %q, want 1 and %q", code, stderr, tc.want)
			}
		})
	}
}
