// Package uploaded is what rails-api and workhorse agree on about uploads
// (wire/workhorse.md §6): rails-api permits one and says where it goes, workhorse
// stores it and sends the request with a few signed fields in place of each file.
// Nothing but the signed part of them is believed.
//
// A route with uploads has two handlers: one for <path>/authorize, which calls
// Asked, decides, and answers with Permit; and one for the path itself, which
// calls Body or Form and moves the files away (package storage) before it answers:
// workhorse removes what is left then.
package uploaded

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/errs"
)

// MediaType marks an answer that workhorse acts on.
const MediaType = "application/vnd.gitlab-workhorse+json"

// Destination says where workhorse stores an upload (wire/workhorse.md §2.3, §6.6):
// below TempPath or at RemoteObject.
type Destination struct {
	TempPath            string        `json:"TempPath,omitempty"`
	RemoteObject        *RemoteObject `json:"RemoteObject,omitempty"`
	MaximumSize         int64         `json:"MaximumSize,omitempty"` // bytes; 0 is no limit
	UploadHashFunctions []string      `json:"UploadHashFunctions,omitempty"`
}

// RemoteObject is a place in object storage behind signed addresses.
type RemoteObject struct {
	ID               string            `json:"ID"`
	GetURL           string            `json:"GetURL,omitempty"`
	StoreURL         string            `json:"StoreURL,omitempty"`
	DeleteURL        string            `json:"DeleteURL,omitempty"`
	SkipDelete       bool              `json:"SkipDelete"`
	CustomPutHeaders bool              `json:"CustomPutHeaders"`
	PutHeaders       map[string]string `json:"PutHeaders,omitempty"`
	Timeout          float64           `json:"Timeout"` // seconds
	MultipartUpload  *MultipartUpload  `json:"MultipartUpload,omitempty"`
}

// MultipartUpload takes a large object in parts of PartSize bytes, the last of
// which may be shorter.
type MultipartUpload struct {
	PartSize    int64    `json:"PartSize"`
	PartURLs    []string `json:"PartURLs"`
	CompleteURL string   `json:"CompleteURL"`
	AbortURL    string   `json:"AbortURL"`
}

// File is one stored upload. Its fields were signed by workhorse; Name is the
// client's word.
type File struct {
	Name     string
	Path     string // of a local file below one of the roots, else ""
	RemoteID string // of an object, else ""
	Size     int64  // bytes
	Sums     map[string]string
	Duration time.Duration // of the upload
}

// Sum returns a check sum in hexadecimal, "" if workhorse was not asked for it.
func (f File) Sum(function string) string { return f.Sums[function] }

// Receiver reads what workhorse sends.
type Receiver struct {
	secrets [][]byte
	roots   []string
	now     func() time.Time
}

// New returns a Receiver. secrets are the keys of workhorse, two while they
// change; roots the directories in which its files may lie.
func New(secrets [][]byte, now func() time.Time, roots ...string) *Receiver {
	return &Receiver{secrets: secrets, roots: roots, now: now}
}

// Asked checks that workhorse sends the request; else it is errs.Denied.
func (v *Receiver) Asked(r *http.Request) error {
	err := apijwt.Verify(v.secrets, apijwt.WorkhorseIssuer, r.Header.Get(apijwt.WorkhorseHeader), v.now())
	if err != nil {
		return errs.Wrap(errs.Denied, apijwt.Refusal("Nil JSON web token or bad signature", err), err)
	}
	return nil
}

// Permit answers the question whether an upload may go on with yes: permission is
// a Destination, or holds one and more.
func (v *Receiver) Permit(w http.ResponseWriter, permission any) error {
	body, err := json.Marshal(permission)
	if err != nil {
		return fmt.Errorf("encode permission: %w", err)
	}
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // workhorse left
	return nil
}
