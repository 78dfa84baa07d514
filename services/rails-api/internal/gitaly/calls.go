package gitaly

import (
	"context"
	"errors"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/refname"
)

// Quarantine names the directories that hold the objects of a push that is not
// accepted yet, relative to the repository. Calls made while checking the push
// must carry it, or the new objects are invisible (wire/internal-api.md §3.1).
type Quarantine struct {
	ObjectDirectory string
	Alternates      []string
}

// Create makes the repository of a project; errs.Exists if there is one.
func (c *Client) Create(ctx context.Context, p project.Project) error {
	service, err := c.RepositoryService(p)
	if err != nil {
		return err
	}
	_, err = call(ctx, "create repository", fast, func(ctx context.Context) (*gitalypb.CreateRepositoryResponse, error) {
		return service.CreateRepository(ctx, &gitalypb.CreateRepositoryRequest{Repository: Repository(p), DefaultBranch: []byte(p.DefaultBranch)})
	})
	return err
}

// Remove removes a repository. One that does not exist is fine.
func (c *Client) Remove(ctx context.Context, storage, path string) error {
	service, err := c.RepositoryService(project.Project{Storage: storage})
	if err != nil {
		return err
	}
	_, err = call(ctx, "remove repository", medium, func(ctx context.Context) (*gitalypb.RemoveRepositoryResponse, error) {
		return service.RemoveRepository(ctx, &gitalypb.RemoveRepositoryRequest{
			Repository: &gitalypb.Repository{StorageName: storage, RelativePath: path},
		})
	})
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	return err
}

// IsAncestor reports whether one commit is in the history of another.
func (c *Client) IsAncestor(ctx context.Context, p project.Project, q Quarantine, ancestor, child string) (bool, error) {
	service, err := c.CommitService(p)
	if err != nil {
		return false, err
	}
	repo := quarantined(p, q)
	answer, err := call(ctx, "commit is ancestor", medium, func(ctx context.Context) (*gitalypb.CommitIsAncestorResponse, error) {
		return service.CommitIsAncestor(ctx, &gitalypb.CommitIsAncestorRequest{Repository: repo, AncestorId: ancestor, ChildId: child})
	})
	return answer.GetValue(), err
}

// HasBranches reports whether the repository has any branch.
func (c *Client) HasBranches(ctx context.Context, p project.Project) (bool, error) {
	service, err := c.RepositoryService(p)
	if err != nil {
		return false, err
	}
	answer, err := call(ctx, "has local branches", fast, func(ctx context.Context) (*gitalypb.HasLocalBranchesResponse, error) {
		return service.HasLocalBranches(ctx, &gitalypb.HasLocalBranchesRequest{Repository: Repository(p)})
	})
	return answer.GetValue(), err
}

// DefaultBranch returns the branch that the repository's HEAD points at.
func (c *Client) DefaultBranch(ctx context.Context, p project.Project) (string, error) {
	service, err := c.RefService(p)
	if err != nil {
		return "", err
	}
	answer, err := call(ctx, "find default branch", fast, func(ctx context.Context) (*gitalypb.FindDefaultBranchNameResponse, error) {
		return service.FindDefaultBranchName(ctx, &gitalypb.FindDefaultBranchNameRequest{Repository: Repository(p), HeadOnly: true})
	})
	return strings.TrimPrefix(string(answer.GetName()), refname.Heads), err
}

// SetDefaultBranch points the repository's HEAD at a branch.
func (c *Client) SetDefaultBranch(ctx context.Context, p project.Project, branch string) error {
	service, err := c.RepositoryService(p)
	if err != nil {
		return err
	}
	_, err = call(ctx, "write HEAD", fast, func(ctx context.Context) (*gitalypb.WriteRefResponse, error) {
		return service.WriteRef(ctx, &gitalypb.WriteRefRequest{
			Repository: Repository(p), Ref: []byte("HEAD"), Revision: []byte(refname.Heads + branch),
		})
	})
	return err
}

// Size returns the size of a repository in bytes.
func (c *Client) Size(ctx context.Context, p project.Project) (int64, error) {
	service, err := c.RepositoryService(p)
	if err != nil {
		return 0, err
	}
	const kilobyte = 1024 // the unit of the answer
	answer, err := call(ctx, "repository size", medium, func(ctx context.Context) (*gitalypb.RepositorySizeResponse, error) {
		return service.RepositorySize(ctx, &gitalypb.RepositorySizeRequest{Repository: Repository(p)})
	})
	return answer.GetSize() * kilobyte, err
}

// CountCommits returns the length of a branch's history, 0 for a branch that does not exist.
func (c *Client) CountCommits(ctx context.Context, p project.Project, branch string) (int64, error) {
	service, err := c.CommitService(p)
	if err != nil {
		return 0, err
	}
	answer, err := call(ctx, "count commits", medium, func(ctx context.Context) (*gitalypb.CountCommitsResponse, error) {
		return service.CountCommits(ctx, &gitalypb.CountCommitsRequest{Repository: Repository(p), Revision: []byte(refname.Heads + branch)})
	})
	return int64(answer.GetCount()), err
}

// Branches returns the names of the branches, without prefix, at most limit of them.
func (c *Client) Branches(ctx context.Context, p project.Project, limit int) ([]string, error) {
	service, err := c.RefService(p)
	if err != nil {
		return nil, err
	}
	return call(ctx, "list branches", medium, func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the stream when the limit does
		stream, err := service.ListRefs(ctx, &gitalypb.ListRefsRequest{Repository: Repository(p), Patterns: [][]byte{[]byte(refname.Heads)}})
		if err != nil {
			return nil, err
		}
		return readBranches(stream, limit)
	})
}

func readBranches(stream interface {
	Recv() (*gitalypb.ListRefsResponse, error)
}, limit int,
) ([]string, error) {
	names := []string{}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		for _, ref := range part.GetReferences() {
			if len(names) == limit {
				return names, nil
			}
			names = append(names, strings.TrimPrefix(string(ref.GetName()), refname.Heads))
		}
	}
}

// References tells each the branches and tags of a project, by full name in the
// order of their bytes, and where they point. An error of each ends it.
func (c *Client) References(ctx context.Context, p project.Project, each func(name, oid string) error) error {
	service, err := c.RefService(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, listing)
	defer cancel() // ends the stream when each does
	request := &gitalypb.ListRefsRequest{Repository: Repository(p), Patterns: [][]byte{[]byte(refname.Heads), []byte(refname.Tags)}}
	stream, err := service.ListRefs(ctx, request)
	for err == nil {
		var part *gitalypb.ListRefsResponse
		if part, err = stream.Recv(); err != nil {
			break
		}
		for _, ref := range part.GetReferences() {
			if err := each(string(ref.GetName()), ref.GetTarget()); err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return translate("list references", err)
}
