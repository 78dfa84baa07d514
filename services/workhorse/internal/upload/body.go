package upload

import (
	"net/http"
	"net/url"

	"gitsplit/services/workhorse/internal/preauth"
)

// bodyName is the name of a file that is a whole request body, and bodyField the
// field it becomes.
const (
	bodyName  = "upload"
	bodyField = "file"
)

// Body serves a route whose request body is one file (wire/workhorse.md §6.1);
// next takes the request that follows to rails-api.
func (u *Uploader) Body(next http.Handler) http.Handler {
	return u.Auth.Then(suffix, func(w http.ResponseWriter, r *http.Request, answer *preauth.Answer) {
		u.body(next, w, r, answer)
	})
}

func (u *Uploader) body(next http.Handler, w http.ResponseWriter, r *http.Request, answer *preauth.Answer) {
	const prefix = "RequestBody: upload failed: "
	u.Metrics.request(bodyType)
	file, err := u.Store.Save(r.Context(), answer.Destination, bodyName, r.Body, r.ContentLength)
	if err != nil {
		u.fail(r.Context(), w, prefix, err)
		return
	}
	defer file.Discard()
	u.Metrics.stored(bodyType, file.Size)
	fields, err := u.fields(file)
	if err != nil {
		u.fail(r.Context(), w, prefix, err)
		return
	}
	form := url.Values{}
	for name, value := range fields {
		form.Set(bodyField+"."+name, value)
	}
	u.forward(next, w, r, "application/x-www-form-urlencoded", []byte(form.Encode()), map[string]string{bodyField: file.Path})
}
