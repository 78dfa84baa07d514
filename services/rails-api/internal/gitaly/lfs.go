package gitaly

import (
	"context"
	"errors"
	"io"
	"slices"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
)

// quarantined returns the message that names a repository together with the
// objects of a push.
func quarantined(p project.Project, q Quarantine) *gitalypb.Repository {
	repo := Repository(p)
	repo.GitObjectDirectory, repo.GitAlternateObjectDirectories = q.ObjectDirectory, q.Alternates
	return repo
}

// maxRevisions is how many revisions one call names, so that its message stays small.
const maxRevisions = 1000

// notYetThere makes walks leave out what the references reach before a push.
func notYetThere(revisions []string) []string {
	return append(slices.Clone(revisions), "--not", "--all")
}

// LFSPointers calls each with the ids of the files in LFS that new objects of a
// push point at, some at a time. news are the ids that references are to have. With
// a quarantine every object in it is looked at, and no history is walked.
func (c *Client) LFSPointers(ctx context.Context, p project.Project, q Quarantine, news []string, each func(oids []string) error) error {
	service, err := c.BlobService(p)
	if err != nil {
		return err
	}
	if q.ObjectDirectory != "" {
		repo := quarantined(p, Quarantine{ObjectDirectory: q.ObjectDirectory}) // and nothing of the repository itself
		return read(ctx, "list LFS pointers", func(ctx context.Context) (stream[*gitalypb.ListAllLFSPointersResponse], error) {
			return service.ListAllLFSPointers(ctx, &gitalypb.ListAllLFSPointersRequest{Repository: repo})
		}, func(part *gitalypb.ListAllLFSPointersResponse) error { return each(fileIDs(part.GetLfsPointers())) })
	}
	for revisions := range slices.Chunk(news, maxRevisions) {
		err := read(ctx, "list LFS pointers", func(ctx context.Context) (stream[*gitalypb.ListLFSPointersResponse], error) {
			return service.ListLFSPointers(ctx, &gitalypb.ListLFSPointersRequest{Repository: Repository(p), Revisions: notYetThere(revisions)})
		}, func(part *gitalypb.ListLFSPointersResponse) error { return each(fileIDs(part.GetLfsPointers())) })
		if err != nil {
			return err
		}
	}
	return nil
}

func fileIDs(pointers []*gitalypb.LFSPointer) []string {
	oids := make([]string, len(pointers))
	for i, pointer := range pointers {
		oids[i] = string(pointer.GetFileOid())
	}
	return oids
}

// ChangedPaths calls each with the paths that the new commits of a push change, some
// at a time; of merges only what differs from all parents. news are the ids that
// references are to have.
func (c *Client) ChangedPaths(ctx context.Context, p project.Project, q Quarantine, news []string, each func(paths []string) error) error {
	commits, err := c.CommitService(p)
	if err != nil {
		return err
	}
	repo := quarantined(p, q)
	for revisions := range slices.Chunk(news, maxRevisions) {
		err := read(ctx, "list new commits", func(ctx context.Context) (stream[*gitalypb.ListCommitsResponse], error) {
			return commits.ListCommits(ctx, &gitalypb.ListCommitsRequest{Repository: repo, Revisions: notYetThere(revisions)})
		}, func(part *gitalypb.ListCommitsResponse) error {
			return c.changedPaths(ctx, p, repo, part.GetCommits(), each)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) changedPaths(
	ctx context.Context, p project.Project, repo *gitalypb.Repository, commits []*gitalypb.GitCommit, each func(paths []string) error,
) error {
	service, err := c.DiffService(p)
	if err != nil || len(commits) == 0 {
		return err
	}
	in := &gitalypb.FindChangedPathsRequest{
		Repository: repo, MergeCommitDiffMode: gitalypb.FindChangedPathsRequest_MERGE_COMMIT_DIFF_MODE_ALL_PARENTS,
	}
	for _, commit := range commits {
		in.Requests = append(in.Requests, &gitalypb.FindChangedPathsRequest_Request{Type: &gitalypb.FindChangedPathsRequest_Request_CommitRequest_{
			CommitRequest: &gitalypb.FindChangedPathsRequest_Request_CommitRequest{CommitRevision: commit.GetId()},
		}})
	}
	return read(ctx, "find changed paths", func(ctx context.Context) (stream[*gitalypb.FindChangedPathsResponse], error) {
		return service.FindChangedPaths(ctx, in)
	}, func(part *gitalypb.FindChangedPathsResponse) error {
		paths := make([]string, len(part.GetPaths()))
		for i, path := range part.GetPaths() {
			paths[i] = string(path.GetPath())
		}
		return each(paths)
	})
}

// stream is the receiving side of a call.
type stream[M any] interface{ Recv() (M, error) }

// read hands every message of a streaming call to each. The server's error is
// translated; that of each is returned as it is.
func read[M any](ctx context.Context, what string, open func(context.Context) (stream[M], error), each func(M) error) error {
	ctx, cancel := context.WithTimeout(ctx, medium)
	defer cancel() // ends the stream when each does
	s, err := open(ctx)
	if err != nil {
		return translate(what, err)
	}
	for {
		part, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return translate(what, err)
		}
		if err := each(part); err != nil {
			return err
		}
	}
}
