package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
)

// HasLocalBranches says whether the repository has a branch.
func (s Repository) HasLocalBranches(ctx context.Context, req *gitalypb.HasLocalBranchesRequest) (*gitalypb.HasLocalBranchesResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	found := false
	err = ref.List(ctx, s.Git, &repo.Repo, ref.Query{Patterns: []string{ref.Branches}, Limit: 1}, func(ref.Ref) error {
		found = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &gitalypb.HasLocalBranchesResponse{Value: found}, nil
}

// WriteRef points a reference at a revision, without hooks and without asking
// anybody: callers have decided already. HEAD is pointed at a reference by name.
func (s Repository) WriteRef(ctx context.Context, req *gitalypb.WriteRefRequest) (*gitalypb.WriteRefResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := checkWriteRef(req); err != nil {
		return nil, err
	}
	name, revision, began := string(req.GetRef()), string(req.GetRevision()), s.Now()
	if name == "HEAD" {
		if !strings.HasPrefix(revision, ref.Branches) {
			return nil, invalid("HEAD must point at a branch")
		}
		if err := ref.SetHead(ctx, s.Git, &repo.Repo, revision); err != nil {
			return nil, err
		}
		return &gitalypb.WriteRefResponse{}, pack.SyncChanged(repo.Dir, began)
	}
	change, err := s.resolveChange(ctx, &repo.Repo, name, revision, string(req.GetOldRevision()))
	if err != nil {
		return nil, err
	}
	if err := ref.Update(ctx, s.Git, &repo.Repo, gitcmd.Spec{NoHooks: true}, change); err != nil {
		return nil, err
	}
	return &gitalypb.WriteRefResponse{}, pack.SyncChanged(repo.Dir, began)
}

// checkWriteRef checks the texts of the request; what they stand for comes later.
func checkWriteRef(req *gitalypb.WriteRefRequest) error {
	name := string(req.GetRef())
	for _, part := range []struct{ what, text string }{
		{"ref", name}, {"revision", string(req.GetRevision())}, {"OldRevision", string(req.GetOldRevision())},
	} {
		if part.what == "OldRevision" && part.text == "" {
			continue
		}
		if err := ref.CheckRevision(part.text); err != nil {
			return errs.Newf(errs.Invalid, "invalid %s: %s", part.what, errs.Message(err))
		}
	}
	switch {
	case name == "HEAD":
		return nil
	case !strings.HasPrefix(name, "refs/"):
		return invalid("ref has to be a full reference")
	case !ref.Valid(name):
		return invalid("invalid refname")
	}
	return nil
}

// resolveChange finds the object ids of what a reference shall be and must be. What is
// not there is NotFound with a detail.
func (s Repository) resolveChange(ctx context.Context, repo *gitcmd.Repo, name, revision, old string) (ref.Change, error) {
	change := ref.Change{Name: name, New: revision, Old: old}
	objects, err := object.Open(ctx, s.Git, repo)
	if err != nil {
		return change, err
	}
	defer func() { _ = objects.Close() }()
	for _, side := range []struct {
		what string
		oid  *string
	}{{"new", &change.New}, {"old", &change.Old}} {
		if *side.oid == "" || ref.ValidOID(*side.oid) && *side.oid == ref.ZeroOID(*side.oid) {
			continue
		}
		info, err := objects.Info(*side.oid)
		if errs.KindOf(err) == errs.NotFound {
			return change, detailed(codes.NotFound, "resolving "+side.what+" revision: reference not found",
				&gitalypb.ReferenceNotFoundError{ReferenceName: []byte(*side.oid)})
		}
		if err != nil {
			return change, err
		}
		*side.oid = info.OID
	}
	return change, nil
}
