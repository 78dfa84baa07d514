package param

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"gitsplit/services/rails-api/internal/jsondepth"
)

// MaxBody is the largest body that Parse reads, in bytes (security-baseline.md §12).
const MaxBody = 1 << 20

// Failures of Parse.
var (
	// ErrTooLarge means that the body is longer than MaxBody.
	ErrTooLarge = errors.New("the request body is too large")
	// ErrMalformed means that the query or the body cannot be read as what it says it is.
	ErrMalformed = errors.New("the request is malformed")
	// ErrContentType means that the body has a type that is not understood.
	ErrContentType = errors.New("the content type of the request is not supported")
)

// Parse reads the query and, unless it is a GET or HEAD, the body of the request. A name in both is taken from the body.
func Parse(r *http.Request) (*Set, error) {
	s, err := ParseQuery(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Body == nil {
		return s, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, ErrTooLarge
	}
	if err != nil {
		return nil, errors.Join(ErrMalformed, err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return s, nil
	}
	return s, s.addBody(r.Header.Get("Content-Type"), body)
}

// ParseQuery is Parse without the body, which is left unread.
func ParseQuery(r *http.Request) (*Set, error) {
	s := &Set{values: make(map[string]any)}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.Join(ErrMalformed, err)
	}
	s.addForm(query)
	return s, nil
}

func (s *Set) addBody(contentType string, body []byte) error {
	kind, attrs, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ErrContentType
	}
	switch {
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return s.addJSON(body)
	case kind == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return errors.Join(ErrMalformed, err)
		}
		s.addForm(form)
		return nil
	case kind == "multipart/form-data":
		return s.addMultipart(attrs["boundary"], body)
	default:
		return ErrContentType
	}
}

func (s *Set) addForm(form url.Values) {
	for key, values := range form {
		name, isList := strings.CutSuffix(key, "[]")
		if !isList {
			s.values[name] = values[len(values)-1]
			continue
		}
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		s.values[name] = list
	}
}

func (s *Set) addJSON(body []byte) error {
	if jsondepth.Exceeds(body) {
		return ErrMalformed
	}
	var object map[string]any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // ids keep every digit
	if err := dec.Decode(&object); err != nil {
		return errors.Join(ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ErrMalformed // a second document
	}
	for name, v := range object {
		s.values[strings.TrimSuffix(name, "[]")] = v
	}
	return nil
}

func (s *Set) addMultipart(boundary string, body []byte) error {
	form, err := multipartForm(boundary, body)
	if err != nil {
		return errors.Join(ErrMalformed, err)
	}
	s.addForm(form)
	return nil
}
