package gitaly

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/refname"
)

// copying copies a whole repository.
const copying = time.Hour

// Fork makes the repository of a project from that of another on the same storage,
// whole or not at all. branch is the only one to take; "" is all branches and tags.
// It is errs.Exists if there is one.
func (c *Client) Fork(ctx context.Context, p, source project.Project, branch string) error {
	service, err := c.RepositoryService(p)
	if err != nil {
		return err
	}
	request := &gitalypb.CreateForkRequest{Repository: Repository(p), SourceRepository: Repository(source)}
	if branch != "" {
		request.Revision = []byte(refname.Heads + branch)
	}
	_, err = call(ctx, "create fork", copying, func(ctx context.Context) (*gitalypb.CreateForkResponse, error) {
		return service.CreateFork(ctx, request)
	})
	return err
}

// CreatePool makes a pool with what a repository has. One that is there is fine.
func (c *Client) CreatePool(ctx context.Context, pool project.Pool, origin project.Project) error {
	service, err := c.poolService(pool.Storage)
	if err != nil {
		return err
	}
	_, err = call(ctx, "create object pool", copying, func(ctx context.Context) (*gitalypb.CreateObjectPoolResponse, error) {
		return service.CreateObjectPool(ctx, &gitalypb.CreateObjectPoolRequest{ObjectPool: poolMessage(pool), Origin: Repository(origin)})
	})
	if status.Code(err) == codes.FailedPrecondition { // how the server says that there is one
		return nil
	}
	return err
}

// LinkPool lets a repository borrow from a pool. One that does already is fine.
func (c *Client) LinkPool(ctx context.Context, pool project.Pool, p project.Project) error {
	service, err := c.poolService(pool.Storage)
	if err != nil {
		return err
	}
	_, err = call(ctx, "link to object pool", fast, func(ctx context.Context) (*gitalypb.LinkRepositoryToObjectPoolResponse, error) {
		return service.LinkRepositoryToObjectPool(ctx, &gitalypb.LinkRepositoryToObjectPoolRequest{ObjectPool: poolMessage(pool), Repository: Repository(p)})
	})
	return err
}

// RemovePool removes a pool that nobody borrows from. One that does not exist is fine.
func (c *Client) RemovePool(ctx context.Context, pool project.Pool) error {
	service, err := c.poolService(pool.Storage)
	if err != nil {
		return err
	}
	_, err = call(ctx, "remove object pool", medium, func(ctx context.Context) (*gitalypb.DeleteObjectPoolResponse, error) {
		return service.DeleteObjectPool(ctx, &gitalypb.DeleteObjectPoolRequest{ObjectPool: poolMessage(pool)})
	})
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	return err
}

func (c *Client) poolService(storage string) (gitalypb.ObjectPoolServiceClient, error) {
	conn, err := c.Conn(storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewObjectPoolServiceClient(conn), nil
}

func poolMessage(pool project.Pool) *gitalypb.ObjectPool {
	return &gitalypb.ObjectPool{Repository: &gitalypb.Repository{StorageName: pool.Storage, RelativePath: pool.DiskPath}}
}
