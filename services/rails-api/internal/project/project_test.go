package project_test

import (
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestHashedPath(t *testing.T) {
	t.Parallel()
	for id, want := range map[int64]string{
		1:  "@hashed/6b/86/6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b.git",
		26: "@hashed/5f/9c/5f9c4ab08cac7457e9111a30e4664920607ea2c115a1433d7be98e97e64244ca.git",
	} {
		if got := project.HashedPath(id); got != want {
			t.Errorf("%d: %s", id, got)
		}
	}
}

func FuzzIDOf(f *testing.F) {
	for _, s := range []string{"project-1", "project-01", "project-", "wiki-1", "project--1", "project-+1", "project-99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := project.IDOf(s)
		if ok && (project.Project{ID: id}).GLRepository() != s {
			t.Errorf("%q is %d", s, id)
		}
	})
}

func TestStore_Reserve(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("team", visibility.Internal)
	b.Group("sub", visibility.Private, g)
	b.Project(g.ID, "tool", visibility.Private)
	s := project.New(b.DB)
	for name, tc := range map[string]struct {
		in   project.NewProject
		want errs.Kind
	}{
		"in use":          {project.NewProject{Path: "TOOL"}, errs.Exists},
		"path of a group": {project.NewProject{Path: "Sub"}, errs.Exists},
		"too open":        {project.NewProject{Path: "x", Visibility: visibility.Public}, errs.Invalid},
		"bad path":        {project.NewProject{Path: "x.git"}, errs.Invalid},
		"bad name":        {project.NewProject{Path: "x", Name: "a\nb"}, errs.Invalid},
		"bad branch":      {project.NewProject{Path: "x", DefaultBranch: "a..b"}, errs.Invalid},
		"no namespace":    {project.NewProject{Path: "x", NamespaceID: 999}, errs.NotFound},
	} {
		if tc.in.NamespaceID == 0 {
			tc.in.NamespaceID = g.ID
		}
		if _, err := s.Reserve(t.Context(), tc.in, "default"); errs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	p, err := s.Reserve(t.Context(), project.NewProject{NamespaceID: g.ID, Path: "made"}, "default")
	if err != nil || p.FullPath != "team/made" || p.FullName != "Group team / made" || p.DefaultBranch != "main" || p.Visibility != visibility.Private {
		t.Errorf("reserved %+v, %v", p, err)
	}
	if _, err := s.ByID(t.Context(), p.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a reserved project is visible: %v", err)
	}
}

func TestStore_Update(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p, q := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(ada.NamespaceID, "q", visibility.Private)
	s, ctx := project.New(b.DB), t.Context()
	path, taken, public, yes, text := "moved", "Q", visibility.Public, true, "about"
	if _, err := s.Update(ctx, p.ID, project.Changes{Path: &taken}); errs.KindOf(err) != errs.Exists {
		t.Errorf("a path in use: %v", err)
	}
	got, err := s.Update(ctx, p.ID, project.Changes{Path: &path, Visibility: &public, Archived: &yes, Description: &text})
	if err != nil || got.FullPath != "ada/moved" || got.Visibility != public || !got.Archived || got.Description != text || got.DiskPath != p.DiskPath {
		t.Errorf("updated %+v, %v", got, err)
	}
	if found, moved, err := s.ByPath(ctx, "ada/p"); err != nil || !moved || found.ID != p.ID {
		t.Errorf("former path: %+v, %v, %v", found, moved, err)
	}
	back := "p"
	_, err = s.Update(ctx, q.ID, project.Changes{Path: &back}) // takes the former path of the other
	b.Must(err)
	if found, moved, err := s.ByPath(ctx, "ada/p"); err != nil || moved || found.ID != q.ID {
		t.Errorf("taken over: %+v, %v, %v", found, moved, err)
	}
	for _, odd := range []string{"ada/%", "ada/_", "ada/p\x00", "ada/p/", "ada", "", "ada/P%"} {
		if found, _, err := s.ByPath(ctx, odd); err == nil {
			t.Errorf("%q found %+v", odd, found)
		}
	}
}

func TestStore_List(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada, eve := b.User("ada"), b.User("eve")
	g := b.Group("team", visibility.Public)
	sub := b.Group("sub", visibility.Public, g)
	b.Project(g.ID, "open", visibility.Public)
	b.Project(sub.ID, "inner", visibility.Internal)
	closed := b.Project(sub.ID, "closed", visibility.Private)
	b.Project(ada.NamespaceID, "own", visibility.Private)
	b.Member(member.OfProject(closed.ID), eve, member.Reporter)
	yes, no := true, false
	_, err := project.New(b.DB).Update(t.Context(), closed.ID, project.Changes{Archived: &yes})
	b.Must(err)
	for name, tc := range map[string]struct {
		f    project.Filter
		want string
	}{
		"nobody":          {project.Filter{}, "open"},
		"ada":             {project.Filter{ViewerID: ada.ID}, "inner open own"},
		"eve":             {project.Filter{ViewerID: eve.ID}, "closed inner open"},
		"admin":           {project.Filter{ViewerID: eve.ID, ViewerAdmin: true}, "closed inner open own"},
		"owned":           {project.Filter{ViewerID: ada.ID, Owned: true}, "own"},
		"membership":      {project.Filter{ViewerID: eve.ID, Membership: true}, "closed"},
		"level":           {project.Filter{ViewerID: eve.ID, MinLevel: 30}, ""},
		"namespace":       {project.Filter{ViewerID: eve.ID, NamespaceID: g.ID}, "open"},
		"with subgroups":  {project.Filter{ViewerID: eve.ID, NamespaceID: g.ID, Subgroups: true}, "closed inner open"},
		"of a user":       {project.Filter{ViewerID: ada.ID, OwnerID: ada.ID}, "own"},
		"of another user": {project.Filter{ViewerID: eve.ID, OwnerID: ada.ID}, ""},
		"archived":        {project.Filter{ViewerID: eve.ID, Archived: &yes}, "closed"},
		"not archived":    {project.Filter{ViewerID: eve.ID, Archived: &no}, "inner open"},
		"visibility":      {project.Filter{ViewerID: eve.ID, Visibility: visibility.Internal}, "inner"},
		"search":          {project.Filter{ViewerID: eve.ID, Search: "TEAM/SUB"}, "closed inner"},
		"search wildcard": {project.Filter{ViewerID: eve.ID, Search: "_"}, ""},
		"id after":        {project.Filter{ViewerID: eve.ID, IDAfter: closed.ID - 1}, "closed"},
		"id before":       {project.Filter{ViewerID: eve.ID, IDBefore: closed.ID}, "inner open"},
	} {
		tc.f.OrderBy, tc.f.Asc = "path", true
		list, total, err := project.New(b.DB).List(t.Context(), tc.f)
		paths := []string{}
		for _, p := range list {
			paths = append(paths, p.Path)
		}
		if got := strings.Join(paths, " "); err != nil || got != tc.want || total != len(list) {
			t.Errorf("%s: %q of %d, %v; want %q", name, got, total, err, tc.want)
		}
	}
	list, total, err := project.New(b.DB).List(t.Context(), project.Filter{ViewerAdmin: true, Page: postgres.Page{Limit: 2, Offset: 3}})
	if err != nil || total != 4 || len(list) != 1 {
		t.Errorf("last page: %d of %d, %v", len(list), total, err)
	}
	if _, _, err := project.New(b.DB).List(t.Context(), project.Filter{OrderBy: "id; DROP TABLE users"}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("order by nonsense: %v", err)
	}
}
