package app_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// sshOrigin is another server that runs git over SSH for one key.
type sshOrigin struct {
	dir        string
	addr       string
	key        string // PEM of the client's key
	knownHosts string
	mu         sync.Mutex
	commands   []string
}

func newKey(t *testing.T) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), signer
}

func newSSHOrigin(t *testing.T) *sshOrigin {
	t.Helper()
	o := &sshOrigin{dir: t.TempDir()}
	var client ssh.Signer
	o.key, client = newKey(t)
	_, host := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, os.ErrPermission
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.addr = ln.Addr().String()
	_, port, _ := net.SplitHostPort(o.addr)
	o.knownHosts = knownhosts.Line([]string{"[example.com]:" + port}, host.PublicKey()) + "\n"
	var conns sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { o.serve(ctx, c, config) })
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		conns.Wait()
	})
	return o
}

// url names a repository by a host that only a given address makes reachable.
func (o *sshOrigin) url(path string) string {
	_, port, _ := net.SplitHostPort(o.addr)
	return "ssh://git@example.com:" + port + path
}

func (o *sshOrigin) serve(ctx context.Context, c net.Conn, config *ssh.ServerConfig) {
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(requests)
	for n := range channels {
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		var env []string
		for r := range requests {
			var payload struct{ Name, Value string }
			switch r.Type {
			case "env":
				_ = ssh.Unmarshal(r.Payload, &payload)
				env = append(env, payload.Name+"="+payload.Value)
				_ = r.Reply(true, nil)
			case "exec":
				_ = r.Reply(true, nil)
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{o.run(ctx, string(r.Payload[4:]), env, channel)}))
				_ = channel.Close()
			default:
				_ = r.Reply(false, nil)
			}
		}
	}
}

// run lets a shell take the command apart, as OpenSSH does.
func (o *sshOrigin) run(ctx context.Context, command string, env []string, channel ssh.Channel) uint32 {
	o.mu.Lock()
	o.commands = append(o.commands, command)
	o.mu.Unlock()
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.Replace(command, "git-", "git ", 1))
	cmd.Dir, cmd.Env = o.dir, append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := channel.Read(buf)
			_, _ = in.Write(buf[:n])
			if err != nil {
				_ = in.Close()
				return
			}
		}
	}()
	if cmd.Run() != nil {
		return 1
	}
	return 0
}

func TestSSHRemote(t *testing.T) {
	t.Parallel()
	o := newSSHOrigin(t)
	b := setup(t, func(c *app.Config) { c.Remote.AllowLocalNetworks = true })
	work := sampleHistory(t, "sha1")
	name := "/it's; touch $HOME `id`!.git"
	far := o.dir + name
	gitIn(t, o.dir, "clone", "-q", "--mirror", work, far)
	dir := b.create(t, "dst.git")
	fetch := func(alter func(*gitalypb.FetchRemoteRequest)) error {
		req := &gitalypb.FetchRemoteRequest{Repository: repository("dst.git"), SshKey: o.key, KnownHosts: o.knownHosts,
			RemoteParams: &gitalypb.Remote{Url: o.url(strings.NewReplacer(" ", "%20", "`", "%60").Replace(far)), ResolvedAddress: loopback, MirrorRefmaps: []string{"heads"}}}
		if alter != nil {
			alter(req)
		}
		_, err := b.repos().FetchRemote(t.Context(), req)
		return err
	}
	if err := fetch(nil); err != nil {
		t.Fatal(err)
	}
	if got, want := gitIn(t, dir, "for-each-ref"), gitIn(t, far, "for-each-ref", "refs/heads", "refs/tags"); got != want {
		t.Errorf("fetched\n%s\nwant\n%s", got, want)
	}
	gitIn(t, work, "commit", "-q", "--allow-empty", "-m", "three")
	gitIn(t, work, "push", "-q", dir, "HEAD:refs/heads/pushed")
	stream, err := gitalypb.NewRemoteServiceClient(b.conn).UpdateRemoteMirror(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&gitalypb.UpdateRemoteMirrorRequest{Repository: repository("dst.git"), SshKey: o.key, KnownHosts: o.knownHosts, // the answer says why
		Remote: &gitalypb.UpdateRemoteMirrorRequest_Remote{Url: o.url(strings.NewReplacer(" ", "%20", "`", "%60").Replace(far)), ResolvedAddress: loopback}})
	if _, err := stream.CloseAndRecv(); err != nil {
		t.Error(err)
	}
	if got, want := gitIn(t, far, "rev-parse", "refs/heads/pushed"), gitIn(t, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("mirrored %s, want %s", got, want)
	}
	stranger, other := newKey(t)
	_, port, _ := net.SplitHostPort(o.addr)
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.FetchRemoteRequest)
		code  codes.Code
	}{
		{"a key the server does not know", func(r *gitalypb.FetchRemoteRequest) { r.SshKey = stranger }, codes.FailedPrecondition},
		{"a server with another key", func(r *gitalypb.FetchRemoteRequest) {
			r.KnownHosts = knownhosts.Line([]string{"[example.com]:" + port}, other.PublicKey())
		}, codes.FailedPrecondition},
		{"no such repository", func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.Url = o.url("/none.git") }, codes.FailedPrecondition},
		{"no key", func(r *gitalypb.FetchRemoteRequest) { r.SshKey = "" }, codes.InvalidArgument},
		{"no key, but text", func(r *gitalypb.FetchRemoteRequest) { r.SshKey = "secret text" }, codes.InvalidArgument},
		{"no known hosts", func(r *gitalypb.FetchRemoteRequest) { r.KnownHosts = "" }, codes.InvalidArgument},
		{"known hosts that are none", func(r *gitalypb.FetchRemoteRequest) { r.KnownHosts = "@nonsense\x00" }, codes.InvalidArgument},
		{"an option as host", func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.Url = "ssh://-oProxyCommand=id/x" }, codes.InvalidArgument},
		{"no path", func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.Url = o.url("/") }, codes.InvalidArgument},
		{"a line break", func(r *gitalypb.FetchRemoteRequest) { r.RemoteParams.Url = o.url("/x%0aid") }, codes.InvalidArgument},
	} {
		if err := fetch(tc.alter); status.Code(err) != tc.code || strings.Contains(err.Error(), "secret text") {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	b.assertClean(t, dir)
	b.assertUntold(t, "PRIVATE KEY")
}
