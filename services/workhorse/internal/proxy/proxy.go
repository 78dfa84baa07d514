// Package proxy passes requests to rails-api and its answers back, streaming both
// ways: nothing is buffered whole, and an abort on either side ends the other.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/failure"
	"gitsplit/services/workhorse/internal/header"
)

// Options of a proxy.
type Options struct {
	API       *api.Client
	Delegates Delegates
	BodyLimit int64 // bytes of a request body that may travel to rails-api; 0 is no limit
	JSON      bool  // tell of a rails-api that is down in JSON, for API clients
	Log       *slog.Logger
	Now       func() time.Time
}

// Proxy passes requests to rails-api. It expects sanitized headers.
type Proxy struct {
	Options
	reverse *httputil.ReverseProxy
}

// New returns a proxy.
func New(o Options) *Proxy {
	p := &Proxy{Options: o}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      o.API.Transport(),
		FlushInterval:  -1, // each piece at once
		ModifyResponse: p.response,
		ErrorHandler:   p.failed,
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return p
}

// ServeHTTP passes the request on.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.BodyLimit > 0 && r.ContentLength > p.BodyLimit {
		tooLarge(w)
		return
	}
	w.Header().Del("X-Accel-Buffering")
	body := &clientBody{}
	if r.Body != nil && r.ContentLength != 0 {
		body.ReadCloser = r.Body
		if p.BodyLimit > 0 {
			body.ReadCloser = http.MaxBytesReader(w, r.Body, p.BodyLimit)
		}
		r.Body = body
	}
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, body)))
}

func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	p.API.Address(pr.Out)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as it came: rails-api alone reads it
	pr.Out.Header.Set("Gitlab-Workhorse-Proxy-Start", strconv.FormatInt(p.Now().UnixNano(), 10))
	pr.Out.Header.Set("X-Sendfile-Type", "X-Sendfile") // workhorse takes X-Sendfile in answers
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		pr.Out.Header[name] = pr.In.Header[name] // dropped from Out; the front has set them
	}
}

// response keeps to ourselves what rails-api says to workhorse, and ends the relay
// of answers that workhorse gives itself.
func (p *Proxy) response(res *http.Response) error {
	next := p.Delegates.Take(res)
	header.RemoveControl(res.Header)
	res.Header.Del(correlation.Header) // the front has set it
	if strings.Contains(strings.ToLower(res.Header.Get("Content-Type")), api.MediaType) {
		return errInternalAnswer
	}
	if next != nil {
		return &delegated{header: res.Header, next: next}
	}
	return nil
}

var errInternalAnswer = errors.New("rails-api answered a proxied request with the internal media type")

// failed answers for a rails-api that did not (wire/workhorse.md §9.1).
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	if d, ok := errors.AsType[*delegated](err); ok {
		d.serve(w, r)
		return
	}
	ctx := r.Context()
	body, _ := ctx.Value(bodyKey{}).(*clientBody)
	_, overLimit := errors.AsType[*http.MaxBytesError](err)
	switch {
	case overLimit:
		tooLarge(w)
	case ctx.Err() != nil: // the client left; the status is for the log
		w.WriteHeader(failure.ClientLeft)
	case errors.Is(err, errInternalAnswer):
		p.Log.ErrorContext(ctx, "proxy", slog.Any(logging.KeyError, err))
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	case body != nil && body.failed():
		p.Log.InfoContext(ctx, "broken request body", slog.Any(logging.KeyError, err))
		w.Header().Set("Connection", "close")
		http.Error(w, "Bad Request", http.StatusBadRequest)
	default:
		p.Log.ErrorContext(ctx, "rails-api did not answer", slog.Any(logging.KeyError, err))
		if p.JSON {
			notResponding(ctx, w)
			return
		}
		api.NotResponding(w)
	}
}

// notResponding is api.NotResponding for API clients.
func notResponding(ctx context.Context, w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = fmt.Fprintf(w, `{"message":"GitLab is not responding","correlation_id":%q}`, correlation.ID(ctx)) // the client left
}

func tooLarge(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	http.Error(w, "Request Entity Too Large", http.StatusRequestEntityTooLarge)
}
