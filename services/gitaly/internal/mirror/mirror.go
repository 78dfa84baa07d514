// Package mirror keeps copies of repositories on other servers up to date: it
// compares branches and tags on both sides and pushes the difference.
package mirror

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
)

// Service updates mirrors. It is safe for concurrent use.
type Service struct {
	git     remote.Git
	remotes *remote.Service
}

// New returns a service.
func New(git remote.Git, remotes *remote.Service) *Service {
	return &Service{git: git, remotes: remotes}
}

// Options says what to push and how.
type Options struct {
	Branches Patterns
	// KeepDivergent leaves references alone that have something on the mirror that
	// the repository has not, and deletes none.
	KeepDivergent bool
}

const (
	batchSize = 100 // references per push: they are arguments of git
	// maxDivergent is how many divergent references are told.
	maxDivergent = 100
	// maxListed bounds the memory for the references of a mirror, in bytes; so many
	// more are counted for each.
	maxListed, listedCost = 64 << 20, 160
)

// update is one update of a mirror.
type update struct {
	*Service
	o         Options
	repo      *gitcmd.Repo
	to        remote.Remote
	theirs    map[string]listed // what the mirror has and was not met here yet
	pending   []string
	divergent []string
}

// listed is a reference of the mirror: its value, and the commit behind it.
type listed struct{ oid, commit string }

// Update makes branches and tags of a mirror what they are in the repository, the
// default branch first. References that only the mirror has are deleted if they
// are merged into the default branch. It returns the full names of those that were
// kept as they had diverged, the first hundred of them. What the mirror refuses is
// errs.FailedPrecondition.
func (s *Service) Update(ctx context.Context, repo *gitcmd.Repo, to remote.Remote, o Options) ([]string, error) {
	u := &update{Service: s, o: o, repo: repo, to: to, theirs: map[string]listed{}}
	if err := u.list(ctx); err != nil {
		return nil, err
	}
	main, err := ref.Default(ctx, s.git, repo)
	if err != nil {
		return nil, err
	}
	found := false
	if main != "" {
		if found, err = u.push(ctx, ref.Query{Patterns: []string{main}}, func(name string) bool { return name == main }); err != nil {
			return nil, err
		}
	}
	if _, err := u.push(ctx, ref.Query{Patterns: []string{ref.Branches, ref.Tags}}, func(name string) bool { return name != main }); err != nil {
		return nil, err
	}
	if found && !o.KeepDivergent {
		err = u.remove(ctx, main)
	}
	return u.divergent, err
}

// list reads what the mirror has.
func (u *update) list(ctx context.Context) error {
	size := 0
	return u.remotes.List(ctx, u.to, []string{ref.Branches + "*", ref.Tags + "*"}, func(a remote.Advertised) error {
		if size += len(a.Name) + listedCost; size > maxListed {
			return errs.New(errs.Exhausted, "the mirror has too many references")
		}
		l := u.theirs[a.Name]
		switch {
		case a.Peeled:
			l.commit = a.OID
		case a.OID != "":
			l = listed{oid: a.OID, commit: a.OID}
		}
		if l.oid != "" {
			u.theirs[a.Name] = l
		}
		return nil
	})
}

// push pushes the references of a query that are wanted and not the same on the
// mirror. It reports whether there was any, the same or not.
func (u *update) push(ctx context.Context, q ref.Query, wanted func(name string) bool) (any bool, err error) {
	err = ref.List(ctx, u.git, u.repo, q, func(r ref.Ref) error {
		if !wanted(r.Name) {
			return nil
		}
		any = true
		same := u.theirs[r.Name].oid == r.OID
		delete(u.theirs, r.Name)
		if same || !u.o.Branches.Match(r.Name) {
			return nil
		}
		return u.add(ctx, r.Name)
	})
	if err == nil {
		err = u.flush(ctx)
	}
	return any, err
}

// add queues a refspec.
func (u *update) add(ctx context.Context, refspec string) error {
	u.pending = append(u.pending, refspec)
	if len(u.pending) < batchSize {
		return nil
	}
	return u.flush(ctx)
}

// flush pushes what is queued.
func (u *update) flush(ctx context.Context) error {
	if len(u.pending) == 0 {
		return nil
	}
	rejected, err := u.remotes.Push(ctx, u.repo, u.to, u.pending, !u.o.KeepDivergent)
	u.pending = u.pending[:0]
	for _, r := range rejected {
		if !r.Diverged || !u.o.KeepDivergent {
			return errs.Newf(errs.FailedPrecondition, "push to mirror: %q: %s", r.Name, r.Reason)
		}
		if len(u.divergent) < maxDivergent {
			u.divergent = append(u.divergent, r.Name)
		}
	}
	return err
}

// remove deletes the references that only the mirror has, as far as nothing is
// lost.
func (u *update) remove(ctx context.Context, main string) error {
	unmerged, err := u.unmerged(ctx, main)
	if err != nil {
		return err
	}
	for name, l := range u.theirs {
		if unmerged[l.commit] || !u.o.Branches.Match(name) {
			continue
		}
		if err := u.add(ctx, ":"+name); err != nil {
			return err
		}
	}
	return u.flush(ctx)
}

// unmerged returns which commits of the mirror's own references are not in the
// history of a branch, or not in the repository at all.
func (u *update) unmerged(ctx context.Context, main string) (map[string]bool, error) {
	unmerged := map[string]bool{}
	objects, err := object.Open(ctx, u.git, u.repo)
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	var questions strings.Builder
	for _, l := range u.theirs {
		info, err := objects.Info(l.commit)
		switch {
		case err == nil && info.Type == "commit":
			questions.WriteString(l.commit + "\n")
		case err == nil || errs.KindOf(err) == errs.NotFound:
			unmerged[l.commit] = true
		default:
			return nil, err
		}
	}
	if questions.Len() == 0 {
		return unmerged, nil
	}
	questions.WriteString("^" + main + "\n")
	spec := gitcmd.Spec{Name: "rev-list", Flags: []string{"--stdin"}, Stdin: strings.NewReader(questions.String())}
	asked := make(map[string]bool, len(u.theirs))
	for _, l := range u.theirs {
		asked[l.commit] = true
	}
	err = u.git.Lines(ctx, u.repo, spec, func(line []byte) error {
		if asked[string(line)] {
			unmerged[string(line)] = true
		}
		return nil
	})
	return unmerged, err
}
