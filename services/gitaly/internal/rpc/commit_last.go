package rpc

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// LastCommitForPath returns the newest commit that changed a path; none is an empty
// answer.
func (s Commit) LastCommitForPath(ctx context.Context, req *gitalypb.LastCommitForPathRequest) (*gitalypb.LastCommitForPathResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	clean, err := object.CleanPath(string(req.GetPath()))
	if err != nil {
		return nil, err
	}
	c, err := commit.Last(ctx, s.Git, &repo.Repo, string(req.GetRevision()), clean)
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return nil, err
	}
	return &gitalypb.LastCommitForPathResponse{Commit: c}, nil
}

// ListLastCommitsForTree streams the entries of a directory with the newest commits
// that changed them.
func (s Commit) ListLastCommitsForTree(req *gitalypb.ListLastCommitsForTreeRequest, stream gitalypb.CommitService_ListLastCommitsForTreeServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if err := ref.CheckRevision(req.GetRevision()); err != nil {
		return err
	}
	switch {
	case req.GetOffset() < 0:
		return invalid("offset negative")
	case req.GetLimit() < 0:
		return invalid("limit negative")
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	dir, names, err := lastNames(objects, req)
	_ = objects.Close()
	if err != nil || len(names) == 0 {
		return err
	}
	out := chunks[*gitalypb.ListLastCommitsForTreeResponse_CommitForTree]{send: func(c []*gitalypb.ListLastCommitsForTreeResponse_CommitForTree) error {
		return stream.Send(&gitalypb.ListLastCommitsForTreeResponse{Commits: c})
	}}
	err = commit.LastOfEach(ctx, s.Git, &repo.Repo, req.GetRevision(), dir, names, func(name string, c *gitalypb.GitCommit) error {
		return out.add(&gitalypb.ListLastCommitsForTreeResponse_CommitForTree{Commit: c, PathBytes: []byte(path.Join(dir, name))})
	})
	return out.end(err)
}

// lastNames finds what the path of a request means: what is in a directory if it ends
// in a slash, else the entry itself. What is not there has no names.
func lastNames(objects *object.Reader, req *gitalypb.ListLastCommitsForTreeRequest) (dir string, names []string, err error) {
	clean, err := object.CleanPath(string(req.GetPath()))
	if err != nil {
		return "", nil, err
	}
	root, err := objects.RootTree(req.GetRevision())
	if err != nil {
		return "", nil, err
	}
	entry, err := objects.Find(root, clean)
	if errs.KindOf(err) == errs.NotFound {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	entries := []object.Entry{entry}
	if clean == "" || strings.HasSuffix(string(req.GetPath()), "/") {
		if entry.Type() != "tree" {
			return "", nil, nil
		}
		dir = clean
		if entries, err = objects.Tree(entry.OID, ""); err != nil {
			return "", nil, err
		}
	} else if dir = path.Dir(clean); dir == "." {
		dir = ""
	}
	slices.SortStableFunc(entries, func(a, b object.Entry) int { return cmp.Compare(rank(a), rank(b)) })
	from := min(len(entries), int(req.GetOffset()))
	for _, e := range entries[from:min(len(entries), from+int(req.GetLimit()))] {
		names = append(names, path.Base(e.Path))
	}
	return dir, names, nil
}
