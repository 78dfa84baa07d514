package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
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

// findFile tells about the file in the path at the revision ref, all but its content.
func (a *api) findFile(r *http.Request) (project.Project, entity.File, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // ends the stream: the content is not wanted
	opened, _, err := a.openFile(ctx, r)
	return opened.project, opened.shape, err
}

// opened is a file, its project and what is known before its content.
type opened struct {
	project project.Project
	git     *repo.Repo
	shape   entity.File
}

// openFile opens the file in the path at the revision ref.
func (a *api) openFile(ctx context.Context, r *http.Request) (opened, *repo.File, error) {
	name, ok := cleanPath(segment(r, "path"))
	if !ok || name == "" {
		params(r).Fault("file_path", "should be a valid file path")
	}
	o := opened{shape: entity.File{FileName: path.Base(name), FilePath: name, Encoding: "base64", Ref: params(r).String("ref")}}
	err := params(r).Err()
	if err != nil {
		return o, nil, err
	}
	if o.project, o.git, err = a.repository(r, access.DownloadCode); err != nil {
		return o, nil, err
	}
	if o.shape.Ref == "" || o.shape.Ref == "HEAD" {
		o.shape.Ref = o.project.DefaultBranch
	}
	at, err := o.git.Resolve(ctx, o.shape.Ref)
	if err != nil {
		return o, nil, missing(err, "Commit")
	}
	f, err := o.git.File(ctx, at.GetId(), name)
	if err != nil {
		return o, nil, missing(err, "File")
	}
	o.shape.CommitID, o.shape.BlobID, o.shape.Size, o.shape.ExecuteFilemode = at.GetId(), f.ID, f.Size, f.Executable
	return o, f, nil
}

func (a *api) getFile(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // ends the stream of a file that is not read to its end
	o, f, err := a.openFile(ctx, r)
	if err != nil {
		return err
	}
	git, shape := o.git, o.shape
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
