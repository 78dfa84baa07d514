// Package remote lets git talk to repositories elsewhere: at a URL, or at another
// place of this installation.
//
// Everything outgoing passes here (security-baseline.md G9). A URL is taken apart
// and put together again, its host is resolved and checked once, and git connects
// to that address and no other. What the URL says besides its place, a user and a
// password, reaches git through gitcmd's secret settings and is removed from what
// git says.
//
// Repositories of the installation need no network protocol of git's: git gets one
// end of a socket, and upload-pack, here or behind another gitaly, has the other.
package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	ref.Git
	object.Git
}

// Service talks to remote repositories. It is safe for concurrent use.
type Service struct{ git Git }

// New returns a service.
func New(git Git) *Service { return &Service{git: git} }

// Remote is a repository that git can talk to.
type Remote interface {
	// connect prepares one run of git. The line must be closed.
	connect(ctx context.Context) (*line, error)
	// describe says what a copy of the repository begins with.
	describe(ctx context.Context, s *Service) (Facts, error)
}

// Facts is what must be known of a repository before a copy of it is made.
type Facts struct {
	Head   string // full name of the branch that HEAD means; "" if it does not say
	SHA256 bool
}

// Describe asks a remote for its facts.
func (s *Service) Describe(ctx context.Context, r Remote) (Facts, error) { return r.describe(ctx, s) }

// line is the connection of one run of git.
type line struct {
	url     string
	config  []gitcmd.Config
	secrets []gitcmd.Config
	file    *os.File // git's end of a socket; nil for URLs
	// serve works at the other end until git closes its own, as the other side of a
	// sub-command of git; nil for URLs.
	serve func(ctx context.Context, subcommand string) error
	// conceal removes what must not be told from what git says.
	conceal func(text string) string
}

func (l *line) close() {
	if l.file != nil {
		_ = l.file.Close() // git is done with it
	}
}

// apply makes the settings of the line those of a run.
func (l *line) apply(spec *gitcmd.Spec) {
	spec.Args = append([]string{l.url}, spec.Args...)
	spec.Config = append(append([]gitcmd.Config(nil), l.config...), spec.Config...)
	spec.Secrets = l.secrets
	if l.file != nil {
		spec.Files = []*os.File{l.file}
	}
}

// run connects to the remote and lets do run git with the specification, whose
// first argument becomes the remote's URL. A remote that does not answer as it
// should is errs.FailedPrecondition with what git said about it.
func (s *Service) run(ctx context.Context, r Remote, spec gitcmd.Spec, do func(context.Context, gitcmd.Spec) error) error {
	l, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	l.apply(&spec)
	if l.serve == nil {
		return l.explain(ctx, do(ctx, spec))
	}
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	served := make(chan error, 1)
	go func() { served <- l.serve(both, spec.Name) }()
	err = do(both, spec)
	l.close() // the other side sees the end
	if err != nil {
		cancel(err)
	} else {
		defer time.AfterFunc(settle, func() { cancel(context.Canceled) }).Stop()
	}
	other := <-served
	switch {
	case err == nil:
		return nil // what the other side says after git got all it wanted is of no interest
	case other != nil && !errors.Is(other, context.Canceled) && !errors.Is(other, err):
		return fmt.Errorf("serve %s: %w", spec.Name, other) // the reason of git's trouble
	}
	return l.explain(ctx, err)
}

// explain makes of a failure of git one that the caller may read.
func (l *line) explain(ctx context.Context, err error) error {
	var e *gitcmd.Error
	if err == nil || !errors.As(err, &e) || ctx.Err() != nil {
		return err
	}
	if l.conceal != nil {
		e.Stderr = l.conceal(e.Stderr)
	}
	return errs.Wrap(errs.FailedPrecondition, fmt.Sprintf("%s: %q: exit status %d", e.Command, strings.TrimSpace(e.Stderr), e.Code), err)
}

// Tags says which tags to fetch besides those that the refspecs name.
type Tags int

// The choices.
const (
	NoTags   Tags = iota
	SomeTags      // those of commits that are fetched
	AllTags
)

// FetchOptions says what to fetch and how.
type FetchOptions struct {
	Refspecs []string // checked by CheckRefspec
	Force    bool     // move references also where that loses commits
	Prune    bool     // remove references that the remote no longer has
	Tags     Tags
	Atomic   bool // all references or none
	Trusted  bool // the objects have been checked when they came to this installation
}

// Fetch brings references up to date, without hooks. References that may not move
// make it fail, after the others have moved unless it is atomic.
func (s *Service) Fetch(ctx context.Context, repo *gitcmd.Repo, r Remote, o FetchOptions) error {
	spec := gitcmd.Spec{Name: "fetch", Flags: []string{"--quiet", "--no-write-fetch-head"}, NoHooks: true, Args: o.Refspecs}
	if o.Trusted {
		spec.Config = []gitcmd.Config{{Key: "fetch.fsckObjects", Value: "false"}, {Key: "fetch.negotiationAlgorithm", Value: "skipping"}}
	}
	spec.Flags = append(spec.Flags, map[Tags][]string{NoTags: {"--no-tags"}, AllTags: {"--tags"}}[o.Tags]...)
	for flag, on := range map[string]bool{"--force": o.Force, "--prune": o.Prune, "--atomic": o.Atomic} {
		if on {
			spec.Flags = append(spec.Flags, flag)
		}
	}
	return s.run(ctx, r, spec, func(ctx context.Context, spec gitcmd.Spec) error { return s.git.Run(ctx, repo, spec) })
}

// settle is how long the other side may take to notice that git got all it wanted.
const settle = 5 * time.Second

// idleBound ends a transfer in which no byte moves.
const idleBound = 10 * time.Minute
