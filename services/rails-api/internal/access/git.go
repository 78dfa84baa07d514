package access

import (
	"context"
	"errors"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/user"
)

// The Git commands.
const (
	UploadPack    = "git-upload-pack"
	ReceivePack   = "git-receive-pack"
	UploadArchive = "git-upload-archive"
)

// checkTime bounds one decision (wire/internal-api.md §5.3).
const checkTime = 50 * time.Second

// GitRequest asks whether a Git command may run.
type GitRequest struct {
	Who       Who
	Abilities Abilities
	Action    string // one of the Git commands
	ProjectID int64  // takes precedence over Path
	Path      string // full path, without `.git`
	Protocol  string // ssh, http or web
	// Within is the full path of a group that bounds the credential; "" is no bound.
	Within string
	// Any says that the references to change are not known yet; they come with a
	// second question. Only then a push may make a project.
	Any bool
	// Told says that the client has been told the references, and would not see why it is refused here, as in the second request of a push over HTTP: that the
	// repository is being moved, which can begin at any time, is then for the second question.
	Told bool
	// Existing: the project is there, or is not found; none is made.
	Existing   bool
	Changes    []Change
	Quarantine gitaly.Quarantine
	// RelativePath is where the storage server writes, "" when that is not known yet.
	RelativePath string
}

// Who names the actor: the first that is set counts, none is nobody.
type Who struct {
	KeyID, DeployTokenID, UserID int64
	Username                     string
}

// Abilities are what the credential admits, whoever its owner is.
type Abilities struct{ Download, Push bool }

// All are the abilities of SSH keys, passwords and internal calls.
func All() Abilities { return Abilities{Download: true, Push: true} }

// GitResult is a positive decision and what it was about.
type GitResult struct {
	User    *user.User // nil: nobody, or a deploy key or token
	KeyID   int64      // of the user; 0: no SSH key
	KeyEnds *time.Time // when the SSH key expires
	Deploy  *Deploy    // nil: no deploy key or token
	// OTPVerified is when the second factor was last proven with the key; nil is never.
	OTPVerified *time.Time
	Project     project.Project
	Moved       bool // the path was a former one, or spelled differently
	Created     bool // the project was made for this push
}

// Deploy is an actor that is no user: an SSH key or a token that some projects admit.
type Deploy struct {
	ID       int64
	Token    bool   // a deploy token; else a deploy key
	AdderID  int64  // who added the key; 0: the account is gone, or a token
	Username string // of who added the key; of a token, its own
	Attached bool   // the project admits it
	CanPush  bool   // it may write there; a token never may
}

// GLID returns the name of the actor for the hooks of a push; of a deploy key it
// is who added it.
func (r GitResult) GLID() string {
	switch {
	case r.User != nil:
		return "user-" + itoa(r.User.ID)
	case r.Deploy != nil && r.Deploy.Token:
		return "deploy-token-" + itoa(r.Deploy.ID)
	case r.Deploy != nil && r.Deploy.AdderID != 0:
		return "user-" + itoa(r.Deploy.AdderID)
	}
	return ""
}

// GLUsername returns the user name that goes with GLID.
func (r GitResult) GLUsername() string {
	switch {
	case r.User != nil:
		return r.User.Username
	case r.Deploy != nil:
		return r.Deploy.Username
	}
	return ""
}

// Git decides about a Git command, in the order of wire/internal-api.md §5. Of the
// refusals errs.Invalid means that a project could not be made and errs.Timeout
// that the check took too long. The result is filled in as far as it got, for logs.
func (c *Checker) Git(ctx context.Context, in GitRequest) (GitResult, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	f, err := c.load(ctx, in)
	if err == nil {
		err = c.git(ctx, in, &f)
	}
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errs.Wrap(errs.Timeout, timedOut, err)
	}
	return f.result, err
}

// facts is what one decision looks at.
type facts struct {
	result GitResult
	found  bool // the project exists
	level  member.Level
	rules  []protection.Rule
	locked bool // somebody else has a lock on a file
}

func (c *Checker) git(ctx context.Context, in GitRequest, f *facts) error {
	if err := c.mayAct(in, f.result); err != nil {
		return err
	}
	if in.ProjectID == 0 && !strings.Contains(in.Path, "/") {
		return errs.New(errs.NotFound, namespaceNotFound)
	}
	if in.ProjectID == 0 && !inside(in.Path, in.Within) {
		return errs.New(errs.Denied, otherNamespace)
	}
	if !f.found {
		if err := c.create(ctx, in, f); err != nil {
			return err
		}
	}
	if err := c.loadByPath(ctx, in, f); err != nil {
		return err
	}
	p := f.result.Project
	d := f.result.Deploy
	attached := d != nil && d.Attached
	if err := decide(f.result.User, f.level, ReadProject, p); err != nil && !attached {
		return err
	}
	if d != nil && d.Token && !attached { // good for its own projects alone, whatever everybody may read
		return errs.New(errs.NotFound, projectNotFound)
	}
	if !inside(p.FullPath, in.Within) { // a former path led out; only who sees the project learns that
		return errs.New(errs.Denied, otherNamespace)
	}
	if in.Action != ReceivePack {
		if !attached && decide(f.result.User, f.level, DownloadCode, p) != nil {
			return errs.New(errs.Denied, noDownload)
		}
		return nil
	}
	return c.mayPushTo(ctx, in, f)
}

// inside reports whether a path lies below a group.
func inside(path, group string) bool {
	return group == "" || strings.HasPrefix(strings.ToLower(path), strings.ToLower(group)+"/")
}

// mayAct judges the actor and the command alone (rows E2 and 2 to 6).
func (c *Checker) mayAct(in GitRequest, r GitResult) error {
	switch {
	case in.Any && r.User != nil && c.needsOTP(*r.User, r):
		return errs.New(errs.Denied, otpRequired+c.Site.SSHCommand("2fa_verify"))
	case r.KeyEnds != nil && !r.KeyEnds.After(c.Now()):
		return errs.New(errs.Denied, keyExpired)
	case r.User != nil && !r.User.Active():
		return errs.New(errs.Denied, stateText(r.User.State, c.Site.URL("users/sign_in")))
	case in.Action != UploadPack && in.Action != UploadArchive && in.Action != ReceivePack:
		return errs.New(errs.Denied, actionUnknown)
	case in.Action == ReceivePack && !in.Abilities.Push:
		return errs.New(errs.Denied, mayNotUpload)
	case in.Action != ReceivePack && !in.Abilities.Download:
		return errs.New(errs.Denied, mayNotDownload)
	}
	return nil
}

// needsOTP: an account with a second factor proves it for its SSH key from time to
// time, where the installation asks for that.
func (c *Checker) needsOTP(u user.User, r GitResult) bool {
	if c.OTPSession == 0 || r.KeyID == 0 || !u.TwoFactor {
		return false
	}
	return r.OTPVerified == nil || c.Now().Sub(*r.OTPVerified) >= c.OTPSession
}

// mayPushTo judges a push to a project the actor sees (rows 13b to 13g).
func (c *Checker) mayPushTo(ctx context.Context, in GitRequest, f *facts) error {
	r := f.result
	if err := writable(r.Project); err != nil && !(in.Told && r.Project.RepositoryReadOnly) {
		return err
	}
	if r.Project.Left(in.RelativePath) { // moved since the push began
		return ReadOnly()
	}
	switch {
	case r.Deploy != nil && !r.Deploy.Token && !r.Deploy.CanPush:
		return errs.New(errs.Denied, readOnlyKey)
	case r.User == nil && (r.Deploy == nil || r.Deploy.Token):
		return errs.New(errs.Denied, noUpload)
	case in.Any && r.Deploy == nil && decide(r.User, f.level, PushCode, r.Project) != nil:
		return errs.New(errs.Denied, noPush)
	case in.Any, len(in.Changes) == 0:
		return nil
	}
	err := c.checkChanges(ctx, push{
		user: r.User, deploy: r.Deploy != nil, level: f.level, project: r.Project, rules: f.rules, protocol: in.Protocol,
		quarantine: in.Quarantine, members: c.Site.Members(r.Project.FullPath),
	}, in.Changes)
	if err != nil {
		return err
	}
	return c.checkLFS(ctx, in, f)
}
