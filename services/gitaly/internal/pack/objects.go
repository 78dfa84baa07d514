package pack

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/pktline"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// hookPackObjects makes upload-pack ask us for its pack (wire/gitaly.md §6.7). A
// request with settings of its own for packs is left to git: the cache does not know
// them. others says that more fetches are under way, which may want the same.
func (s *Service) hookPackObjects(spec *gitcmd.Spec, repo *storage.Repo, f Fetch, others bool) (hooked bool, err error) {
	own := func(c gitcmd.Config) bool { return strings.HasPrefix(strings.ToLower(c.Key), "pack.") }
	if s.o.Cache == nil || slices.ContainsFunc(spec.Config, own) || !others && !s.worthSharing(repo) {
		return false, nil
	}
	format, err := repo.ObjectFormat()
	if err != nil {
		return false, err
	}
	payload, err := hookpayload.Payload{
		RequestedHooks: hookpayload.PackObjects, Repository: f.Repository, ObjectFormat: format,
		RuntimeDir: s.o.Hooks.RuntimeDir, InternalSocket: s.o.Hooks.Socket, InternalSocketToken: s.o.Hooks.Token,
		UserDetails: &f.User,
	}.Env()
	if err != nil {
		return false, err
	}
	spec.Env = append(spec.Env, payload)
	spec.Config = append(spec.Config, gitcmd.Config{Key: "uploadpack.packObjectsHook", Value: quote(s.o.Hooks.PackObjects)})
	return true, nil
}

// plain is what git runs without the help of a shell.
var plain = regexp.MustCompile(`^[A-Za-z0-9/._+,@-]+$`)

// quote is for a setting that git gives to a shell if it looks like more than a name.
func quote(program string) string {
	if plain.MatchString(program) {
		return program
	}
	return "'" + strings.ReplaceAll(program, "'", `'\''`) + "'"
}

// Wanted is a pack that upload-pack asks for, as gitaly-hooks passes it on.
type Wanted struct {
	Args     []string // of git
	Protocol string   // ssh or http
	// For the limit alone: the pack does not depend on who wants it.
	RemoteIP, Username string
}

// PackObjects writes the pack as side-band packets. stdin is what upload-pack says of
// it. cached reports whether the pack was there or being made for somebody else.
// Arguments of another command are errs.Invalid.
func (s *Service) PackObjects(ctx context.Context, repo *storage.Repo, w Wanted, stdin io.Reader, out io.Writer) (cached bool, err error) {
	spec, err := packSpec(w.Args)
	if err != nil {
		return false, err
	}
	generate := func(ctx context.Context, stdin io.Reader, out io.Writer) error {
		release, err := s.o.Limit.Acquire(ctx, w.RemoteIP, w.Username)
		if err != nil {
			return err
		}
		defer release()
		spec.Stdin, spec.Stdout, spec.Stderr = stdin, pktline.NewBandWriter(out, pktline.BandData), pktline.NewBandWriter(out, pktline.BandProgress)
		return s.o.Git.Run(ctx, &repo.Repo, spec)
	}
	if s.o.Cache == nil {
		return false, generate(ctx, stdin, out)
	}
	asked, err := spool(stdin, s.o.SpoolDir)
	if err != nil {
		return false, err
	}
	if !asked.whole() { // no room to look at all of it
		defer asked.close()
		return false, generate(ctx, asked.reader(), out)
	}
	generated, err := s.o.Cache.Serve(ctx, packKey(repo, w, asked), out, func(ctx context.Context, out io.Writer) error {
		defer asked.close()
		return generate(ctx, asked.reader(), out)
	})
	if !generated {
		asked.close()
	}
	return !generated, err
}

// packSpec accepts exactly what upload-pack runs: [--shallow-file ""] pack-objects and
// flags, --stdout among them.
func packSpec(args []string) (gitcmd.Spec, error) {
	spec := gitcmd.Spec{Name: "pack-objects"}
	if len(args) >= 2 && args[0] == "--shallow-file" && args[1] == "" {
		spec.IgnoreShallow, args = true, args[2:]
	}
	if len(args) == 0 || args[0] != spec.Name {
		return spec, errs.New(errs.Invalid, "missing pack-objects")
	}
	for _, flag := range args[1:] {
		if !strings.HasPrefix(flag, "-") || strings.ContainsRune(flag, 0) {
			return spec, errs.Newf(errs.Invalid, "argument of pack-objects is not a flag: %q", flag)
		}
	}
	if spec.Flags = args[1:]; !slices.Contains(spec.Flags, "--stdout") {
		return spec, errs.New(errs.Invalid, "pack-objects without --stdout")
	}
	return spec, nil
}
