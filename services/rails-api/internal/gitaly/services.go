package gitaly

import (
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
)

// RefService returns a client for the references of a project.
func (c *Client) RefService(p project.Project) (gitalypb.RefServiceClient, error) {
	conn, err := c.Conn(p.Storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewRefServiceClient(conn), nil
}

// CommitService returns a client for the commits and trees of a project.
func (c *Client) CommitService(p project.Project) (gitalypb.CommitServiceClient, error) {
	conn, err := c.Conn(p.Storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewCommitServiceClient(conn), nil
}

// BlobService returns a client for the file contents of a project.
func (c *Client) BlobService(p project.Project) (gitalypb.BlobServiceClient, error) {
	conn, err := c.Conn(p.Storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewBlobServiceClient(conn), nil
}

// DiffService returns a client for differences in a project.
func (c *Client) DiffService(p project.Project) (gitalypb.DiffServiceClient, error) {
	conn, err := c.Conn(p.Storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewDiffServiceClient(conn), nil
}

// RepositoryService returns a client for the repository of a project as a whole.
func (c *Client) RepositoryService(p project.Project) (gitalypb.RepositoryServiceClient, error) {
	conn, err := c.Conn(p.Storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewRepositoryServiceClient(conn), nil
}

// OperationService returns a client for changes made on behalf of a user.
func (c *Client) OperationService(p project.Project) (gitalypb.OperationServiceClient, error) {
	conn, err := c.Conn(p.Storage)
	if err != nil {
		return nil, err
	}
	return gitalypb.NewOperationServiceClient(conn), nil
}
