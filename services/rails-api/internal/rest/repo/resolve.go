package repo

import (
	"context"
	"regexp"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/refname"
)

var (
	fullID  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	shortID = regexp.MustCompile(`^[0-9a-f]{7,63}$`)
)

// Resolve returns the commit that a branch, a tag, a commit id or the beginning of one names, the default branch for "" and HEAD. A
// branch comes before a tag of the same name. What names nothing is errs.NotFound.
func (r *Repo) Resolve(ctx context.Context, ref string) (*gitalypb.GitCommit, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for _, revision := range r.candidates(ref) {
		c, err := r.findCommit(ctx, revision)
		if err == nil || errs.KindOf(err) != errs.NotFound {
			return c, err
		}
	}
	return nil, errs.New(errs.NotFound, "no such revision")
}

// candidates lists what a name may stand for, as revisions that mean one thing only.
func (r *Repo) candidates(ref string) []string {
	lower := strings.ToLower(ref)
	switch {
	case ref == "" || ref == "HEAD":
		return []string{refname.Heads + r.defaultBranch}
	case fullID.MatchString(lower):
		return []string{lower}
	case strings.HasPrefix(ref, refname.Heads) || strings.HasPrefix(ref, refname.Tags):
		return validRefs(ref)
	}
	found := validRefs(refname.Heads+ref, refname.Tags+ref)
	if shortID.MatchString(lower) {
		found = append(found, lower)
	}
	return found
}

func validRefs(names ...string) []string {
	var valid []string
	for _, name := range names {
		if refname.Check(name) == nil {
			valid = append(valid, name)
		}
	}
	return valid
}

func (r *Repo) findCommit(ctx context.Context, revision string) (*gitalypb.GitCommit, error) {
	res, err := r.commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: r.repository, Revision: []byte(revision)})
	if err != nil {
		return nil, remote(err)
	}
	if res.GetCommit() == nil {
		return nil, errs.New(errs.NotFound, "no such commit")
	}
	return res.GetCommit(), nil
}
