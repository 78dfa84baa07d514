package githttp

import (
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"gitsplit/kit/fault"
	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/failure"
	"gitsplit/services/workhorse/internal/gitaly"
	"gitsplit/services/workhorse/internal/preauth"
)

// InfoRefs answers GET info/refs: gitaly's bytes, unchanged, which name the
// service themselves.
func (s *Service) InfoRefs(w http.ResponseWriter, r *http.Request, a *preauth.Answer) {
	service := r.URL.Query().Get("service")
	counted, done := s.Metrics.session(w, r, "info-refs")
	defer done()
	w = counted
	out := newAnswer(w, "application/x-"+service+"-advertisement")
	finish := func() error { return nil }
	if acceptsGzip(r.Header) {
		finish = s.compress(out)
	}
	if fault.Enabled {
		fault.Point(r.Context(), fault.AfterKeyLookup, a.GLRepository)
	}
	if err := s.infoRefs(r, a, service, out); err != nil {
		s.logFailure(r.Context(), service, err)
		if !out.begun {
			w.Header().Del("Content-Encoding")
		}
		switch {
		case r.Context().Err() != nil:
			out.fail(failure.ClientLeft, "")
		case out.begun:
			out.cut()
		default:
			out.fail(gitaly.Failure(err))
		}
		return
	}
	if !out.begun { // gitaly said nothing at all
		w.Header().Del("Content-Encoding")
		out.fail(http.StatusInternalServerError, "Internal Server Error")
		return
	}
	if err := finish(); err != nil {
		s.logFailure(r.Context(), service, err)
	}
}

func (s *Service) infoRefs(r *http.Request, a *preauth.Answer, service string, out *answer) error {
	ctx, conn, err := s.conn(r.Context(), a)
	if err != nil {
		return err
	}
	return gitalyclient.InfoRefs(ctx, conn, service, &gitalypb.InfoRefsRequest{
		Repository:       a.Repository.Proto(),
		GitConfigOptions: fetchOptions(a),
		GitProtocol:      protocol(r),
	}, out)
}

// compressors are kept: making one costs more than most advertisements.
type compressors struct{ pool sync.Pool }

func (c *compressors) get() *gzip.Writer {
	if zw, ok := c.pool.Get().(*gzip.Writer); ok {
		return zw
	}
	zw, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil { // the level is a constant
		panic(err)
	}
	return zw
}

// compress makes out write gzip. The function it returns ends the data.
func (s *Service) compress(out *answer) (finish func() error) {
	zw := s.zip.get()
	zw.Reset(out.w)
	out.body = zw
	out.w.Header().Set("Content-Encoding", "gzip")
	out.w.Header().Add("Vary", "Accept-Encoding")
	return func() error {
		err := zw.Close()
		s.zip.pool.Put(zw)
		return err
	}
}

// acceptsGzip reports whether the client likes gzip at least as much as plain
// bytes.
func acceptsGzip(h http.Header) bool {
	gzipQ, plainQ := 0.0, 0.0
	for _, line := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip":
				gzipQ = quality(params)
			case "identity":
				plainQ = quality(params)
			}
		}
	}
	return gzipQ > 0 && gzipQ >= plainQ
}

func quality(params string) float64 {
	text, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q=")
	if !ok {
		return 1
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return q
}
