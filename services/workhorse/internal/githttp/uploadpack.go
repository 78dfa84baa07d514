package githttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/kit/fault"
	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/failure"
	"gitsplit/services/workhorse/internal/preauth"
)

// UploadPack answers POST git-upload-pack. The relay copies the whole request to
// gitaly before it reads the answer, so the answer cannot come too early.
func (s *Service) UploadPack(w http.ResponseWriter, r *http.Request, a *preauth.Answer) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w, done := s.traffic(w, r, uploadPack, a)
	defer done(r.Context())
	limit(r, s.Limits.UploadPackBody)
	body := &requestBody{src: r.Body, atEnd: func() {}, onBreak: cancel}
	if s.Limits.UploadPackTime > 0 {
		body.deadline = time.Now().Add(s.Limits.UploadPackTime)
	}
	out := newAnswer(w, "application/x-git-upload-pack-result")
	if fault.Enabled {
		fault.Point(ctx, fault.AfterAccessCheck, a.GLRepository)
		defer fault.Point(ctx, fault.BeforeExitStatus, a.GLRepository)
	}
	err := s.uploadPack(ctx, r, a, body, out)
	if !out.begun {
		body.drain(s.Limits.DrainAfterFailure) // of what gitaly did not want
	}
	if err != nil {
		s.postFailed(r, uploadPack, out, errors.Join(err, body.failure()))
	}
	if !out.begun { // an empty answer is a good one: a fetch that needs nothing
		out.begin()
	}
}

func (s *Service) uploadPack(ctx context.Context, r *http.Request, a *preauth.Answer, body io.Reader, out io.Writer) error {
	ctx, conn, err := s.conn(ctx, a)
	if err != nil {
		return err
	}
	return gitalyclient.PostUploadPack(ctx, conn, &gitalypb.PostUploadPackWithSidechannelRequest{
		Repository:       a.Repository.Proto(),
		GitConfigOptions: fetchOptions(a),
		GitProtocol:      protocol(r),
	}, body, out)
}

// postFailed answers for a pack request that failed, as far as the answer has not
// begun: load in the words of the Git protocol, a broken request by its status,
// all else 500 without body (wire/workhorse.md §3.3). A begun answer that is not
// whole is cut, which does not return.
func (s *Service) postFailed(r *http.Request, service string, out *answer, err error) {
	s.logFailure(r.Context(), service, err)
	switch left := r.Context().Err() != nil; {
	case out.begun && (left || out.whole()):
		return
	case out.begun:
		out.cut()
	case left:
		out.fail(failure.ClientLeft, "")
		return
	}
	if overloaded(err) {
		busy := busyFetch
		if service == receivePack {
			busy = busyPush
		}
		if err := busy(out, correlation.ID(r.Context())); err != nil {
			s.logFailure(r.Context(), service, err)
		}
		return
	}
	if status := bodyFailure(err); status != 0 {
		out.w.Header().Set("Connection", "close")
		out.fail(status, http.StatusText(status))
		return
	}
	out.fail(http.StatusInternalServerError, "")
}
