package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/housekeeping"
)

// OptimizeRepository packs and cleans a repository and answers when that is done. Of two
// calls for one repository the second gets AlreadyExists. Strategies that move objects
// to other storages are Unimplemented.
func (s Repository) OptimizeRepository(ctx context.Context, req *gitalypb.OptimizeRepositoryRequest) (*gitalypb.OptimizeRepositoryResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	strategy := housekeeping.Heuristical
	switch req.GetStrategy() {
	case gitalypb.OptimizeRepositoryRequest_STRATEGY_UNSPECIFIED, gitalypb.OptimizeRepositoryRequest_STRATEGY_HEURISTICAL:
	case gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER:
		strategy = housekeeping.Eager
	case gitalypb.OptimizeRepositoryRequest_STRATEGY_OFFLOADING, gitalypb.OptimizeRepositoryRequest_STRATEGY_REHYDRATION:
		return nil, errs.New(errs.Unimplemented, "strategy is not supported")
	default:
		return nil, invalid("unknown optimization strategy")
	}
	if err := s.Housekeeping.Optimize(ctx, repo, strategy); err != nil {
		return nil, err
	}
	return &gitalypb.OptimizeRepositoryResponse{}, nil
}

// PruneUnreachableObjects removes what has been unreachable for half an hour, by the
// time when a full repack found it so.
func (s Repository) PruneUnreachableObjects(
	ctx context.Context, req *gitalypb.PruneUnreachableObjectsRequest,
) (*gitalypb.PruneUnreachableObjectsResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := s.Housekeeping.Prune(ctx, repo); err != nil {
		return nil, err
	}
	return &gitalypb.PruneUnreachableObjectsResponse{}, nil
}
