package param

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/url"
)

// maxParts bounds the fields of a multipart body.
const maxParts = 1000

// multipartForm reads the plain fields of a multipart body that is already in memory; files are not parameters and are left out.
func multipartForm(boundary string, body []byte) (url.Values, error) {
	if boundary == "" {
		return nil, errors.New("multipart body without a boundary")
	}
	form := url.Values{}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return form, nil
		}
		if err != nil {
			return nil, err
		}
		if part.FileName() != "" || part.FormName() == "" {
			continue
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		form.Add(part.FormName(), string(value))
	}
	return nil, errors.New("too many fields")
}
