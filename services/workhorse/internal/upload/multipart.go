package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"gitsplit/services/workhorse/internal/preauth"
	"gitsplit/services/workhorse/internal/store"
)

// Multipart serves a route whose request is a form with files
// (wire/workhorse.md §6.2); next takes the request that follows to rails-api. A
// request of another type goes on as it came.
func (u *Uploader) Multipart(next http.Handler) http.Handler {
	return u.Auth.Then(suffix, func(w http.ResponseWriter, r *http.Request, answer *preauth.Answer) {
		u.multipart(next, w, r, answer)
	})
}

func (u *Uploader) multipart(next http.Handler, w http.ResponseWriter, r *http.Request, answer *preauth.Answer) {
	boundary, isForm, err := boundaryOf(r)
	switch {
	case err != nil:
		u.fail(r.Context(), w, "", err)
		return
	case !isForm:
		u.asItCame(next, w, r)
		return
	}
	u.Metrics.request(multipartType)
	form := &rewriter{sign: u.fields, save: func(ctx context.Context, name string, part io.Reader) (*store.File, error) {
		return u.Store.Save(ctx, answer.Destination, name, part, -1)
	}}
	defer form.discard()
	if err := form.rewrite(r.Context(), r.Body, boundary); err != nil {
		u.fail(r.Context(), w, "", err)
		return
	}
	files := make(map[string]string, len(form.files))
	for name, f := range form.files {
		files[name] = f.Path
		u.Metrics.stored(multipartType, f.Size)
	}
	u.forward(next, w, r, form.contentType(), form.body(), files)
}

// asItCame passes on a request that has no files to take out.
func (u *Uploader) asItCame(next http.Handler, w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	if err := u.sign(out, nil); err != nil {
		u.fail(r.Context(), w, "", err)
		return
	}
	next.ServeHTTP(w, out)
}

// boundaryOf reads the type of the request. More than one type, or one that cannot
// be read, could be a form to rails-api and none to us.
func boundaryOf(r *http.Request) (boundary string, isForm bool, err error) {
	types := r.Header.Values("Content-Type")
	if len(types) == 0 || len(types) == 1 && types[0] == "" {
		return "", false, nil
	}
	kind, params, err := mime.ParseMediaType(types[0])
	if err != nil || len(types) > 1 {
		return "", false, bad("the content type cannot be read", err)
	}
	if kind != "multipart/form-data" {
		return "", false, nil
	}
	if r.Header.Get("Content-Encoding") != "" {
		return "", false, bad("a form with files cannot be encoded", nil)
	}
	if params["boundary"] == "" {
		return "", false, bad("the form has no boundary", nil)
	}
	return params["boundary"], true, nil
}

// reading names the fault when the next part cannot be read: the client's
// connection, or what came over it.
func reading(src *partSource, err error) error {
	switch {
	case errors.Is(err, errLongHeader):
		return bad(errLongHeader.Error(), nil)
	case src.err != nil && !errors.Is(src.err, io.EOF):
		return fmt.Errorf("%w: %w", store.ErrSource, src.err)
	case errors.Is(err, multipart.ErrMessageTooLarge):
		return bad(errLongHeader.Error(), err)
	}
	return bad("the form is malformed", err)
}
