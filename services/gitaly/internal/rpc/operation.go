package rpc

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
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

// refOID returns the id a reference points at, "" if there is none.
func (d *Deps) refOID(ctx context.Context, repo *gitcmd.Repo, full string) (string, error) {
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

// asRefused finds a hook's refusal.
func asRefused(err error) (*operation.Refused, bool) {
	var r *operation.Refused
	ok := errors.As(err, &r)
	return r, ok
}

// changed has the words for a reference that changed meanwhile.
func changed(err error, full string) error {
	if errs.KindOf(err) == errs.Conflict {
		return errs.Wrap(errs.FailedPrecondition, changedText(full), err)
	}
	return err
}

// changedText is what people are told about a reference that changed meanwhile.
func changedText(full string) string {
	return "Could not update " + full + ". Please refresh and try again."
}

// shortBranch checks the name of a branch that shall be written.
func shortBranch(name []byte) (full string, err error) {
	if !ref.ValidShort(string(name)) {
		return "", invalid("invalid branch name")
	}
	return ref.Branches + string(name), nil
}

// branchRevision is the reference that a request means by a branch: most give a short
// name, some a full one or an id.
func branchRevision(name []byte) string {
	if strings.HasPrefix(string(name), "refs/") || ref.ValidOID(string(name)) {
		return string(name)
	}
	return ref.Branches + string(name)
}

// requestBy collects who wants something of a repository.
func requestBy(ctx context.Context, msg *gitalypb.Repository, repo *storage.Repo, user *gitalypb.User) operation.Request {
	return operation.Request{
		Message: msg, Repo: repo, User: user, RemoteIP: incoming(ctx, "remote_ip"),
		ClientContext: []byte(incoming(ctx, "gitaly-client-context-bin")),
	}
}

// begin starts an operation; done must be called.
func (d *Deps) begin(ctx context.Context, msg *gitalypb.Repository, repo *storage.Repo, user *gitalypb.User) (_ *operation.Work, done func(), err error) {
	w, err := d.Operations.Begin(ctx, requestBy(ctx, msg, repo, user))
	if err != nil {
		return nil, nil, err
	}
	return w, func() {
		if err := w.Close(); err != nil {
			d.Log.ErrorContext(ctx, "operation could not be cleaned up", slog.Any("error", err))
		}
	}, nil
}

// other finds a second repository of a request: nil if it names none, or the same
// one again.
func (d *Deps) other(ctx context.Context, msg, same *gitalypb.Repository) (remote.Repository, error) {
	if msg == nil || msg.GetStorageName() == same.GetStorageName() && msg.GetRelativePath() == same.GetRelativePath() {
		return nil, nil
	}
	return d.Directory.Find(msg, incoming(ctx, serversKey))
}

// expected checks an id that a reference must have; zero is one that must not exist.
func expected(w *operation.Work, oid string, zero bool) (string, error) {
	if !ref.ValidOID(oid) {
		return "", errs.Newf(errs.Invalid, "invalid expected old object ID: %q", oid)
	}
	if zero && oid == ref.ZeroOID(oid) {
		return oid, nil
	}
	_, err := w.Objects.Info(oid)
	if errs.KindOf(err) == errs.NotFound {
		return "", invalid("cannot resolve expected old object ID: reference not found")
	}
	return oid, err
}

// tip returns the id that a branch must have: the one that the request expects, else
// the one it has. No such branch is errs.NotFound.
func tip(w *operation.Work, full, wanted string) (string, error) {
	if wanted != "" {
		return expected(w, wanted, false)
	}
	oid, err := w.Resolve(full)
	if errs.KindOf(err) == errs.NotFound {
		return "", errs.New(errs.NotFound, "reference not found")
	}
	return oid, err
}

// target is tip for a reference that need not exist: the id is all zero then.
func target(w *operation.Work, full, wanted, like string) (oid string, err error) {
	if wanted != "" {
		return expected(w, wanted, true)
	}
	info, err := w.Objects.Info(full)
	if errs.KindOf(err) == errs.NotFound {
		return ref.ZeroOID(like), nil
	}
	return info.OID, err
}

// updated says that a branch moved that was there.
func updated(oid string) *gitalypb.OperationBranchUpdate {
	return &gitalypb.OperationBranchUpdate{CommitId: oid}
}

// The details that several RPCs have.

func customHook(r *operation.Refused) *gitalypb.CustomHookError {
	kind := gitalypb.CustomHookError_HOOK_TYPE_PRERECEIVE
	if r.Hook == "update" {
		kind = gitalypb.CustomHookError_HOOK_TYPE_UPDATE
	}
	return &gitalypb.CustomHookError{Stdout: r.Stdout, Stderr: r.Stderr, HookType: kind}
}

func accessCheck(r *operation.Refused, user *gitalypb.User, c ref.Change) *gitalypb.AccessCheckError {
	return &gitalypb.AccessCheckError{
		ErrorMessage: strings.TrimPrefix(r.Error(), "GitLab: "), Protocol: "web", UserId: user.GetGlId(),
		Changes: []byte(c.Old + " " + c.New + " " + c.Name + "\n"),
	}
}

func referenceUpdate(c ref.Change) *gitalypb.ReferenceUpdateError {
	return &gitalypb.ReferenceUpdateError{ReferenceName: []byte(c.Name), OldOid: c.Old, NewOid: c.New}
}

// maxNames is how much of the names in conflict is told, in bytes: details travel in
// the trailer of the response, and some clients take no more than 8 KiB of that.
const maxNames = 4 << 10

func mergeConflict(c *operation.Conflict, sides ...string) *gitalypb.MergeConflictError {
	detail := &gitalypb.MergeConflictError{ConflictingCommitIds: sides}
	size := 0
	for _, name := range c.Files() {
		if size += len(name); size > maxNames {
			break
		}
		detail.ConflictingFiles = append(detail.ConflictingFiles, name)
	}
	return detail
}

// asConflict finds sides that do not fit together.
func asConflict(err error) (*operation.Conflict, bool) {
	var c *operation.Conflict
	ok := errors.As(err, &c)
	return c, ok
}
