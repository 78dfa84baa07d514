package remote

import (
	"context"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
)

// Advertised is a reference of a remote. One of Symref and OID is set.
type Advertised struct {
	Name   string
	OID    string
	Symref string // what a symbolic reference means
	Peeled bool   // OID is what the tag Name points at
}

// List calls each with the references of a remote that match one of the patterns
// (all without any), symbolic ones first. gitcmd.ErrStop ends it.
func (s *Service) List(ctx context.Context, r Remote, patterns []string, each func(Advertised) error) error {
	spec := gitcmd.Spec{Name: "ls-remote", Flags: []string{"--quiet", "--symref"}, Args: patterns}
	return s.run(ctx, r, spec, func(ctx context.Context, spec gitcmd.Spec) error {
		return s.git.Lines(ctx, nil, spec, func(line []byte) error {
			a, err := parseAdvertised(string(line))
			if err != nil {
				return err
			}
			return each(a)
		})
	})
}

// parseAdvertised reads "<oid> TAB <name>", "<oid> TAB <tag>^{}" and
// "ref: <name> TAB <name>".
func parseAdvertised(line string) (Advertised, error) {
	value, name, ok := strings.Cut(line, "\t")
	a := Advertised{}
	a.Name, a.Peeled = strings.CutSuffix(name, "^{}")
	if !ok || a.Name != "HEAD" && !ref.Valid(a.Name) {
		return a, errs.New(errs.FailedPrecondition, "the remote lists a reference with an invalid name")
	}
	if target, ok := strings.CutPrefix(value, "ref: "); ok && ref.Valid(target) {
		a.Symref = target
		return a, nil
	}
	if !ref.ValidOID(value) {
		return a, errs.New(errs.FailedPrecondition, "the remote lists a reference with an invalid value")
	}
	a.OID = value
	return a, nil
}

// describe asks the server for its HEAD, and tells the object format from the
// length of the ids.
func (e *Endpoint) describe(ctx context.Context, s *Service) (Facts, error) {
	return describeListed(ctx, s, e)
}

func describeListed(ctx context.Context, s *Service, r Remote) (Facts, error) {
	var f Facts
	err := s.List(ctx, r, nil, func(a Advertised) error {
		if a.Symref != "" {
			if a.Name == "HEAD" {
				f.Head = a.Symref
			}
			return nil
		}
		f.SHA256 = len(a.OID) == 64
		return gitcmd.ErrStop
	})
	return f, err
}

// Head returns what the HEAD of a remote means; errs.NotFound if that is nothing.
func (s *Service) Head(ctx context.Context, r Remote) (string, error) {
	var head string
	err := s.List(ctx, r, []string{"HEAD"}, func(a Advertised) error {
		if a.Name == "HEAD" && a.Symref != "" {
			head = a.Symref
		}
		return nil
	})
	if err == nil && head == "" {
		return "", errs.New(errs.NotFound, "no remote HEAD found")
	}
	return head, err
}
