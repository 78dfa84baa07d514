package internalapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/jsondepth"
)

var errBody = errors.New("unusable body")

func badRequest(why string) error { return errs.Wrap(errs.Invalid, "400 Bad request - "+why, errBody) }

// readBody returns the body as one JSON object. A form, as old clients send it, is
// translated; a body that is absent is an empty object.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Method == http.MethodGet {
		return []byte("{}"), nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, badRequest("the body is too large")
	}
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "400 Bad request - the body ended early", err)
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // a bad header reads as JSON
	if kind == "application/x-www-form-urlencoded" {
		return formObject(string(body))
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return []byte("{}"), nil
	}
	if jsondepth.Exceeds(body) {
		return nil, badRequest("the body is nested too deeply")
	}
	return body, nil
}

// formObject turns `a=1&b[]=2` into `{"a":"1","b":["2"]}`.
func formObject(form string) ([]byte, error) {
	values, err := url.ParseQuery(form)
	if err != nil {
		return nil, badRequest("the form is malformed")
	}
	object := make(map[string]any, len(values))
	for name, list := range values {
		if array, ok := strings.CutSuffix(name, "[]"); ok {
			object[array] = list
		} else {
			object[name] = list[len(list)-1]
		}
	}
	return json.Marshal(object)
}

// decode reads one JSON object into a message. Unknown fields are ignored, as
// newer callers may send more.
func decode[T any](body []byte) (T, error) {
	var message T
	if err := json.Unmarshal(body, &message); err != nil {
		return message, errs.Wrap(errs.Invalid, "400 Bad request - the body is not the expected JSON object", err)
	}
	return message, nil
}
