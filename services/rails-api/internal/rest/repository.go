package rest

import (
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/repo"
)

// repository returns the project that the path names and its repository, if the caller may do a with it.
func (a *api) repository(r *http.Request, act access.Action) (project.Project, *repo.Repo, error) {
	p, err := a.project(r, act)
	if err != nil {
		return p, nil, err
	}
	open, err := repo.Open(a.Gitaly, p)
	return p, open, err
}

// missing gives an absent thing its name.
func missing(err error, what string) error {
	if is(err, errs.NotFound) {
		return notFound(what)
	}
	return err
}

// cleanPath checks a path within a repository (security-baseline.md V4) and returns it without a slash at its ends;
// "" is the root.
func cleanPath(p string) (string, bool) {
	p = strings.Trim(p, "/")
	if p == "" || p == "." {
		return "", true
	}
	return p, filepath.IsLocal(p) && path.Clean(p) == p
}

func (a *api) commitEntity(p project.Project, c *gitalypb.GitCommit) entity.Commit {
	shape := entity.Commit{
		ID:               c.GetId(),
		ShortID:          c.GetId()[:min(len(c.GetId()), 8)],
		CreatedAt:        when(c.GetCommitter()),
		ParentIDs:        entity.List(c.GetParentIds()),
		Title:            string(c.GetSubject()),
		Message:          string(c.GetBody()),
		AuthorName:       string(c.GetAuthor().GetName()),
		AuthorEmail:      string(c.GetAuthor().GetEmail()),
		AuthoredDate:     when(c.GetAuthor()),
		CommitterName:    string(c.GetCommitter().GetName()),
		CommitterEmail:   string(c.GetCommitter().GetEmail()),
		CommittedDate:    when(c.GetCommitter()),
		Trailers:         map[string]string{},
		ExtendedTrailers: map[string][]string{},
		WebURL:           a.web(p.FullPath, "-", "commit", c.GetId()),
	}
	for _, t := range c.GetTrailers() {
		name := string(t.GetKey())
		shape.Trailers[name] = string(t.GetValue())
		shape.ExtendedTrailers[name] = append(shape.ExtendedTrailers[name], string(t.GetValue()))
	}
	return shape
}

// when prints the moment of a signature in the signer's own zone.
func when(who *gitalypb.CommitAuthor) string {
	t := who.GetDate().AsTime()
	if zone, err := time.Parse("-0700", string(who.GetTimezone())); err == nil {
		t = t.In(zone.Location())
	}
	return t.Format("2006-01-02T15:04:05.000-07:00")
}
