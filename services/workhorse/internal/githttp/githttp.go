// Package githttp serves Git over HTTP: it relays the three requests of the smart
// protocol to gitaly, once rails-api has permitted them (wire/workhorse.md §3.2,
// §3.3). It keeps no pack in memory.
//
// One rule shapes it: git over HTTP/1.1 writes its whole request before it reads
// a byte of the answer, so no answer is begun before the request was read.
package githttp

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"gitsplit/services/workhorse/internal/failure"
	"gitsplit/services/workhorse/internal/gitaly"
	"gitsplit/services/workhorse/internal/preauth"
)

// The services of the smart protocol.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// Limits bound what a request may cost. A zero is no limit.
type Limits struct {
	UploadPackBody    int64         // bytes of a fetch request, after inflation
	UploadPackTime    time.Duration // for reading a fetch request
	InflatedPush      int64         // bytes of a compressed push, after inflation; gitaly bounds plain ones
	InflateRatio      int64         // inflated bytes per compressed byte
	HeldAnswer        int64         // bytes of an answer that waits for its request to end
	DrainAfterFailure time.Duration // for reading the rest of a push that gitaly has ended
}

// Options of a Service.
type Options struct {
	Gitalys gitaly.Servers
	Limits  Limits
	TempDir string // for answers that wait; "" is the system's
	Metrics *Metrics
	Log     *slog.Logger
}

// Service answers permitted Git requests.
type Service struct {
	Options
	zip compressors
}

// New returns a Service.
func New(o Options) *Service { return &Service{Options: o} }

// fetchOptions are the git settings of a request that reads refs.
func fetchOptions(a *preauth.Answer) []string {
	if a.ShowAllRefs {
		return []string{"transfer.hideRefs=!refs"}
	}
	return nil
}

// protocol returns the client's Git-Protocol if it can be one; gitaly judges it.
func protocol(r *http.Request) string {
	const longest = 256
	p := r.Header.Get("Git-Protocol")
	if len(p) > longest {
		return ""
	}
	for _, c := range []byte(p) {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return p
}

// conn connects to the repository's gitaly and returns a context that tells it
// about the caller.
func (s *Service) conn(ctx context.Context, a *preauth.Answer) (context.Context, *grpc.ClientConn, error) {
	conn, err := s.Gitalys.Conn(a.GitalyServer.Address, a.GitalyServer.Token)
	if err != nil {
		return nil, nil, err
	}
	return a.GitalyServer.Context(ctx), conn, nil
}

func (s *Service) logFailure(ctx context.Context, service string, err error) {
	failure.Log(ctx, s.Log, "git request failed", slog.String("git_service", service), err)
}
