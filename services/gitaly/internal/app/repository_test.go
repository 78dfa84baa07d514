package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

func TestRepositoryService(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	repos, ctx := gitalypb.NewRepositoryServiceClient(x.conn), t.Context()
	_, err := repos.CreateRepository(ctx, &gitalypb.CreateRepositoryRequest{Repository: x.repo})
	if status.Code(err) != codes.AlreadyExists || status.Convert(err).Message() != "repository exists already" {
		t.Errorf("second creation: %v", err)
	}
	for _, branch := range []string{"-x", "a..b", "HEAD", "a b"} {
		_, err := repos.CreateRepository(ctx, &gitalypb.CreateRepositoryRequest{Repository: repository("new.git"), DefaultBranch: []byte(branch)})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("creation with branch %q: %v", branch, err)
		}
	}
	info, err := repos.RepositoryInfo(ctx, &gitalypb.RepositoryInfoRequest{Repository: x.repo})
	if err != nil || info.GetReferences().GetLooseCount() != 4 || info.GetObjects().GetPackfileCount() == 0 || info.GetSize() == 0 {
		t.Errorf("RepositoryInfo = %v, %v", info, err)
	}
	if size, err := repos.RepositorySize(ctx, &gitalypb.RepositorySizeRequest{Repository: x.repo}); err != nil || size.GetSize() == 0 {
		t.Errorf("RepositorySize = %v, %v", size, err)
	}
	if f, err := repos.ObjectFormat(ctx, &gitalypb.ObjectFormatRequest{Repository: x.repo}); err != nil || f.GetFormat() != gitalypb.ObjectFormat_OBJECT_FORMAT_SHA1 {
		t.Errorf("ObjectFormat = %v, %v", f, err)
	}
	if h, err := repos.HasLocalBranches(ctx, &gitalypb.HasLocalBranchesRequest{Repository: x.repo}); err != nil || !h.GetValue() {
		t.Errorf("HasLocalBranches = %v, %v", h, err)
	}
	base, err := repos.FindMergeBase(ctx, &gitalypb.FindMergeBaseRequest{Repository: x.repo, Revisions: [][]byte{[]byte("main"), []byte("old")}})
	if err != nil || base.GetBase() != x.first {
		t.Errorf("FindMergeBase = %v, %v", base, err)
	}
	for _, exists := range []bool{true, false} {
		if r, err := repos.RepositoryExists(ctx, &gitalypb.RepositoryExistsRequest{Repository: x.repo}); err != nil || r.GetExists() != exists {
			t.Errorf("RepositoryExists = %v, %v, want %v", r, err, exists)
		}
		_, err := repos.RemoveRepository(ctx, &gitalypb.RemoveRepositoryRequest{Repository: x.repo})
		if want := map[bool]codes.Code{true: codes.OK, false: codes.NotFound}[exists]; status.Code(err) != want {
			t.Errorf("RemoveRepository: %v, want %v", err, want)
		}
	}
}

func TestRepositoryService_WriteRef(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	repos, ctx := gitalypb.NewRepositoryServiceClient(x.conn), t.Context()
	zero := strings.Repeat("0", 40)
	for _, tc := range []struct {
		name, ref, revision, old string
		code                     codes.Code
		text                     string
	}{
		{"new", "refs/heads/n", x.first, zero, codes.OK, ""},
		{"new again", "refs/heads/n", x.first, zero, codes.Aborted, "The operation could not be completed. Please try again."},
		{"moved", "refs/heads/n", "main", x.first, codes.OK, ""},
		{"not where it must be", "refs/heads/n", x.first, x.first, codes.Aborted, "The operation could not be completed. Please try again."},
		{"deleted", "refs/heads/n", zero, "", codes.OK, ""},
		{"HEAD", "HEAD", "refs/heads/old", "", codes.OK, ""},
		{"HEAD at a commit", "HEAD", x.first, "", codes.InvalidArgument, "HEAD must point at a branch"},
		{"bad name", "refs/heads/a..b", x.first, "", codes.InvalidArgument, "invalid refname"},
		{"short name", "main", x.first, "", codes.InvalidArgument, "ref has to be a full reference"},
		{"no name", "", x.first, "", codes.InvalidArgument, "invalid ref: empty revision"},
		{"nothing to write", "refs/heads/n", "", "", codes.InvalidArgument, "invalid revision: empty revision"},
		{"option", "refs/heads/n", "--stdin", "", codes.InvalidArgument, "invalid revision: revision can't start with '-'"},
		{"option as the old one", "refs/heads/n", x.first, "--stdin", codes.InvalidArgument, "invalid OldRevision: revision can't start with '-'"},
		{"unknown revision", "refs/heads/n", "none", "", codes.NotFound, "resolving new revision: reference not found"},
		{"unknown old revision", "refs/heads/n", x.first, "none", codes.NotFound, "resolving old revision: reference not found"},
		{"line break", "refs/heads/n", x.first + "\ndelete refs/heads/main", "", codes.InvalidArgument, "invalid revision: revision can't contain whitespace"},
		{"NUL", "refs/heads/n\x00", x.first, "", codes.InvalidArgument, "invalid ref: revision can't contain NUL"},
	} {
		_, err := repos.WriteRef(ctx, &gitalypb.WriteRefRequest{Repository: x.repo, Ref: []byte(tc.ref), Revision: []byte(tc.revision), OldRevision: []byte(tc.old)})
		s := status.Convert(err)
		if s.Code() != tc.code || s.Message() != tc.text || (len(s.Details()) == 1) != (tc.code == codes.NotFound) {
			t.Errorf("%s: %v, want %v %q", tc.name, err, tc.code, tc.text)
		}
	}
	if head, _ := os.ReadFile(filepath.Join(x.dir, "HEAD")); string(head) != "ref: refs/heads/old\n" {
		t.Errorf("HEAD = %q", head)
	}
}

func TestTransport_badRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	ctx := t.Context()
	for _, tc := range []struct {
		req  *gitalypb.SSHReceivePackRequest
		text string
	}{
		{&gitalypb.SSHReceivePackRequest{Repository: repository(rel)}, "empty GlId"},
		{&gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1", Stdin: []byte("x")}, "non-empty data in first request"},
		{&gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1", GitConfigOptions: []string{"x"}}, `cannot convert invalid config key: "x"`},
		{&gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1", GitConfigOptions: []string{"core.hooksPath=/"}}, `config key may not be set by a request: "core.hooksPath"`},
	} {
		_, err := gitalyclient.SSHReceivePack(ctx, b.conn, tc.req, strings.NewReader(""), io.Discard, io.Discard)
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != tc.text {
			t.Errorf("%v: %v", tc.req, err)
		}
	}
	var stderr strings.Builder
	code, err := gitalyclient.SSHReceivePack(ctx, b.conn, &gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1"},
		strings.NewReader(""), io.Discard, &stderr)
	if status.Code(err) != codes.Canceled || status.Convert(err).Message() != "user canceled the push" || code != 128 {
		t.Errorf("hung up: %d, %v, %q", code, err, stderr.String())
	}
	code, err = gitalyclient.SSHReceivePack(ctx, b.conn, &gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1"},
		strings.NewReader("junk"), io.Discard, io.Discard)
	if status.Code(err) != codes.Internal || status.Convert(err).Message() != "cmd wait: exit status 128" || code != 128 {
		t.Errorf("junk: %d, %v", code, err)
	}
	_, err = gitalypb.NewSSHServiceClient(b.conn).SSHUploadPackWithSidechannel(ctx, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)})
	if status.Code(err) != codes.Internal || !strings.HasPrefix(status.Convert(err).Message(), "opennig sidechannel: sidechannel: sidechannel-id not found") {
		t.Errorf("no sidechannel: %v", err)
	}
	err = gitalyclient.PostUploadPack(ctx, b.conn, &gitalypb.PostUploadPackWithSidechannelRequest{Repository: repository(rel)}, strings.NewReader("junk"), io.Discard)
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "running upload-pack: waiting for upload-pack: exit status 128" {
		t.Errorf("junk over HTTP: %v", err)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	previous, file := strings.Repeat("p", 32), filepath.Join(t.TempDir(), "previous")
	if err := os.WriteFile(file, []byte(previous), 0o600); err != nil {
		t.Fatal(err)
	}
	b := setup(t, func(c *app.Config) { c.Auth.PreviousTokenFile = file })
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	t.Cleanup(func() { _ = pool.Close() })
	internal, _ := filepath.Glob(filepath.Join(b.cfg.RuntimeDir, "gitaly-*/sock.d/intern"))
	if len(internal) != 1 {
		t.Fatalf("internal sockets: %q", internal)
	}
	for _, tc := range []struct {
		address, token string
		code           codes.Code
	}{
		{b.address, "", codes.Unauthenticated},
		{b.address, "wrong", codes.PermissionDenied},
		{b.address, secretText, codes.OK},
		{b.address, previous, codes.OK}, // the secret is being changed
		{"unix:" + internal[0], previous, codes.PermissionDenied},
		{"unix:" + internal[0], secretText, codes.PermissionDenied}, // the outer secret does not open the inner socket
		{"unix:" + internal[0], "", codes.Unauthenticated},
	} {
		conn, err := pool.Conn(tc.address, tc.token)
		if err != nil {
			t.Fatal(err)
		}
		_, err = gitalypb.NewServerServiceClient(conn).ServerInfo(t.Context(), &gitalypb.ServerInfoRequest{})
		if tc.address != b.address {
			_, err = drain(ignore(gitalypb.NewHookServiceClient(conn).UpdateHook(t.Context(), &gitalypb.UpdateHookRequest{})))
		}
		if status.Code(err) != tc.code {
			t.Errorf("%s with %q: %v, want %v", tc.address, tc.token, err, tc.code)
		}
		if h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health without a token: %v, %v", h, err)
		}
	}
	_, err := drain(ignore(gitalypb.NewHookServiceClient(b.conn).UpdateHook(t.Context(), &gitalypb.UpdateHookRequest{})))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("HookService outside: %v", err)
	}
}

func TestServerService(t *testing.T) {
	t.Parallel()
	b := setup(t)
	server, ctx := gitalypb.NewServerServiceClient(b.conn), t.Context()
	info, err := server.ServerInfo(ctx, &gitalypb.ServerInfoRequest{})
	if err != nil || len(info.GetStorageStatuses()) != 1 || !info.GetStorageStatuses()[0].GetWriteable() || info.GetStorageStatuses()[0].GetFilesystemId() == "" || info.GetGitVersion() == "" {
		t.Errorf("ServerInfo = %v, %v", info, err)
	}
	disk, err := server.DiskStatistics(ctx, &gitalypb.DiskStatisticsRequest{})
	if err != nil || len(disk.GetStorageStatuses()) != 1 || disk.GetStorageStatuses()[0].GetAvailable() <= 0 {
		t.Errorf("DiskStatistics = %v, %v", disk, err)
	}
	ready, err := server.ReadinessCheck(ctx, &gitalypb.ReadinessCheckRequest{Timeout: durationpb.New(time.Second)})
	if err != nil || ready.GetOkResponse() == nil {
		t.Errorf("ReadinessCheck = %v, %v", ready, err)
	}
	if _, err := server.ServerSignature(ctx, &gitalypb.ServerSignatureRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("ServerSignature: %v", err)
	}
}

// TestListeners serves TCP, metrics and probes.
func TestListeners(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	free := func() string {
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		return ln.Addr().String()
	}
	b.cfg.ListenAddr, b.cfg.PrometheusListenAddr = free(), free()
	b.start(t)
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	t.Cleanup(func() { _ = pool.Close() })
	conn, err := pool.Conn("tcp://"+b.cfg.ListenAddr, secretText)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gitalypb.NewServerServiceClient(conn).ServerInfo(t.Context(), &gitalypb.ServerInfoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.cfg.PrometheusListenAddr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	eventually(t, "ready", func() bool {
		code, _ := get("/-/readiness")
		return code == http.StatusOK
	})
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "grpc_server_handled_total") {
		t.Errorf("metrics: %d\n%s", code, body)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is one
}

func TestMainCommand(t *testing.T) {
	t.Parallel()
	dir := short(t)
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := writeFile(path, content); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.toml", "socket_path = '"+dir+"/s'\nruntime_dir = '"+dir+"'\n[[storage]]\nname = 'default'\npath = '"+dir+"'\n[gitlab]\nurl = 'http://x'\nsecret = '"+secretText+"'\n")
	bad := write("bad.toml", "listen_addr = 'nowhere'\n[[storage]]\nname = 'a'\npath = 'relative'\n[gitlab]\nsecret='short'\n[backup]\ngo_cloud_url='s3://bucket'\n")
	unknown := write("unknown.toml", "socket = 'x'\n")
	for _, tc := range []struct {
		args []string
		want []string // parts of the error; none for success
	}{
		{[]string{"-version"}, nil},
		{[]string{"check-config", good}, nil},
		{[]string{"check-config", bad}, []string{"listen_addr: address", "needs auth.token_file", "storage.path", "gitlab.url", "gitlab.secret_file", "backup.go_cloud_url"}},
		{[]string{"check-config", unknown}, []string{`unknown key "socket"`}},
		{[]string{"check-config", dir + "/none.toml"}, []string{"read configuration"}},
		{[]string{}, []string{"usage: gitaly"}},
		{[]string{"-x"}, []string{"usage: gitaly"}},
		{[]string{"serve"}, []string{"no such file"}},
	} {
		err := app.Main(context.Background(), tc.args, func(string) (string, bool) { return "", false }, io.Discard, io.Discard)
		if (err == nil) != (len(tc.want) == 0) {
			t.Errorf("%q: %v", tc.args, err)
		}
		for _, want := range tc.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q in it", tc.args, err, want)
			}
		}
	}
}
