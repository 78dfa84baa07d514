package lfshttp

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/githttp"
)

const mediaType = "application/vnd.git-lfs+json"

// The texts of wire/workhorse.md §6.7.
const (
	notEnabled = "Git LFS is not enabled on this GitLab server, contact your admin."
	batchOnly  = "Server supports batch API only, please update your Git LFS client to version 1.0.1 and up."
	notFound   = "Not found."
	forbidden  = "Access forbidden. Check your access level."
)

// own marks an error whose words are to be shown: about credentials. What the
// access rules say is worded alike for all.
type own struct{ error }

func (o own) Unwrap() error { return o.error }

// answered is an error with a status of its own.
type answered struct {
	status int
	text   string
	lock   *lock // the lock in the way
}

func (a answered) Error() string { return a.text }

type fault struct {
	Lock          *lock  `json:"lock,omitempty"`
	Message       string `json:"message"`
	Documentation string `json:"documentation_url"`
}

// offered refuses everything when the installation has no LFS.
func (a *api) offered() error {
	if a.Access.WithoutLFS {
		return answered{status: http.StatusNotImplemented, text: notEnabled}
	}
	return nil
}

// onlyBatch answers the interface of the first git-lfs.
func onlyBatch(http.ResponseWriter, *http.Request, string, string) error {
	return answered{status: http.StatusNotImplemented, text: batchOnly}
}

// fail writes a refusal.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	ctx := r.Context()
	out := a.translate(err)
	if out.status == http.StatusUnauthorized {
		githttp.Unauthorized(w, a.Site, err)
		logging.AddAttrs(ctx, slog.String("refusal", errs.Message(err)))
		return
	}
	if out.status >= http.StatusInternalServerError && out.status != http.StatusNotImplemented {
		a.Log.ErrorContext(ctx, "LFS request failed", slog.Any(logging.KeyError, err))
	} else {
		logging.AddAttrs(ctx, slog.String("refusal", out.text))
	}
	if out.status == http.StatusInternalServerError {
		out.text = "Internal error, please tell your administrator the id " + correlation.ID(ctx)
	}
	a.write(w, r, out.status, fault{Lock: out.lock, Message: out.text, Documentation: a.Site.URL("help")})
}

func (*api) translate(err error) answered {
	if out, ok := errors.AsType[answered](err); ok {
		return out
	}
	kind := errs.KindOf(err)
	out := answered{status: kind.HTTPStatus(), text: errs.Message(err)}
	_, isOwn := errors.AsType[own](err)
	switch {
	case isOwn:
	case kind == errs.NotFound:
		out.text = notFound
	case kind == errs.Denied:
		out.text = forbidden
	case kind == errs.Timeout:
		out.status = http.StatusServiceUnavailable
	case kind == errs.Invalid:
		out.status = http.StatusUnprocessableEntity
	}
	return out
}

func (a *api) write(w http.ResponseWriter, r *http.Request, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		a.Log.ErrorContext(r.Context(), "encode answer", slog.Any(logging.KeyError, err))
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		a.Log.DebugContext(r.Context(), "the client left before its answer", slog.Any(logging.KeyError, err))
	}
}

// decode reads a body, one JSON document. What the protocol may add is ignored.
func decode[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one document")
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return v, answered{status: http.StatusRequestEntityTooLarge, text: "The request is too large."}
	}
	if err != nil {
		return v, errs.Wrap(errs.Invalid, "The request is no JSON document of the kind that is expected.", err)
	}
	return v, nil
}
