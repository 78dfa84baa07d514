package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"

	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/storage"
)

func (a *api) blobRoutes() []route {
	return []route{
		{"GET", "/projects/{id}/repository/blobs/{sha}/raw", anyone | readRepository, a.getRawBlob},
		{"GET", "/projects/{id}/repository/blobs/{sha}", anyone | readRepository, a.getBlob},
		{"GET", "/projects/{id}/snapshot", admin, a.getSnapshot},
	}
}

// caller is who asks, as gitaly is told.
func caller(r *http.Request) gitaly.Caller {
	who := gitaly.Caller{Address: auth.Address(r)}
	if u := actor(r); u != nil {
		who.ID, who.Username = "user-"+strconv.FormatInt(u.ID, 10), u.Username
	}
	return who
}

// content gives raw content of users a type that no browser runs, and a name (security-baseline.md H5).
func content(h http.Header, name string) {
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Disposition", storage.Disposition(name))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
}

// unchanged answers 304 to a client that has what the tag stands for.
func unchanged(w http.ResponseWriter, r *http.Request, tag string) bool {
	w.Header().Set("ETag", tag)
	for _, line := range r.Header.Values("If-None-Match") {
		for have := range strings.SplitSeq(line, ",") {
			have = strings.TrimSpace(have)
			if have == "*" || strings.TrimPrefix(have, "W/") == strings.TrimPrefix(tag, "W/") {
				w.WriteHeader(http.StatusNotModified)
				return true
			}
		}
	}
	return false
}

// sendBlob has workhorse send a blob, unless the client has it.
func (a *api) sendBlob(w http.ResponseWriter, r *http.Request, p project.Project, id, name string) error {
	if unchanged(w, r, `"`+id+`"`) {
		return nil
	}
	content(w.Header(), name)
	return a.handover.Blob(w.Header(), caller(r), p, id)
}

// getRawFile sends a file as it is.
func (a *api) getRawFile(w http.ResponseWriter, r *http.Request) error {
	p, shape, err := a.findFile(r)
	if err != nil {
		return err
	}
	fileHeaders(w.Header(), shape)
	return a.sendBlob(w, r, p, shape.BlobID, shape.FileName)
}

// getRawBlob sends a blob by its id, which has no name.
func (a *api) getRawBlob(w http.ResponseWriter, r *http.Request) error {
	p, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	id := segment(r, "sha")
	if _, err := git.BlobSize(r.Context(), id); err != nil {
		return missing(err, "Blob")
	}
	return a.sendBlob(w, r, p, id, id)
}

// getBlob puts a blob into JSON.
func (a *api) getBlob(w http.ResponseWriter, r *http.Request) error {
	_, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	id := segment(r, "sha")
	size, err := git.BlobSize(r.Context(), id)
	if err != nil {
		return missing(err, "Blob")
	}
	if size > maxFile {
		return message(http.StatusRequestEntityTooLarge, "The file is too large for this endpoint; use the raw one")
	}
	data, err := git.Blob(r.Context(), id, maxFile)
	if err != nil {
		return missing(err, "Blob")
	}
	return writeJSON(w, http.StatusOK, entity.Blob{Size: size, Encoding: "base64", Content: base64.StdEncoding.EncodeToString(data), SHA: id})
}

// getSnapshot sends the repository itself, for administrators.
func (a *api) getSnapshot(w http.ResponseWriter, r *http.Request) error {
	p, _, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	if params(r).Flag("wiki") { // there are none
		return notFound("Repository")
	}
	return a.handover.Snapshot(w.Header(), caller(r), p)
}

// limited refuses what somebody asks for too often within a minute. Without Redis it goes on.
func (a *api) limited(r *http.Request, name string, limit int64, text string, scope ...string) error {
	over, err := a.limiter.Over(r.Context(), name, limit, scope)
	if err != nil {
		a.Log.WarnContext(r.Context(), "not counted", slog.Any(logging.KeyError, err))
		return nil
	}
	if over {
		f := message(http.StatusTooManyRequests, text)
		f.reset = a.limiter.Reset()
		return f
	}
	return nil
}

// whoCounts is whose requests are counted together: a user's, or an address's.
func whoCounts(r *http.Request) string {
	if u := actor(r); u != nil {
		return "user " + strconv.FormatInt(u.ID, 10)
	}
	return "address " + auth.Address(r)
}

// weakTag is the ETag of an answer that is made anew each time from the same parts.
func weakTag(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + ":" + part)) // a hash takes everything
	}
	return `W/"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// oneSegment makes a name of a path or ref, which may hold slashes.
func oneSegment(name string) string { return path.Base(strings.ReplaceAll(name, "/", "-")) }
