package rpc

import (
	"context"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
	"gitsplit/services/gitaly/internal/storage"
)

// Diff is DiffService.
type Diff struct {
	gitalypb.UnimplementedDiffServiceServer
	*Deps
}

// between is a request that compares two revisions.
type between interface {
	GetRepository() *gitalypb.Repository
	GetLeftCommitId() string
	GetRightCommitId() string
}

// between reads what to compare.
func (s Diff) between(ctx context.Context, req between) (*storage.Repo, diff.Range, error) {
	r := diff.Range{Left: req.GetLeftCommitId(), Right: req.GetRightCommitId()}
	repo, err := s.repository(ctx, req.GetRepository())
	switch {
	case err != nil:
		return nil, r, err
	case r.Left == "":
		return nil, r, invalid("empty LeftCommitId")
	case r.Right == "":
		return nil, r, invalid("empty RightCommitId")
	}
	return repo, r, nil
}

// parts cuts the files that diff.Sink receives into messages.
type parts struct{ began bool }

// part is what one message carries: facts in the first one of a file; counts when they
// are known, with the facts or else in the last one.
type part struct {
	data               []byte
	facts, counts, end bool
}

// send sends what the sink received. Without data there is one message all the same.
func (p *parts) send(data []byte, last bool, one func(part) error) error {
	streamed := p.began
	p.began = !last
	for facts := !streamed; ; facts = false {
		n := min(len(data), streamio.MaxChunk)
		end := last && n == len(data)
		if err := one(part{data: data[:n], facts: facts, counts: last && facts || streamed && end, end: end}); err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}
