package rpc

import (
	"context"
	"encoding/base64"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// ListRefs streams the references that match the patterns.
func (s Ref) ListRefs(req *gitalypb.ListRefsRequest, stream gitalypb.RefService_ListRefsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	q, err := listQuery(req)
	if err != nil {
		return err
	}
	if emptyPage(req.GetPaginationParams()) {
		return nil
	}
	var cursor *gitalypb.PaginationCursor // of the last message
	out := chunks[*gitalypb.ListRefsResponse_Reference]{send: func(refs []*gitalypb.ListRefsResponse_Reference) error {
		return stream.Send(&gitalypb.ListRefsResponse{References: refs, PaginationCursor: cursor})
	}}
	if req.GetHead() && q.After == "" {
		if err := s.addHead(ctx, repo, out.add); err != nil {
			return err
		}
	}
	last := ""
	more, err := ref.Page(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		item := &gitalypb.ListRefsResponse_Reference{Name: []byte(r.Name), Target: r.OID}
		if req.GetPeelTags() {
			item.PeeledTarget = r.Peeled
		}
		last = r.Name
		return out.add(item)
	})
	if err != nil {
		return err
	}
	if more {
		cursor = encodeCursor(last)
		if len(out.items) == 0 { // the page has just been sent
			return stream.Send(&gitalypb.ListRefsResponse{PaginationCursor: cursor})
		}
	}
	return out.flush()
}

// addHead adds what HEAD points at, if that exists.
func (s Ref) addHead(ctx context.Context, repo *storage.Repo, add func(*gitalypb.ListRefsResponse_Reference) error) error {
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	info, err := objects.Info("HEAD")
	_ = objects.Close()
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return add(&gitalypb.ListRefsResponse_Reference{Name: []byte("HEAD"), Target: info.OID})
}

func listQuery(req *gitalypb.ListRefsRequest) (ref.Query, error) {
	if len(req.GetPatterns()) == 0 {
		return ref.Query{}, invalid("patterns must have at least one entry")
	}
	q := ref.Query{Exclude: texts(req.GetExcludePatterns()), Patterns: texts(req.GetPatterns()), Descending: req.GetSortBy().GetDirection() == gitalypb.SortDirection_DESCENDING, IgnoreCase: req.GetIgnoreCase()}
	q.PointsAt = texts(req.GetPointingAtOids())
	switch req.GetSortBy().GetKey() {
	case gitalypb.ListRefsRequest_SortBy_CREATORDATE:
		q.Sort = "creatordate"
	case gitalypb.ListRefsRequest_SortBy_AUTHORDATE:
		q.Sort = "authordate"
	case gitalypb.ListRefsRequest_SortBy_COMMITTERDATE:
		q.Sort = "committerdate"
	default:
		q.Sort = "refname"
	}
	var err error
	q.After, q.Limit = page(req.GetPaginationParams())
	q.After, err = decodeCursor(q.After)
	return q, err
}

// encodeCursor makes a page token of a name, which need not be text.
func encodeCursor(name string) *gitalypb.PaginationCursor {
	return &gitalypb.PaginationCursor{NextCursor: base64.RawURLEncoding.EncodeToString([]byte(name))}
}

// decodeCursor also takes a full name as it is.
func decodeCursor(token string) (string, error) {
	if strings.HasPrefix(token, "refs/") {
		return token, nil
	}
	name, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", invalid("could not find page token")
	}
	return string(name), nil
}
