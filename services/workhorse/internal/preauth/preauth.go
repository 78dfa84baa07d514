// Package preauth asks rails-api whether a request may be served, before
// workhorse serves it (wire/workhorse.md §2.2). Any answer but a clear yes goes
// back to the client.
package preauth

import (
	"context"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/failure"
)

// Options of an Authorizer.
type Options struct {
	API     *api.Client
	Secret  []byte // shared with rails-api
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// Authorizer asks rails-api. It is safe for concurrent use.
type Authorizer struct{ Options }

// New returns an Authorizer.
func New(o Options) *Authorizer { return &Authorizer{Options: o} }

// Handler serves a request that rails-api has permitted. The answer is never nil.
type Handler func(w http.ResponseWriter, r *http.Request, answer *Answer)

// Then asks about each request, at the same URL with suffix added to its path,
// and calls next for those that are permitted. It expects sanitized headers and
// does not touch the request's body.
func (a *Authorizer) Then(suffix string, next Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := a.ask(w, r, suffix)
		if ok {
			logging.AddAttrs(r.Context(), slog.String(logging.KeyUser, answer.Username()),
				slog.String(logging.KeyProject, answer.Repository.GLProjectPath))
			next(w, r, answer)
		}
	})
}

// ask returns rails-api's yes, or answers the client.
func (a *Authorizer) ask(w http.ResponseWriter, r *http.Request, suffix string) (*Answer, bool) {
	ctx := r.Context()
	q, err := a.question(r, suffix)
	if err != nil {
		a.fail(ctx, w, err)
		return nil, false
	}
	res, err := a.API.Transport().RoundTrip(q)
	if err != nil {
		a.unreachable(ctx, w, err)
		return nil, false
	}
	defer func() { _ = res.Body.Close() }() // all that was wanted of it has been read
	a.Metrics.count(res.StatusCode, r.Method)
	if !isYes(res) {
		a.passBack(ctx, w, res)
		return nil, false
	}
	answer, err := decode(res.Body)
	if err != nil {
		a.fail(ctx, w, err)
		return nil, false
	}
	for _, challenge := range res.Header.Values("WWW-Authenticate") {
		addChallenge(w.Header(), challenge)
	}
	return answer, true
}

// notAsked are headers about the body, which stays here, and what the transport
// decides.
var notAsked = []string{"Content-Type", "Content-Encoding", "Content-Length", "Content-Disposition", "Accept-Encoding"}

// question builds the request to rails-api: the client's, without body.
func (a *Authorizer) question(r *http.Request, suffix string) (*http.Request, error) {
	u := &url.URL{Path: r.URL.Path + suffix, RawPath: r.URL.EscapedPath() + suffix, RawQuery: r.URL.RawQuery}
	q := (&http.Request{Method: r.Method, URL: u, Host: r.Host, Header: r.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(r.Context())
	for _, name := range notAsked {
		q.Header.Del(name)
	}
	if _, named := q.Header["User-Agent"]; !named {
		q.Header["User-Agent"] = nil // or the transport sends its own
	}
	a.API.Address(q)
	// A question changes nothing: the transport may ask again when rails-api closed
	// the kept connection. The empty value says so to it and is not sent.
	q.Header["Idempotency-Key"] = nil
	token, err := apijwt.Sign(a.Secret, apijwt.WorkhorseIssuer, a.Now())
	if err != nil {
		return nil, fmt.Errorf("sign pre-authorization: %w", err)
	}
	q.Header.Set(apijwt.WorkhorseHeader, token)
	return q, nil
}

// isYes reports whether the answer permits the request: 200 and the internal
// media type, exactly.
func isYes(res *http.Response) bool {
	types := res.Header.Values("Content-Type")
	if res.StatusCode != http.StatusOK || len(types) != 1 {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(types[0])
	return err == nil && mediaType == api.MediaType
}

func (a *Authorizer) fail(ctx context.Context, w http.ResponseWriter, err error) {
	a.Log.ErrorContext(ctx, "pre-authorization", slog.Any(logging.KeyError, err))
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

func (a *Authorizer) unreachable(ctx context.Context, w http.ResponseWriter, err error) {
	if ctx.Err() != nil { // the client left; the status is for the log
		w.WriteHeader(failure.ClientLeft)
		return
	}
	a.Log.ErrorContext(ctx, "rails-api did not answer", slog.Any(logging.KeyError, err))
	api.NotResponding(w)
}
