package method_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
	"gitsplit/services/gitaly/internal/storage"
)

type locator struct{}

func (locator) Locate(r *gitalypb.Repository) (*storage.Repo, error) {
	if r.GetRelativePath() == "" {
		return nil, errors.New("repository not set")
	}
	return &storage.Repo{RelativePath: r.GetRelativePath()}, nil
}

// pushes is a stream of SSHReceivePack, or taken for another, whose requests all name
// another repository.
type pushes struct {
	grpc.ServerStream
	ctx  context.Context
	sent *int
}

func (p pushes) Context() context.Context { return p.ctx }

func (p pushes) RecvMsg(m any) error {
	*p.sent++
	m.(*gitalypb.SSHReceivePackRequest).Repository = &gitalypb.Repository{RelativePath: fmt.Sprint(*p.sent)}
	return nil
}

// TestOutcomes: what is wanted is shown with the repository that was named, and a
// stream's is that of its first message.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var shown []string
	o := method.Outcomes{
		Locator: locator{},
		Wanted:  func(m method.Method, err error) bool { return m.Mutates() || errors.Is(err, broken) },
		Ended: func(_ context.Context, repo *storage.Repo, err error) {
			shown = append(shown, fmt.Sprint(repo.RelativePath, " ", err))
		},
	}
	unary := func(name string, req any, outcome error) {
		resp, err := o.Unary(t.Context(), req, &grpc.UnaryServerInfo{FullMethod: name}, func(context.Context, any) (any, error) { return "answer", outcome })
		if resp != "answer" || !errors.Is(err, outcome) {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
	stream := func(name string, outcome error) {
		err := o.Stream(nil, pushes{ctx: t.Context(), sent: new(int)}, &grpc.StreamServerInfo{FullMethod: name}, func(_ any, s grpc.ServerStream) error {
			return errors.Join(s.RecvMsg(&gitalypb.SSHReceivePackRequest{}), s.RecvMsg(&gitalypb.SSHReceivePackRequest{}), outcome)
		})
		if !errors.Is(err, outcome) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unary("/gitaly.RepositoryService/WriteRef", &gitalypb.WriteRefRequest{Repository: &gitalypb.Repository{RelativePath: "a"}}, nil)
	unary("/gitaly.RepositoryService/WriteRef", &gitalypb.WriteRefRequest{}, nil)
	unary("/gitaly.RefService/RefExists", &gitalypb.RefExistsRequest{Repository: &gitalypb.Repository{RelativePath: "b"}}, nil)
	unary("/gitaly.RefService/RefExists", &gitalypb.RefExistsRequest{Repository: &gitalypb.Repository{RelativePath: "c"}}, broken)
	stream("/gitaly.SSHService/SSHReceivePack", broken)
	stream("/gitaly.SSHService/SSHUploadArchive", broken)
	if diff := cmp.Diff([]string{"a <nil>", "c broken", "1 broken"}, shown); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
}
