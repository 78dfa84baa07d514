package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/fault"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/pktline"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// Fetch is how a client fetches, and who it is.
type Fetch struct {
	Repository    *gitalypb.Repository // as it came
	User          hookpayload.UserDetails
	GitProtocol   string
	ConfigOptions []string
	StatelessRPC  bool // HTTP
}

// errNegotiation ends a client that does not come to the point.
var errNegotiation = errs.New(errs.Timeout, "waiting for negotiation: context canceled")

// UploadPack serves a fetch or clone and returns what was negotiated. A client
// over SSH must have negotiated within a time; then the error is errs.Timeout.
func (s *Service) UploadPack(ctx context.Context, repo *storage.Repo, f Fetch, streams Streams) (*gitalypb.PackfileNegotiationStatistics, error) {
	var flags []string
	if f.StatelessRPC {
		flags = []string{"--stateless-rpc"}
	}
	spec, err := transport("upload-pack", f.GitProtocol, f.ConfigOptions, flags...)
	if err != nil {
		return nil, errs.New(errs.Invalid, err.Error())
	}
	others, done := s.fetching(repo)
	defer done()
	hooked, err := s.hookPackObjects(&spec, repo, f, others)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	streams, awake := watchIdle(cancel, s.o.Idle, streams)
	defer awake()
	n := newNegotiation(streams.Stdin)
	if !f.StatelessRPC {
		defer limit(cancel, s.o.UploadPackNegotiation, n.onDone)()
	}
	r := newReason(s.o.Git)
	spec.Stdin, spec.Stderr = n, r.stderr(streams.Stderr)
	out := &bands{w: streams.Stdout, reason: r}
	spec.Stdout = out
	if fault.Enabled {
		spec.Stdout = fault.Writer(ctx, fault.MidClone, f.Repository.GetGlRepository(), spec.Stdout, faultAt)
	}
	way := newBypass(spec.Stdout, out, n.settled)
	spec.Stdout = way
	if version, _ := gitcmd.Protocol(f.GitProtocol); hooked && version == "2" {
		id, closed := s.openBypass(way)
		defer closed()
		spec.Env = append(spec.Env, FetchIDKey+"="+id)
	}
	err = s.o.Git.Run(ctx, &repo.Repo, spec)
	return n.statistics(), timedOut(r.explain(err))
}

// timedOut leaves of an error the time limit that caused it, if one did.
func timedOut(err error) error {
	for _, limit := range []error{errNegotiation, errIdle} {
		if errors.Is(err, limit) {
			return limit
		}
	}
	return err
}

// limit cancels unless done was called in time. It returns what stops it.
func limit(cancel context.CancelCauseFunc, d time.Duration, onDone func(func())) func() {
	timer := time.AfterFunc(d, func() { cancel(errNegotiation) })
	stop := func() { timer.Stop() }
	onDone(stop)
	return stop
}

// UploadArchive serves git archive --remote.
func (s *Service) UploadArchive(ctx context.Context, repo *storage.Repo, streams Streams) error {
	spec, err := transport("upload-archive", "", nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	streams, awake := watchIdle(cancel, s.o.Idle, streams)
	defer awake()
	n := newNegotiation(streams.Stdin)
	n.endsWithFlush = true
	defer limit(cancel, s.o.UploadArchiveNegotiation, n.onDone)()
	spec.Stdin, spec.Stdout, spec.Stderr = n, streams.Stdout, streams.Stderr
	return timedOut(s.o.Git.Run(ctx, &repo.Repo, spec))
}

// Advertise writes the answer of info/refs for a service, "upload-pack" or
// "receive-pack" (wire/gitaly.md §5.6). That of upload-pack comes from the cache.
func (s *Service) Advertise(ctx context.Context, repo *storage.Repo, service string, f Fetch, w io.Writer) error {
	generate := func(ctx context.Context, w io.Writer) error { return s.advertise(ctx, repo, service, f, w) }
	if service == "upload-pack" && repo.ObjectDir == "" {
		version, _ := gitcmd.Protocol(f.GitProtocol)
		return s.o.InfoRefs.Serve(ctx, repo, fmt.Sprintf("%s %q", version, f.ConfigOptions), w, generate)
	}
	return generate(ctx, w)
}

func (s *Service) advertise(ctx context.Context, repo *storage.Repo, service string, f Fetch, w io.Writer) error {
	spec, err := transport(service, f.GitProtocol, f.ConfigOptions, "--stateless-rpc", "--advertise-refs")
	if err != nil {
		return errs.New(errs.Invalid, err.Error())
	}
	spec.NoHooks = service == "receive-pack" // it only lists
	if err := pktline.Write(w, fmt.Appendf(nil, "# service=git-%s\n", service)); err != nil {
		return err
	}
	if err := pktline.Flush(w); err != nil {
		return err
	}
	spec.Stdout = w
	return s.o.Git.Run(ctx, &repo.Repo, spec)
}
