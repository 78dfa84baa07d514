// Package upload keeps the bytes of uploads away from rails-api: it asks whether
// and where to store them, stores them (package store), and passes the request on
// with a few signed fields in place of each file (wire/workhorse.md §6).
//
// A file that was stored is removed when the request has been answered. Until then
// rails-api may move it away.
package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/failure"
	"gitsplit/services/workhorse/internal/preauth"
	"gitsplit/services/workhorse/internal/store"
)

// Options of an Uploader.
type Options struct {
	Auth    *preauth.Authorizer
	Store   *store.Store
	Secret  []byte // shared with rails-api
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// Uploader serves the routes with uploads.
type Uploader struct{ Options }

// New returns an Uploader.
func New(o Options) *Uploader { return &Uploader{Options: o} }

// suffix is what permission is asked for, after the path of the request.
const suffix = "/authorize"

// forward hands a request with another body to next, which takes it to rails-api.
func (u *Uploader) forward(next http.Handler, w http.ResponseWriter, r *http.Request, contentType string, body []byte, files map[string]string) {
	out := r.Clone(r.Context())
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Disposition", "Content-Md5", "Digest"} {
		out.Header.Del(name) // of the body that stayed here
	}
	out.Header.Set("Content-Type", contentType)
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	out.Body, _ = out.GetBody()
	out.ContentLength, out.TransferEncoding = int64(len(body)), nil
	if err := u.sign(out, files); err != nil {
		u.fail(r.Context(), w, "", err)
		return
	}
	next.ServeHTTP(w, out)
}

// sign tells rails-api that workhorse asks, and which fields of the body it wrote.
func (u *Uploader) sign(out *http.Request, files map[string]string) error {
	token, err := apijwt.Sign(u.Secret, apijwt.WorkhorseIssuer, u.Now())
	if err != nil {
		return err
	}
	out.Header.Set(apijwt.WorkhorseHeader, token)
	if len(files) == 0 {
		return nil
	}
	fields, err := apijwt.SignFields(u.Secret, files)
	if err != nil {
		return err
	}
	out.Header.Set(apijwt.FieldsHeader, fields)
	return nil
}

// fields returns what takes the place of a stored file, its token included.
func (u *Uploader) fields(f *store.File) (map[string]string, error) {
	fields := f.Fields()
	token, err := apijwt.SignUpload(u.Secret, fields)
	if err != nil {
		return nil, err
	}
	fields[apijwt.UploadField] = token
	return fields, nil
}

// fail answers an upload that was not stored (wire/workhorse.md §6.4). prefix
// begins the text of what the client did wrong.
func (u *Uploader) fail(ctx context.Context, w http.ResponseWriter, prefix string, err error) {
	status, text := http.StatusInternalServerError, "Internal Server Error"
	bad, isBad := errors.AsType[*badUpload](err)
	switch {
	case errors.Is(err, store.ErrSource) && errors.Is(err, os.ErrDeadlineExceeded):
		status, text = http.StatusRequestTimeout, prefix+"nothing came in time"
	case ctx.Err() != nil: // the client left; the status is for the log
		u.Log.InfoContext(ctx, "upload broken off", slog.Any(logging.KeyError, err))
		w.WriteHeader(failure.ClientLeft)
		return
	case errors.Is(err, store.ErrTooLarge):
		status, text = http.StatusRequestEntityTooLarge, prefix+err.Error()
	case isBad:
		status, text = http.StatusBadRequest, prefix+bad.text
	case errors.Is(err, store.ErrSource):
		status, text = http.StatusBadRequest, prefix+"the upload broke off"
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusGatewayTimeout, "deadline exceeded"
	case store.IsFull(err):
		text = prefix + "there is no room on the server; tell your administrator"
	}
	if status >= http.StatusInternalServerError {
		u.Log.ErrorContext(ctx, "upload failed", slog.Any(logging.KeyError, err))
	} else {
		u.Log.InfoContext(ctx, "upload refused", slog.Any(logging.KeyError, err))
	}
	w.Header().Set("Connection", "close") // what is left of the body is not read
	http.Error(w, strings.TrimSpace(text), status)
}

// badUpload is a request that cannot be read as what it says it is.
type badUpload struct {
	text  string // for the client
	cause error
}

func bad(text string, cause error) error { return &badUpload{text, cause} }

func (b *badUpload) Error() string {
	if b.cause == nil {
		return b.text
	}
	return b.text + ": " + b.cause.Error()
}

func (b *badUpload) Unwrap() error { return b.cause }
