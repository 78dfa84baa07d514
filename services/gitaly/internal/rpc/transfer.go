package rpc

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"gitsplit/kit/grpcx"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/logging"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/storage"
	"google.golang.org/protobuf/proto"
)

// transfer is the two byte streams of a transport RPC, counted for the access
// line. Reads end with the RPC: a message or packet that is waited for fails then.
type transfer struct {
	in, out atomic.Int64
}

// note puts the counts on the access line.
func (t *transfer) note(ctx context.Context) {
	grpcx.AddAttrs(ctx, slog.Int64(logging.KeyBytesIn, t.in.Load()), slog.Int64(logging.KeyBytesOut, t.out.Load()))
}

func (t *transfer) reader(r io.Reader) io.Reader { return &countedReader{r, &t.in} }
func (t *transfer) writer(w io.Writer) io.Writer { return &countedWriter{w, &t.out} }

// send writes into messages, several streams at a time.
func (t *transfer) send(mu *sync.Mutex, send func([]byte) error) io.Writer {
	return t.writer(streamio.NewWriter(func(b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		return send(b)
	}))
}

type countedReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type countedWriter struct {
	w io.Writer
	n *atomic.Int64
}

func (c *countedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// pushRequest is what the first messages of both push RPCs have in common.
type pushRequest interface {
	GetRepository() *gitalypb.Repository
	GetGlId() string
	GetGlRepository() string
	GetGlUsername() string
	GetGitProtocol() string
	GetGitConfigOptions() []string
}

// beginPush checks the first message of a push, which has no data, and collects who
// pushes. protocol is ssh or http.
func (d *Deps) beginPush(ctx context.Context, first pushRequest, protocol string) (*storage.Repo, pack.Push, error) {
	if first.GetGlId() == "" {
		return nil, pack.Push{}, invalid("empty GlId")
	}
	repo, err := d.standing(ctx, first.GetRepository())
	if err != nil {
		return nil, pack.Push{}, err
	}
	d.protocol(ctx, first.GetGitProtocol())
	return repo, newPush(ctx, first, protocol), nil
}

// newPush collects who pushes.
func newPush(ctx context.Context, req pushRequest, protocol string) pack.Push {
	repo, _ := proto.Clone(req.GetRepository()).(*gitalypb.Repository)
	if repo.GetGlRepository() == "" {
		repo.GlRepository = req.GetGlRepository()
	}
	grpcx.AddAttrs(ctx, slog.String(logging.KeyUser, req.GetGlUsername()), slog.String("gl_id", req.GetGlId()))
	return pack.Push{
		Repository: repo,
		User: hookpayload.UserDetails{
			Username: req.GetGlUsername(), UserID: req.GetGlId(), Protocol: protocol, RemoteIP: incoming(ctx, "remote_ip"),
		},
		GitProtocol: req.GetGitProtocol(), ConfigOptions: req.GetGitConfigOptions(),
		ClientContext: []byte(incoming(ctx, "gitaly-client-context-bin")),
		StatelessRPC:  protocol == "http",
	}
}

// fetchRequest is what the requests of both fetch RPCs have in common.
type fetchRequest interface {
	GetRepository() *gitalypb.Repository
	GetGitProtocol() string
	GetGitConfigOptions() []string
}

// newFetch collects who fetches. protocol is ssh or http.
func newFetch(ctx context.Context, req fetchRequest, protocol string) pack.Fetch {
	return pack.Fetch{
		Repository: req.GetRepository(), User: hookpayload.UserDetails{
			Username: incoming(ctx, "username"), UserID: incoming(ctx, "user_id"), Protocol: protocol, RemoteIP: incoming(ctx, "remote_ip"),
		},
		GitProtocol: req.GetGitProtocol(), ConfigOptions: req.GetGitConfigOptions(), StatelessRPC: protocol == "http",
	}
}
