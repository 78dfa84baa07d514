package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/repo"
)

// maxFile bounds the files whose content is put into JSON; raw content has no bound, it is streamed.
const maxFile = 10 << 20

func (a *api) fileRoutes() []route {
	const file = "/projects/{id}/repository/files/{path:.+}"
	return []route{
		{"GET", file + "/raw", anyone | readRepository, a.getRawFile},
		{"GET", file, anyone | readRepository, a.getFile},
	}
}

// openFile opens the file in the path at the revision ref, and fills in what is known before its content.
func (a *api) openFile(ctx context.Context, r *http.Request) (*repo.Repo, *repo.File, entity.File, error) {
	name, ok := cleanPath(segment(r, "path"))
	if !ok || name == "" {
		params(r).Fault("file_path", "should be a valid file path")
	}
	shape := entity.File{FileName: path.Base(name), FilePath: name, Encoding: "base64", Ref: params(r).String("ref")}
	if err := params(r).Err(); err != nil {
		return nil, nil, shape, err
	}
	proj, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return nil, nil, shape, err
	}
	if shape.Ref == "" || shape.Ref == "HEAD" {
		shape.Ref = proj.DefaultBranch
	}
	at, err := git.Resolve(ctx, shape.Ref)
	if err != nil {
		return nil, nil, shape, missing(err, "Commit")
	}
	f, err := git.File(ctx, at.GetId(), name)
	if err != nil {
		return nil, nil, shape, missing(err, "File")
	}
	shape.CommitID, shape.BlobID, shape.Size, shape.ExecuteFilemode = at.GetId(), f.ID, f.Size, f.Executable
	return git, f, shape, nil
}

func (a *api) getFile(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // ends the stream of a file that is not read to its end
	git, f, shape, err := a.openFile(ctx, r)
	if err != nil {
		return err
	}
	if f.Size > maxFile {
		return message(http.StatusRequestEntityTooLarge, "The file is too large for this endpoint; use the raw one")
	}
	var content bytes.Buffer
	if _, err := f.WriteTo(&content); err != nil {
		return err
	}
	if shape.LastCommitID, err = git.LastCommit(ctx, shape.CommitID, shape.FilePath); err != nil {
		return err
	}
	sum := sha256.Sum256(content.Bytes())
	shape.ContentSHA256 = hex.EncodeToString(sum[:])
	shape.Content = base64.StdEncoding.EncodeToString(content.Bytes())
	fileHeaders(w.Header(), shape)
	w.Header().Set("X-Gitlab-Content-Sha256", shape.ContentSHA256)
	w.Header().Set("X-Gitlab-Last-Commit-Id", shape.LastCommitID)
	return writeJSON(w, http.StatusOK, shape)
}

// getRawFile sends a file as it is, under a type that no browser runs (security-baseline.md H5).
func (a *api) getRawFile(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	_, f, shape, err := a.openFile(ctx, r)
	if err != nil {
		return err
	}
	h := w.Header()
	fileHeaders(h, shape)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.FormatInt(f.Size, 10))
	h.Set("Content-Disposition", attachment(shape.FileName))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := f.WriteTo(w); err != nil {
		return aborted{err}
	}
	return nil
}

func fileHeaders(h http.Header, f entity.File) {
	h.Set("X-Gitlab-Blob-Id", f.BlobID)
	h.Set("X-Gitlab-Commit-Id", f.CommitID)
	h.Set("X-Gitlab-Encoding", f.Encoding)
	h.Set("X-Gitlab-Execute-Filemode", strconv.FormatBool(f.ExecuteFilemode))
	h.Set("X-Gitlab-File-Name", headerText(f.FileName))
	h.Set("X-Gitlab-File-Path", headerText(f.FilePath))
	h.Set("X-Gitlab-Ref", headerText(f.Ref))
	h.Set("X-Gitlab-Size", strconv.FormatInt(f.Size, 10))
}

// headerText escapes a name from outside that holds more than printable ASCII.
func headerText(s string) string {
	if strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) >= 0 {
		return url.PathEscape(s)
	}
	return s
}

func attachment(name string) string {
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": name}); v != "" {
		return v
	}
	return "attachment"
}
