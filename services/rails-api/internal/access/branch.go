package access

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/refname"
)

// checkBranch decides about one branch (wire/internal-api.md §5.3).
func (c *Checker) checkBranch(ctx context.Context, in push, change Change, branch string) error {
	if change.Deletes() && branch == in.project.DefaultBranch {
		return errs.New(errs.Denied, deleteDefault)
	}
	if !change.Deletes() {
		if err := branchName(branch); err != nil {
			return err
		}
	}
	rules := protection.Covering(in.rules, branch)
	if len(rules) == 0 && !in.uninhabited {
		return nil
	}
	if err := c.checkForce(ctx, in, rules, change); err != nil {
		return err
	}
	switch {
	case in.uninhabited:
		return in.mayBegin()
	case change.Creates():
		return c.mayCreate(ctx, in, rules, change)
	case change.Deletes():
		return in.mayDelete()
	case !mayPush(in, rules):
		return errs.New(errs.Denied, pushProtected)
	}
	return nil
}

func branchName(branch string) error {
	err := refname.Short(branch)
	switch {
	case errors.Is(err, refname.ErrHash):
		return errs.New(errs.Denied, hashBranch)
	case err != nil, strings.ContainsRune(branch, utf8.RuneError): // what git sent was no UTF-8
		return errs.New(errs.Denied, badBranch)
	}
	return nil
}

// checkForce refuses a change that takes commits from a protected branch, unless
// one of its rules allows that.
func (c *Checker) checkForce(ctx context.Context, in push, rules []protection.Rule, change Change) error {
	if change.Creates() || change.Deletes() || slices.ContainsFunc(rules, func(r protection.Rule) bool { return r.AllowForcePush }) {
		return nil
	}
	forward, err := c.Repositories.IsAncestor(ctx, in.project, in.quarantine, change.Old, change.New)
	if err != nil {
		return err
	}
	if !forward {
		return errs.New(errs.Denied, forcePush)
	}
	return nil
}

// mayBegin: the first branch of a repository is made by a maintainer.
func (in push) mayBegin() error {
	if in.level >= member.Maintainer {
		return nil
	}
	return errs.New(errs.Denied, noDefaultBranch(in.project.DefaultBranch, in.project.FullPath, in.members))
}

func (in push) mayDelete() error {
	switch {
	case in.level < member.Maintainer:
		return errs.New(errs.Denied, deleteProtected)
	case in.protocol != WebProtocol:
		return errs.New(errs.Denied, deleteByWeb)
	}
	return nil
}

// mayCreate: those who may push, and through the web those who may merge, when the
// commit stands in a protected branch already.
func (c *Checker) mayCreate(ctx context.Context, in push, rules []protection.Rule, change Change) error {
	if mayPush(in, rules) {
		return nil
	}
	if !permits(in.level, rules, func(r protection.Rule) member.Level { return r.MergeLevel }) {
		return errs.New(errs.Denied, createProtected)
	}
	safe, err := c.inProtected(ctx, in, change.New)
	switch {
	case err != nil:
		return err
	case !safe:
		return errs.New(errs.Denied, createFromOther)
	case in.protocol != WebProtocol:
		return errs.New(errs.Denied, createByWeb)
	}
	return nil
}

// maxProtected bounds how many branches one check asks about.
const maxProtected = 50

// inProtected reports whether a commit is in the history of a branch that is
// protected by its exact name.
func (c *Checker) inProtected(ctx context.Context, in push, commit string) (bool, error) {
	asked := 0
	for _, r := range in.rules {
		if strings.Contains(r.Name, "*") || asked == maxProtected {
			continue
		}
		asked++
		found, err := c.Repositories.IsAncestor(ctx, in.project, in.quarantine, commit, refname.Heads+r.Name)
		if found || (err != nil && errs.KindOf(err) != errs.NotFound && errs.KindOf(err) != errs.Internal) {
			return found, err // a rule may name a branch that does not exist
		}
	}
	return false, nil
}

func mayPush(in push, rules []protection.Rule) bool {
	return permits(in.level, rules, func(r protection.Rule) member.Level { return r.PushLevel })
}

// permits reports whether the most generous of the rules admits a level. Level 0
// of a rule admits nobody, not even administrators.
func permits(level member.Level, rules []protection.Rule, of func(protection.Rule) member.Level) bool {
	return slices.ContainsFunc(rules, func(r protection.Rule) bool { return of(r) != member.NoAccess && level >= of(r) })
}
