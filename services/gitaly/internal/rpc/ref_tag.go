package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// FindTag returns a tag by its short name. No such tag is NotFound with a
// FindTagError.
func (s Ref) FindTag(ctx context.Context, req *gitalypb.FindTagRequest) (*gitalypb.FindTagResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if len(req.GetTagName()) == 0 {
		return nil, invalid("tag name is empty")
	}
	full := ref.Tags + string(req.GetTagName())
	var found *ref.Ref
	if ref.Valid(full) {
		err = ref.List(ctx, s.Git, &repo.Repo, ref.Query{Patterns: []string{full}}, func(r ref.Ref) error {
			if r.Name == full { // the pattern also matches what lies below
				found = &r
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if found == nil {
		return nil, detailed(codes.NotFound, "tag does not exist", &gitalypb.FindTagError{
			Error: &gitalypb.FindTagError_TagNotFound{TagNotFound: &gitalypb.ReferenceNotFoundError{ReferenceName: []byte(full)}},
		})
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	t, err := tag(objects, *found)
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindTagResponse{Tag: t}, nil
}

// FindAllTags streams the tags; a page token is the full name of the last tag of the
// page before.
func (s Ref) FindAllTags(req *gitalypb.FindAllTagsRequest, stream gitalypb.RefService_FindAllTagsServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if emptyPage(req.GetPaginationParams()) {
		return nil
	}
	q := ref.Query{Patterns: []string{ref.Tags}, Sort: "refname", Descending: req.GetSortBy().GetDirection() == gitalypb.SortDirection_DESCENDING}
	switch req.GetSortBy().GetKey() {
	case gitalypb.FindAllTagsRequest_SortBy_CREATORDATE:
		q.Sort = "creatordate"
	case gitalypb.FindAllTagsRequest_SortBy_VERSION_REFNAME:
		q.Sort = "version:refname"
	}
	token, limit := page(req.GetPaginationParams())
	if q.Limit = limit; token != "" {
		q.After = fullName(ref.Tags, token)
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := chunks[*gitalypb.Tag]{send: func(t []*gitalypb.Tag) error { return stream.Send(&gitalypb.FindAllTagsResponse{Tags: t}) }}
	err = ref.List(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		t, err := tag(objects, r)
		if err != nil {
			return err
		}
		return out.add(t)
	})
	return out.end(err)
}
