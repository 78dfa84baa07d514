package rpc

import (
	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
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
	out := chunks[*gitalypb.ListRefsResponse_Reference]{send: func(refs []*gitalypb.ListRefsResponse_Reference) error {
		return stream.Send(&gitalypb.ListRefsResponse{References: refs})
	}}
	if req.GetHead() && q.After == "" {
		objects, err := object.Open(ctx, s.Git, &repo.Repo)
		if err != nil {
			return err
		}
		info, err := objects.Info("HEAD")
		_ = objects.Close()
		if err == nil {
			err = out.add(&gitalypb.ListRefsResponse_Reference{Name: []byte("HEAD"), Target: info.OID})
		}
		if err != nil && errs.KindOf(err) != errs.NotFound { // an unborn HEAD points at nothing
			return err
		}
	}
	err = ref.List(ctx, s.Git, &repo.Repo, q, func(r ref.Ref) error {
		item := &gitalypb.ListRefsResponse_Reference{Name: []byte(r.Name), Target: r.OID}
		if req.GetPeelTags() {
			item.PeeledTarget = r.Peeled
		}
		return out.add(item)
	})
	if err != nil {
		return err
	}
	return out.flush()
}

func listQuery(req *gitalypb.ListRefsRequest) (ref.Query, error) {
	if len(req.GetPatterns()) == 0 {
		return ref.Query{}, invalid("patterns must have at least one entry")
	}
	if len(req.GetExcludePatterns()) > 0 {
		return ref.Query{}, errs.New(errs.Unimplemented, "exclude_patterns is not supported")
	}
	q := ref.Query{Descending: req.GetSortBy().GetDirection() == gitalypb.SortDirection_DESCENDING, IgnoreCase: req.GetIgnoreCase()}
	for _, p := range req.GetPatterns() {
		q.Patterns = append(q.Patterns, string(p))
	}
	for _, oid := range req.GetPointingAtOids() {
		q.PointsAt = append(q.PointsAt, string(oid))
	}
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
	q.After, q.Limit = page(req.GetPaginationParams())
	return q, nil
}
