package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/rest/repo"
)

func (a *api) diffRoutes() []route {
	return []route{
		{"GET", "/projects/{id}/repository/commits/{sha:.+}/diff", anyone, a.commitDiff},
		{"GET", "/projects/{id}/repository/compare", anyone, a.compare},
	}
}

// commitDiff lists the files that a commit changes, against its first parent.
func (a *api) commitDiff(w http.ResponseWriter, r *http.Request) error {
	pg := page.Read(params(r))
	unified := params(r).Flag("unidiff")
	if err := params(r).Err(); err != nil {
		return err
	}
	_, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	c, err := git.Resolve(r.Context(), segment(r, "sha"))
	if err != nil {
		return missing(err, "Commit")
	}
	found, more, err := git.Diffs(r.Context(), repo.Before(c), c.GetId(), pg.Offset(), pg.Size)
	if err != nil {
		return err
	}
	pg.HeadersUncounted(w.Header(), a.self(r), more)
	return writeJSON(w, http.StatusOK, shapes(found, func(d repo.Diff) entity.Diff { return diffEntity(d, unified) }))
}

// maxCompared bounds the commits and the files of a comparison.
const maxCompared = 1000

// compare tells what is new in one revision since it left another; straight compares the two themselves.
func (a *api) compare(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("from", "to")
	from, to, straight, unified := p.String("from"), p.String("to"), p.Flag("straight"), p.Flag("unidiff")
	if err := p.Err(); err != nil {
		return err
	}
	proj, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	left, err := git.Resolve(r.Context(), from)
	if err != nil {
		return missing(err, "Ref")
	}
	right, err := git.Resolve(r.Context(), to)
	if err != nil {
		return missing(err, "Ref")
	}
	base := left.GetId()
	if !straight {
		if base, err = git.MergeBase(r.Context(), left.GetId(), right.GetId()); err != nil {
			return missing(err, "Merge Base")
		}
	}
	commits, _, err := git.Commits(r.Context(), repo.CommitQuery{From: right.GetId(), Not: left.GetId(), Limit: maxCompared})
	if err != nil {
		return err
	}
	diffs, _, err := git.Diffs(r.Context(), base, right.GetId(), 0, maxCompared)
	if err != nil {
		return err
	}
	dots := map[bool]string{true: "..", false: "..."}[straight]
	shape := entity.Compare{
		Commits:        shapes(commits, func(c *gitalypb.GitCommit) entity.Commit { return a.commitEntity(proj, c) }),
		Diffs:          shapes(diffs, func(d repo.Diff) entity.Diff { return diffEntity(d, unified) }),
		CompareSameRef: left.GetId() == right.GetId(),
		WebURL:         a.web(proj.FullPath, "-", "compare", from+dots+to),
	}
	slices.Reverse(shape.Commits) // oldest first
	if n := len(shape.Commits); n > 0 {
		shape.Commit = &shape.Commits[n-1]
	}
	return writeJSON(w, http.StatusOK, shape)
}

// diffEntity shows a changed file; unified puts the two lines with its names in front of the hunks.
func diffEntity(d repo.Diff, unified bool) entity.Diff {
	shape := entity.Diff{
		Diff: strings.ToValidUTF8(string(d.Patch), "\uFFFD"), Collapsed: d.Collapsed, TooLarge: d.TooLarge, NewPath: d.NewPath, OldPath: d.OldPath,
		AMode: fmt.Sprintf("%06o", d.OldMode), BMode: fmt.Sprintf("%06o", d.NewMode),
		NewFile: d.OldMode == 0, DeletedFile: d.NewMode == 0,
	}
	if d.OldMode == 0 {
		shape.AMode = "0"
	}
	if d.NewMode == 0 {
		shape.BMode = "0"
	}
	shape.RenamedFile = !shape.NewFile && !shape.DeletedFile && d.OldPath != d.NewPath
	if unified && !d.Binary && shape.Diff != "" {
		before, after := "a/"+d.OldPath, "b/"+d.NewPath
		if shape.NewFile {
			before = "/dev/null"
		}
		if shape.DeletedFile {
			after = "/dev/null"
		}
		shape.Diff = "--- " + before + "\n+++ " + after + "\n" + shape.Diff
	}
	return shape
}
