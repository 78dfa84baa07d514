package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/rest/repo"
)

func (a *api) commitRoutes() []route {
	const list = "/projects/{id}/repository/commits"
	return []route{
		{"GET", list, anyone, a.listCommits},
		{"GET", list + "/{sha:.+}", anyone, a.getCommit},
	}
}

// listCommits answers without totals: counting a history means walking it.
func (a *api) listCommits(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	ref, all := p.String("ref_name"), p.Flag("all")
	path, ok := cleanPath(p.String("path"))
	if !ok {
		p.Fault("path", "is invalid")
	}
	q := repo.CommitQuery{
		Path:        path,
		Author:      p.String("author"),
		Since:       p.Time("since"),
		Until:       p.Time("until"),
		FirstParent: p.Flag("first_parent"),
		Topological: p.Enum("order", "default", "default", "topo") == "topo",
		Offset:      pg.Offset(),
		Limit:       pg.Size,
	}
	if len(q.Author) > maxPattern {
		p.Fault("author", "is too long")
	}
	if err := p.Err(); err != nil {
		return err
	}
	proj, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	if !all {
		from, err := git.Resolve(r.Context(), ref)
		if is(err, errs.NotFound) && ref == "" {
			pg.HeadersUncounted(w.Header(), a.self(r), false)
			return writeJSON(w, http.StatusOK, []entity.Commit{}) // nothing was pushed yet
		}
		if err != nil {
			return missing(err, "Ref")
		}
		q.From = from.GetId()
	}
	list, more, err := git.Commits(r.Context(), q)
	if err != nil {
		return err
	}
	pg.HeadersUncounted(w.Header(), a.self(r), more)
	return writeJSON(w, http.StatusOK, shapes(list, func(c *gitalypb.GitCommit) entity.Commit { return a.commitEntity(proj, c) }))
}

func (a *api) getCommit(w http.ResponseWriter, r *http.Request) error {
	stats := params(r).Bool("stats")
	if err := params(r).Err(); err != nil {
		return err
	}
	proj, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	c, err := git.Resolve(r.Context(), segment(r, "sha"))
	if err != nil {
		return missing(err, "Commit")
	}
	detail := entity.CommitDetail{Commit: a.commitEntity(proj, c), ProjectID: proj.ID}
	if stats == nil || *stats {
		switch added, deleted, err := git.Stats(r.Context(), c.GetId()); {
		case err == nil:
			detail.Stats = &entity.CommitStats{Additions: added, Deletions: deleted, Total: added + deleted}
		case !is(err, errs.Unimplemented): // an older gitaly: the commit is worth showing without them
			return err
		}
	}
	return writeJSON(w, http.StatusOK, detail)
}
