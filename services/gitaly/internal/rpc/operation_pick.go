package rpc

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// pickRequest is what UserCherryPick and UserRevert have in common.
type pickRequest interface {
	GetRepository() *gitalypb.Repository
	GetUser() *gitalypb.User
	GetCommit() *gitalypb.GitCommit
	GetBranchName() []byte
	GetMessage() []byte
	GetStartBranchName() []byte
	GetStartRepository() *gitalypb.Repository
	GetExpectedOldOid() string
	GetDryRun() bool
}

// picking is a commit to apply or to take back, and where.
type picking struct {
	work   *operation.Work
	change ref.Change // New is not known yet
	start  string     // the commit to put it on
	onto   commit.Raw // the same, read
	picked commit.Raw
	fresh  bool // the repository had no branch
}

func checkPick(req pickRequest) (full string, err error) {
	switch {
	case req.GetUser() == nil:
		return "", invalid("empty User")
	case req.GetCommit() == nil:
		return "", invalid("empty Commit")
	case len(req.GetBranchName()) == 0:
		return "", invalid("empty BranchName")
	case len(req.GetMessage()) == 0:
		return "", invalid("empty Message")
	}
	return shortBranch(req.GetBranchName())
}

// beginPick checks a request and starts the operation; done must be called. lookup
// begins the text for a commit that is not there.
func (s Operation) beginPick(ctx context.Context, req pickRequest, lookup string) (p *picking, done func(), err error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, nil, err
	}
	full, err := checkPick(req)
	if err != nil {
		return nil, nil, err
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, nil, err
	}
	found, err := s.pick(ctx, w, full, req, lookup)
	if err != nil {
		done()
		return nil, nil, err
	}
	return &found, done, nil
}

// pick finds what a request names.
func (s Operation) pick(ctx context.Context, w *operation.Work, full string, req pickRequest, lookup string) (p picking, err error) {
	p = picking{work: w, change: ref.Change{Name: full}}
	other, err := s.other(ctx, req.GetStartRepository(), req.GetRepository())
	if err != nil {
		return p, err
	}
	from := req.GetStartBranchName()
	if len(from) == 0 {
		from = req.GetBranchName()
	}
	p.start, err = w.ResolveIn(ctx, other, branchRevision(from))
	if errs.KindOf(err) == errs.NotFound {
		return p, invalid("resolve start ref: reference not found")
	}
	if err != nil {
		return p, err
	}
	oid, err := w.Resolve(req.GetCommit().GetId())
	if errs.KindOf(err) == errs.NotFound {
		return p, errs.Newf(errs.NotFound, "%s: commit not found: %q", lookup, req.GetCommit().GetId())
	}
	if err != nil {
		return p, err
	}
	if p.picked, err = w.Raw(oid); err != nil {
		return p, err
	}
	if p.onto, err = w.Raw(p.start); err != nil {
		return p, err
	}
	if p.change.Old, err = target(w, full, req.GetExpectedOldOid(), p.start); err != nil {
		return p, err
	}
	had, err := w.HasBranches(ctx)
	p.fresh = !had
	return p, err
}

// created reports whether the branch is made.
func (p *picking) created() bool { return p.change.Old == ref.ZeroOID(p.change.Old) }

// diverged reports whether the branch is not in the history of the new commit.
func (p *picking) diverged(ctx context.Context) (bool, error) {
	if p.created() {
		return false, nil
	}
	yes, err := p.work.Contains(ctx, p.change.New, p.change.Old)
	return !yes, err
}

func (p *picking) update() *gitalypb.OperationBranchUpdate {
	return &gitalypb.OperationBranchUpdate{CommitId: p.change.New, BranchCreated: p.created(), RepoCreated: p.fresh}
}
