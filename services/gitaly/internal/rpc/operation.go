package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// Operation is OperationService: changes for a user, with the hooks of a push.
type Operation struct {
	gitalypb.UnimplementedOperationServiceServer
	*Deps
}

// checkUser requires a user that the internal API can be asked about.
func checkUser(u *gitalypb.User) error {
	if u.GetGlId() == "" {
		return invalid("empty user")
	}
	return nil
}

// refHash resolves a reference by its full name, or a revision, to a commit; "" if
// there is none.
func (d *Deps) refHash(ctx context.Context, repo *gitcmd.Repo, revision string) (*gitalypb.GitCommit, error) {
	c, err := commit.Find(ctx, d.Git, repo, revision)
	if errs.KindOf(err) == errs.NotFound {
		return nil, nil
	}
	return c, err
}

// branchOID returns the id a branch points at, "" if there is no such branch.
func (d *Deps) branchOID(ctx context.Context, repo *gitcmd.Repo, full string) (string, error) {
	objects, err := object.Open(ctx, d.Git, repo)
	if err != nil {
		return "", err
	}
	defer func() { _ = objects.Close() }()
	info, err := objects.Info(full)
	if errs.KindOf(err) == errs.NotFound {
		return "", nil
	}
	return info.OID, err
}

// customHook is the detail about a custom hook's refusal.
func customHook(r *operation.Refused) *gitalypb.CustomHookError {
	kind := gitalypb.CustomHookError_HOOK_TYPE_PRERECEIVE
	if r.Hook == "update" {
		kind = gitalypb.CustomHookError_HOOK_TYPE_UPDATE
	}
	return &gitalypb.CustomHookError{Stdout: r.Stdout, Stderr: r.Stderr, HookType: kind}
}

// asRefused finds a hook's refusal.
func asRefused(err error) (*operation.Refused, bool) {
	var r *operation.Refused
	ok := errors.As(err, &r)
	return r, ok
}

// conflict has the words for a reference that changed meanwhile.
func conflict(err error, full string) error {
	if errs.KindOf(err) == errs.Conflict {
		return errs.Wrap(errs.FailedPrecondition, "Could not update "+full+". Please refresh and try again.", err)
	}
	return err
}

// shortBranch checks the name of a branch that shall be made.
func shortBranch(name []byte) (full string, err error) {
	if len(name) == 0 {
		return "", invalid("empty branch name")
	}
	if !ref.ValidShort(string(name)) {
		return "", invalid("invalid branch name")
	}
	return ref.Branches + string(name), nil
}

// permissionDenied is a refusal with its detail.
func permissionDenied(text string, detail *gitalypb.UserDeleteBranchError) error {
	return detailed(codes.PermissionDenied, text, detail)
}
