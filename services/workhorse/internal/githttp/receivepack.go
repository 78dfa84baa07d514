package githttp

import (
	"context"
	"errors"
	"io"
	"net/http"

	"gitsplit/kit/fault"
	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/preauth"
)

// ReceivePack answers POST git-receive-pack. gitaly may answer, or end the call,
// before the push has been read; both wait until it has.
func (s *Service) ReceivePack(w http.ResponseWriter, r *http.Request, a *preauth.Answer) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w, done := s.traffic(w, r, receivePack, a)
	defer done(r.Context())
	out := newAnswer(w, "application/x-git-receive-pack-result")
	held := &hold{dst: out, tempDir: s.TempDir, limit: s.Limits.HeldAnswer}
	body := &requestBody{src: r.Body, atEnd: held.release, onBreak: cancel}
	if fault.Enabled {
		fault.Point(ctx, fault.AfterAccessCheck, a.GLRepository)
		defer fault.Point(ctx, fault.BeforeExitStatus, a.GLRepository)
	}
	err := s.receivePack(ctx, r, a, body, held)
	body.drain(s.Limits.DrainAfterFailure) // of what gitaly did not want
	held.release()
	if err = errors.Join(err, held.close()); err != nil {
		s.postFailed(r, receivePack, out, errors.Join(err, body.failure()))
	}
	if !out.begun {
		out.begin()
	}
}

func (s *Service) receivePack(ctx context.Context, r *http.Request, a *preauth.Answer, body io.Reader, out io.Writer) error {
	ctx, conn, err := s.conn(ctx, a)
	if err != nil {
		return err
	}
	if ctx, err = withClientContext(ctx, a); err != nil {
		return err
	}
	return gitalyclient.PostReceivePack(ctx, conn, &gitalypb.PostReceivePackRequest{
		Repository:       a.Repository.Proto(),
		GlId:             a.GLID,
		GlRepository:     a.GLRepository,
		GlUsername:       a.Username(),
		GitProtocol:      protocol(r),
		GitConfigOptions: a.GitConfigOptions,
	}, body, out)
}
