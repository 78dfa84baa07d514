// Package repo reads a project's repository through gitaly for the REST API: it turns RPCs and their streams into pages and values, and
// missing things into errs.NotFound. Branches are named short here and full on the wire, and a revision that a user gave is resolved to a
// commit once, so that everything else of the request speaks of that commit (security-baseline.md V2).
package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"gitsplit/kit/errs"
	"gitsplit/kit/grpcx"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
)

// callTimeout bounds every call but the transfer of a file.
const callTimeout = 30 * time.Second

// Dialer reaches the gitaly that holds a project.
type Dialer interface {
	Conn(storage string) (*grpc.ClientConn, error)
	Repository(p project.Project) *gitalypb.Repository
}

// Repo is the repository of one project. It is safe for concurrent use.
type Repo struct {
	repository    *gitalypb.Repository
	defaultBranch string
	refs          gitalypb.RefServiceClient
	commits       gitalypb.CommitServiceClient
	operations    gitalypb.OperationServiceClient
	blobs         gitalypb.BlobServiceClient
	diffs         gitalypb.DiffServiceClient
	whole         gitalypb.RepositoryServiceClient
}

// Open returns the repository of a project.
func Open(d Dialer, p project.Project) (*Repo, error) {
	conn, err := d.Conn(p.Storage)
	if err != nil {
		return nil, fmt.Errorf("reach storage %q: %w", p.Storage, err)
	}
	return &Repo{
		repository:    d.Repository(p),
		defaultBranch: p.DefaultBranch,
		refs:          gitalypb.NewRefServiceClient(conn),
		commits:       gitalypb.NewCommitServiceClient(conn),
		operations:    gitalypb.NewOperationServiceClient(conn),
		blobs:         gitalypb.NewBlobServiceClient(conn),
		diffs:         gitalypb.NewDiffServiceClient(conn),
		whole:         gitalypb.NewRepositoryServiceClient(conn),
	}, nil
}

// receive runs each on every message of a stream, until its end.
func receive[M any](stream grpc.ServerStreamingClient[M], each func(*M)) error {
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return remote(err)
		}
		each(msg)
	}
}

// remote gives the error of a read one of our kinds. What gitaly finds wrong with a revision or path that a user gave makes it a name of
// nothing, and its own words stay out of the answer.
func remote(err error) error {
	if err == nil {
		return nil
	}
	converted := grpcx.FromStatus(err)
	switch kind := errs.KindOf(converted); kind {
	case errs.NotFound, errs.Invalid:
		return errs.Wrap(errs.NotFound, "", converted)
	case errs.Unavailable, errs.Exhausted, errs.Canceled, errs.Timeout, errs.Unimplemented:
		return errs.Wrap(kind, "", converted)
	default:
		return errs.Wrap(errs.Internal, "", converted)
	}
}

// bounded gives a call its deadline. The cancel function also ends a stream that is left early.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// window keeps the part of a stream of items that is one page, and counts them all.
type window[T any] struct {
	offset, limit int
	seen          int
	items         []T
}

func (w *window[T]) add(item T) {
	if w.seen >= w.offset && len(w.items) < w.limit {
		w.items = append(w.items, item)
	}
	w.seen++
}
