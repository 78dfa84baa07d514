package rpc

import (
	"cmp"
	"context"
	"slices"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/language"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// CommitLanguages returns the languages of a revision with their shares, the largest
// first. A repository without a branch has none.
func (s Commit) CommitLanguages(ctx context.Context, req *gitalypb.CommitLanguagesRequest) (*gitalypb.CommitLanguagesResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	revision := string(req.GetRevision())
	if revision == "" {
		if revision, err = ref.Default(ctx, s.Git, &repo.Repo); err != nil || revision == "" {
			return &gitalypb.CommitLanguagesResponse{}, err
		}
	}
	id, err := s.commitID(ctx, &repo.Repo, revision)
	if err != nil {
		return nil, err
	}
	sums, err := language.Count(ctx, language.Options{Git: s.Git, Linguist: s.Linguist}, repo, id)
	if err != nil {
		return nil, err
	}
	return languages(sums), nil
}

// commitID finds the commit of a revision. A short name means the branch before any
// other reference.
func (s Commit) commitID(ctx context.Context, repo *gitcmd.Repo, revision string) (string, error) {
	if err := ref.CheckRevision(revision); err != nil {
		return "", err
	}
	objects, err := object.Open(ctx, s.Git, repo)
	if err != nil {
		return "", err
	}
	defer func() { _ = objects.Close() }()
	info, err := objects.Info(ref.Branches + revision + "^{commit}")
	if errs.KindOf(err) == errs.NotFound {
		info, err = objects.Info(revision + "^{commit}")
	}
	if errs.KindOf(err) == errs.NotFound {
		return "", errs.Wrap(errs.NotFound, "revision not found", err)
	}
	return info.OID, err
}

func languages(sums language.Sums) *gitalypb.CommitLanguagesResponse {
	var total uint64
	for _, l := range sums {
		total += l.Bytes
	}
	answer := &gitalypb.CommitLanguagesResponse{}
	for _, l := range sums {
		answer.Languages = append(answer.Languages, &gitalypb.CommitLanguagesResponse_Language{
			Name: l.Name, Share: float32(100*l.Bytes) / float32(total), Color: l.Color, Bytes: l.Bytes, LanguageId: l.ID,
		})
	}
	slices.SortFunc(answer.Languages, func(a, b *gitalypb.CommitLanguagesResponse_Language) int {
		return cmp.Or(cmp.Compare(b.GetBytes(), a.GetBytes()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return answer
}
