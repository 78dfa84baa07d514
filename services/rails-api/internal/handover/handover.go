// Package handover leaves an answer to workhorse: it says in a header what workhorse
// is to send (wire/workhorse.md §5), so that no file passes through rails-api.
// Whether the caller may have it is decided before.
package handover

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	wire "gitsplit/kit/internalapi"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/project"
)

// header is where workhorse looks.
const header = "Gitlab-Workhorse-Send-Data"

// Service writes the header. It is safe for concurrent use.
type Service struct {
	Gitaly *gitaly.Client
	// Downloads is the directory, on workhorse's host, where archives are kept; ""
	// keeps none.
	Downloads string
}

// say writes the header: a kind, and its parameters as base64 of JSON.
func say(h http.Header, kind string, params any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("hand over %s: %w", kind, err)
	}
	h.Set(header, kind+":"+base64.URLEncoding.EncodeToString(raw))
	return nil
}

// URL has another server's answer sent, of which nothing but these headers: the
// address is trusted and may be a permission by itself (wire/workhorse.md §5.3).
func URL(h http.Header, address string, headers ...string) error {
	type restrict struct {
		Enabled   bool
		AllowList []string
	}
	return say(h, "send-url", struct {
		URL                                        string
		ErrorResponseStatus, TimeoutResponseStatus int
		RestrictForwardedResponseHeaders           restrict
	}{address, http.StatusBadGateway, http.StatusGatewayTimeout, restrict{true, headers}})
}

// Blob has a blob sent.
func (s *Service) Blob(h http.Header, who gitaly.Caller, p project.Project, id string) error {
	type request struct {
		Repository wire.Repository `json:"repository"`
		Oid        string          `json:"oid"`
		Limit      int64           `json:"limit"`
	}
	server, err := s.Gitaly.Handle(p.Storage, who)
	if err != nil {
		return err
	}
	return say(h, "git-blob", struct {
		GitalyServer   gitaly.Handle
		GetBlobRequest request
	}{server, request{gitaly.WireRepository(p), id, -1}})
}

// Archive is an archive of the files at a commit.
type Archive struct {
	Commit string
	Name   string // of the file, and with its format's ending cut off, of the directory in it
	Prefix string // the directory in it
	Format gitalypb.GetArchiveRequest_Format
	Path   string // of the files; "" is all
}

// Archive has an archive sent. It is kept under the project's id and the commit
// (security-baseline.md C5).
func (s *Service) Archive(h http.Header, who gitaly.Caller, p project.Project, a Archive) error {
	server, err := s.Gitaly.Handle(p.Storage, who)
	if err != nil {
		return err
	}
	raw, err := proto.Marshal(&gitalypb.GetArchiveRequest{
		Repository: s.Gitaly.Repository(p), CommitId: a.Commit, Prefix: a.Prefix, Format: a.Format, Path: []byte(a.Path),
	})
	if err != nil {
		return fmt.Errorf("hand over an archive: %w", err)
	}
	return say(h, "git-archive", struct {
		GitalyServer                                gitaly.Handle
		GetArchiveRequest, ArchivePath, StoragePath string
		DisableCache, UseArchiveCleaner             bool
	}{
		server, base64.StdEncoding.EncodeToString(raw),
		filepath.Join(s.Downloads, fmt.Sprintf("project-%d", p.ID), a.Commit, "@v2", a.Name), s.Downloads,
		s.Downloads == "" || a.Path != "", s.Downloads != "", // names do not tell all paths apart
	})
}

// Diff has the text of git diff sent.
func (s *Service) Diff(h http.Header, who gitaly.Caller, p project.Project, left, right string) error {
	return s.pj(h, "git-diff", "RawDiffRequest", who, p,
		&gitalypb.RawDiffRequest{Repository: s.Gitaly.Repository(p), LeftCommitId: left, RightCommitId: right})
}

// Patch has the text of git format-patch sent.
func (s *Service) Patch(h http.Header, who gitaly.Caller, p project.Project, left, right string) error {
	return s.pj(h, "git-format-patch", "RawPatchRequest", who, p,
		&gitalypb.RawPatchRequest{Repository: s.Gitaly.Repository(p), LeftCommitId: left, RightCommitId: right})
}

// Snapshot has the repository itself sent, as a tar.
func (s *Service) Snapshot(h http.Header, who gitaly.Caller, p project.Project) error {
	return s.pj(h, "git-snapshot", "GetSnapshotRequest", who, p, &gitalypb.GetSnapshotRequest{Repository: s.Gitaly.Repository(p)})
}

// pj hands over with a request of gitaly as text: protobuf's JSON.
func (s *Service) pj(h http.Header, kind, key string, who gitaly.Caller, p project.Project, req proto.Message) error {
	server, err := s.Gitaly.Handle(p.Storage, who)
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(req)
	if err != nil {
		return fmt.Errorf("hand over %s: %w", kind, err)
	}
	return say(h, kind, map[string]any{"GitalyServer": server, key: string(text)})
}
