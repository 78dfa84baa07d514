// Package uploadedtest does in tests what workhorse does with an upload.
package uploadedtest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/apijwt"
)

// Sign makes r a request of workhorse.
func Sign(tb testing.TB, secret []byte, r *http.Request) *http.Request {
	tb.Helper()
	token, err := apijwt.Sign(secret, apijwt.WorkhorseIssuer, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set(apijwt.WorkhorseHeader, token)
	return r
}

// Store writes content as an upload into dir and returns what workhorse says
// about it.
func Store(tb testing.TB, dir, name, content string) map[string]string {
	tb.Helper()
	f, err := os.CreateTemp(dir, "gitlab-workhorse-upload")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	return map[string]string{
		"name": name, "path": f.Name(), "remote_id": "", "remote_url": "", "size": strconv.Itoa(len(content)),
		"sha256": hex.EncodeToString(sum[:]), "upload_duration": "0.1",
	}
}

// Request returns the request with which workhorse follows an upload that it has
// stored as field; fields are those of Store.
func Request(tb testing.TB, secret []byte, method, target, field string, fields map[string]string) *http.Request {
	tb.Helper()
	token, err := apijwt.SignUpload(secret, fields)
	if err != nil {
		tb.Fatal(err)
	}
	list, err := apijwt.SignFields(secret, map[string]string{field: fields["path"]})
	if err != nil {
		tb.Fatal(err)
	}
	form := url.Values{field + "." + apijwt.UploadField: {token}}
	for name, value := range fields {
		form.Set(field+"."+name, value)
	}
	r := httptest.NewRequestWithContext(tb.Context(), method, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set(apijwt.FieldsHeader, list)
	return Sign(tb, secret, r)
}
