package lfshttp

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/uploaded"
)

// maxSize is more than any object has: 18 digits fit the routes.
const maxSize = 1e18 - 1

// permission is the answer to workhorse's question whether it may take an object.
type permission struct {
	uploaded.Destination
	OID  string `json:"LfsOid"`
	Size int64  `json:"LfsSize"`
}

// named reads the id and the size that the route has matched.
func named(rest string) (oid string, size int64, err error) {
	oid, digits, _ := strings.Cut(rest, "/")
	size, err = strconv.ParseInt(digits, 10, 64)
	return oid, size, err
}

// authorize tells workhorse where to store an object. Its sum is for store to compare.
func (a *api) authorize(w http.ResponseWriter, r *http.Request, path, rest string) error {
	oid, size, err := named(rest)
	if err != nil {
		return err
	}
	if _, err := a.admit(r, path, access.ReceivePack, a.Now()); err != nil {
		return err
	}
	if err := a.Uploads.Asked(r); err != nil {
		return err
	}
	// 0 would be no limit; one byte too many is noticed in the end.
	d, err := a.Storage.Destination(r.Context(), max(size, 1), "sha256")
	if err != nil {
		return err
	}
	return a.Uploads.Permit(w, permission{d, oid, size})
}

// store takes an object that workhorse has stored: checks what it is, keeps it if
// nobody has brought it before, and links it to the project.
func (a *api) store(w http.ResponseWriter, r *http.Request, path, rest string) error {
	oid, size, err := named(rest)
	if err != nil {
		return err
	}
	file, err := a.Uploads.Body(r)
	if errs.KindOf(err) == errs.Invalid {
		return errs.Wrap(errs.Denied, forbidden, err)
	}
	if err != nil {
		return err
	}
	// An upload may take longer than its token lives: it counts that it began in time.
	c, err := a.admit(r, path, access.ReceivePack, a.Now().Add(-file.Duration))
	if err != nil {
		return err
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if file.Size != size || file.Sum("sha256") != oid {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "SHA256 or size mismatch") // workhorse left
		return nil
	}
	linked, err := a.files.Link(r.Context(), c.Project.ID, oid, size)
	if err == nil && !linked {
		err = a.keep(r, c.Project.ID, oid, file)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusOK)
	return nil
}

// keep stores an object for the first time. What dies in between leaves a row by
// which the file is found and removed.
func (a *api) keep(r *http.Request, projectID int64, oid string, file uploaded.File) error {
	o, err := a.files.Reserve(r.Context(), oid, file.Size)
	if err != nil {
		return err
	}
	if err := a.Storage.Keep(r.Context(), file, o.Key()); err != nil {
		return err
	}
	return a.files.Publish(r.Context(), projectID, o)
}

// download lets workhorse send an object of the project.
func (a *api) download(w http.ResponseWriter, r *http.Request, path, oid string) error {
	c, err := a.admit(r, path, access.UploadPack, a.Now())
	if err != nil {
		return err
	}
	o, err := a.files.Get(r.Context(), c.Project.ID, oid)
	if err != nil {
		return err
	}
	return a.Storage.Send(r.Context(), w, o.Key(), "application/octet-stream", oid)
}
