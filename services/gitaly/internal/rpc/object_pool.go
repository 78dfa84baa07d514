package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/storage"
)

// ObjectPool is ObjectPoolService.
type ObjectPool struct {
	gitalypb.UnimplementedObjectPoolServiceServer
	*Deps
}

// poolPlace checks where a request wants a pool to be.
func (d *Deps) poolPlace(ctx context.Context, msg *gitalypb.ObjectPool) (*storage.Repo, error) {
	if msg.GetRepository() == nil {
		return nil, invalid("no object pool repository")
	}
	place, err := d.place(ctx, msg.GetRepository())
	if err != nil {
		return nil, err
	}
	if !place.IsPool() {
		return nil, invalid("invalid object pool directory")
	}
	return place, nil
}

// existingPool is poolPlace for pools that must be there.
func (d *Deps) existingPool(ctx context.Context, msg *gitalypb.ObjectPool) (*storage.Repo, error) {
	place, err := d.poolPlace(ctx, msg)
	if err != nil {
		return nil, err
	}
	if ok, err := place.Exists(); err != nil || !ok {
		return nil, errs.Wrap(errs.FailedPrecondition, "object pool is not a valid git repository", err)
	}
	return place, nil
}

// CreateObjectPool makes a pool from its first member.
func (s ObjectPool) CreateObjectPool(ctx context.Context, req *gitalypb.CreateObjectPoolRequest) (*gitalypb.CreateObjectPoolResponse, error) {
	if req.GetOrigin() == nil {
		return nil, invalid("no origin repository")
	}
	place, err := s.poolPlace(ctx, req.GetObjectPool())
	if err != nil {
		return nil, err
	}
	origin, err := s.Locator.Find(req.GetOrigin())
	if err != nil {
		return nil, err
	}
	if origin.Storage != place.Storage {
		return nil, invalid("origin has different storage than object pool")
	}
	err = s.Pools.Create(ctx, place, origin)
	if errs.KindOf(err) == errs.Exists { // what callers of this service expect
		return nil, errs.Wrap(errs.FailedPrecondition, "creating object pool: repository exists already", err)
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.CreateObjectPoolResponse{}, nil
}

// DeleteObjectPool removes a pool, also if members still need it.
func (s ObjectPool) DeleteObjectPool(ctx context.Context, req *gitalypb.DeleteObjectPoolRequest) (*gitalypb.DeleteObjectPoolResponse, error) {
	place, err := s.poolPlace(ctx, req.GetObjectPool())
	if err != nil {
		return nil, err
	}
	if err := storage.Remove(place); err != nil && errs.KindOf(err) != errs.NotFound {
		return nil, err
	}
	s.Git.ForgetRepo(place.Dir)
	return &gitalypb.DeleteObjectPoolResponse{}, nil
}

// LinkRepositoryToObjectPool makes a repository a member.
func (s ObjectPool) LinkRepositoryToObjectPool(ctx context.Context, req *gitalypb.LinkRepositoryToObjectPoolRequest) (*gitalypb.LinkRepositoryToObjectPoolResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	place, err := s.existingPool(ctx, req.GetObjectPool())
	if err != nil {
		return nil, err
	}
	if err := s.Pools.Link(repo, place); err != nil {
		return nil, err
	}
	return &gitalypb.LinkRepositoryToObjectPoolResponse{}, nil
}

// DisconnectGitAlternates ends a membership.
func (s ObjectPool) DisconnectGitAlternates(ctx context.Context, req *gitalypb.DisconnectGitAlternatesRequest) (*gitalypb.DisconnectGitAlternatesResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := s.Pools.Disconnect(ctx, repo); err != nil {
		return nil, err
	}
	return &gitalypb.DisconnectGitAlternatesResponse{}, nil
}

// FetchIntoObjectPool brings a pool up to date with a member.
func (s ObjectPool) FetchIntoObjectPool(ctx context.Context, req *gitalypb.FetchIntoObjectPoolRequest) (*gitalypb.FetchIntoObjectPoolResponse, error) {
	switch {
	case req.GetOrigin() == nil:
		return nil, invalid("origin is empty")
	case req.GetObjectPool() == nil:
		return nil, invalid("object pool is empty")
	case req.GetOrigin().GetStorageName() != req.GetObjectPool().GetRepository().GetStorageName():
		return nil, invalid("origin has different storage than object pool")
	}
	place, err := s.existingPool(ctx, req.GetObjectPool())
	if err != nil {
		return nil, err
	}
	origin, err := s.Locator.Find(req.GetOrigin())
	if err != nil {
		return nil, err
	}
	if err := s.Pools.Update(ctx, place, origin); err != nil {
		return nil, err
	}
	return &gitalypb.FetchIntoObjectPoolResponse{}, nil
}

// GetObjectPool tells which pool a repository borrows from.
func (s ObjectPool) GetObjectPool(ctx context.Context, req *gitalypb.GetObjectPoolRequest) (*gitalypb.GetObjectPoolResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	place, err := s.Pools.Of(ctx, repo)
	if err != nil || place == "" {
		return &gitalypb.GetObjectPoolResponse{}, err
	}
	return &gitalypb.GetObjectPoolResponse{ObjectPool: &gitalypb.ObjectPool{
		Repository: &gitalypb.Repository{StorageName: repo.Storage.Name, RelativePath: place},
	}}, nil
}
