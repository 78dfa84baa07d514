package rest

import (
	"net/http"
	"strings"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/handover"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/repo"
)

func (a *api) archiveRoutes() []route {
	return []route{{"GET", "/projects/{id}/repository/archive{format:(?:\\.[a-z0-9.]+)?}", anyone | readRepository, a.getArchive}}
}

// archiveFormats are the endings of archive names.
var archiveFormats = map[string]gitalypb.GetArchiveRequest_Format{ //nolint:gochecknoglobals // a constant
	".tar.gz": gitalypb.GetArchiveRequest_TAR_GZ, ".tgz": gitalypb.GetArchiveRequest_TAR_GZ, ".gz": gitalypb.GetArchiveRequest_TAR_GZ,
	".tar.bz2": gitalypb.GetArchiveRequest_TAR_BZ2, ".tbz": gitalypb.GetArchiveRequest_TAR_BZ2, ".tbz2": gitalypb.GetArchiveRequest_TAR_BZ2,
	".tb2": gitalypb.GetArchiveRequest_TAR_BZ2, ".bz2": gitalypb.GetArchiveRequest_TAR_BZ2,
	".tar": gitalypb.GetArchiveRequest_TAR, ".zip": gitalypb.GetArchiveRequest_ZIP,
}

const defaultArchive = ".tar.gz"

// getArchive sends the files at a revision as one file.
func (a *api) getArchive(w http.ResponseWriter, r *http.Request) error {
	dir, ok := cleanPath(params(r).String("path"))
	if !ok {
		params(r).Fault("path", "should be a valid file path")
	}
	ref := params(r).String("sha")
	if err := params(r).Err(); err != nil {
		return err
	}
	p, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	ending := segment(r, "format")
	if ending == "" {
		ending = defaultArchive
	}
	if ref == "" {
		ref = p.DefaultBranch
	}
	return a.sendArchive(w, r, archiveOf{project: p, git: git, ref: ref, ending: ending, path: dir, withID: true})
}

// archiveOf says what to pack, and what to call it.
type archiveOf struct {
	project project.Project
	git     *repo.Repo
	ref     string
	ending  string
	path    string // "" is everything
	withID  bool   // the commit is part of the name
}

// archiveLimited is what those read who ask for too many archives.
const archiveLimited = "This archive has been requested too many times. Try again later."

func (a *api) sendArchive(w http.ResponseWriter, r *http.Request, of archiveOf) error {
	format, ok := archiveFormats[of.ending]
	if !ok {
		return notFound("File")
	}
	if err := a.limited(r, "archive", a.Limits.Archives, archiveLimited, whoCounts(r), of.project.FullPath); err != nil {
		return err
	}
	c, err := of.git.Resolve(r.Context(), of.ref)
	if err != nil {
		return missing(err, "File")
	}
	name := of.project.Path + "-" + of.ref
	if of.withID {
		name += "-" + c.GetId()
	}
	if of.path != "" {
		name += "-" + of.path
	}
	name = oneSegment(name)
	if unchanged(w, r, weakTag(c.GetId(), name+of.ending, of.path)) {
		return nil
	}
	return a.handover.Archive(w.Header(), caller(r), of.project, handover.Archive{
		Commit: c.GetId(), Name: name + of.ending, Prefix: name, Format: format, Path: of.path,
	})
}

// archiveEnding splits the name of an archive; the longest ending counts.
func archiveEnding(name string) (stem, ending string, ok bool) {
	for e := range archiveFormats {
		if strings.HasSuffix(name, e) && len(e) > len(ending) {
			ending = e
		}
	}
	return strings.TrimSuffix(name, ending), ending, ending != ""
}
