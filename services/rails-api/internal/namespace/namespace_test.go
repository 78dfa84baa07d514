package namespace_test

import (
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestStore_Create(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("team", visibility.Internal)
	sub := b.Group("sub", visibility.Private, g)
	if sub.FullPath != "team/sub" || sub.FullName != "Group team / Group sub" || sub.RootID() != g.ID || len(sub.TraversalIDs) != 2 {
		t.Errorf("subgroup %+v", sub)
	}
	b.Project(g.ID, "tool", visibility.Private)
	personal, absent := b.User("ada").NamespaceID, int64(999)
	for name, tc := range map[string]struct {
		in   namespace.NewNamespace
		want errs.Kind
	}{
		"in use":             {namespace.NewNamespace{Path: "TEAM", Name: "x"}, errs.Exists},
		"path of a project":  {namespace.NewNamespace{ParentID: &g.ID, Path: "Tool", Name: "x"}, errs.Exists},
		"below a person":     {namespace.NewNamespace{ParentID: &personal, Path: "x", Name: "x"}, errs.Invalid},
		"below nothing":      {namespace.NewNamespace{ParentID: &absent, Path: "x", Name: "x"}, errs.NotFound},
		"too open":           {namespace.NewNamespace{ParentID: &g.ID, Path: "x", Name: "x", Visibility: visibility.Public}, errs.Invalid},
		"unknown visibility": {namespace.NewNamespace{Path: "x", Name: "x", Visibility: "odd"}, errs.Invalid},
		"reserved":           {namespace.NewNamespace{Path: "api", Name: "x"}, errs.Invalid},
		"no name":            {namespace.NewNamespace{Path: "x"}, errs.Invalid},
	} {
		tc.in.Kind = namespace.Group
		if _, err := namespace.New(b.DB).Create(t.Context(), tc.in); errs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestStore_Update(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("a", visibility.Private)
	sub := b.Group("b", visibility.Private, g)
	b.Group("ab", visibility.Private) // begins alike and stays
	p := b.Project(sub.ID, "p", visibility.Private)
	s, ctx := namespace.New(b.DB), t.Context()
	to, back := "new-a", "a"
	_, err := s.Update(ctx, g.ID, namespace.Changes{Path: &to})
	b.Must(err)
	check := func(path, full string, moved bool) {
		t.Helper()
		got, m, err := project.New(b.DB).ByPath(ctx, path)
		if err != nil || got.ID != p.ID || got.FullPath != full || m != moved {
			t.Errorf("%s: %q %v, %v", path, got.FullPath, m, err)
		}
	}
	check("a/b/p", "new-a/b/p", true)
	check("new-a/b/p", "new-a/b/p", false)
	if n, moved, err := s.ByPath(ctx, "A/B"); err != nil || n.ID != sub.ID || !moved {
		t.Errorf("former path of a subgroup: %+v, %v, %v", n, moved, err)
	}
	if n, moved, err := s.ByPath(ctx, "ab"); err != nil || moved || n.FullPath != "ab" {
		t.Errorf("the neighbour: %+v, %v, %v", n, moved, err)
	}
	_, err = s.Update(ctx, g.ID, namespace.Changes{Path: &back})
	b.Must(err)
	check("a/b/p", "a/b/p", false)
	check("new-a/b/p", "a/b/p", true)
	taken := "AB"
	if _, err := s.Update(ctx, g.ID, namespace.Changes{Path: &taken}); errs.KindOf(err) != errs.Exists {
		t.Errorf("a path in use: %v", err)
	}
	upper := "A"
	n, err := s.Update(ctx, g.ID, namespace.Changes{Path: &upper})
	if err != nil || n.FullPath != "A" {
		t.Errorf("other case: %+v, %v", n, err)
	}
}

func TestStore_Delete(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("team", visibility.Private)
	sub := b.Group("sub", visibility.Private, g)
	s := namespace.New(b.DB)
	if err := s.Delete(t.Context(), g.ID); errs.KindOf(err) != errs.Conflict || errs.Message(err) != "the group is not empty" {
		t.Errorf("with a subgroup: %v", err)
	}
	b.Must(s.Delete(t.Context(), sub.ID))
	b.Project(g.ID, "p", visibility.Private)
	if err := s.Delete(t.Context(), g.ID); errs.KindOf(err) != errs.Conflict {
		t.Errorf("with a project: %v", err)
	}
	if err := s.Delete(t.Context(), sub.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("twice: %v", err)
	}
}

func TestStore_List(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	open, closed := b.Group("open", visibility.Public), b.Group("closed", visibility.Private)
	b.Group("inner", visibility.Internal)
	sub := b.Group("sub", visibility.Private, closed)
	p := b.Project(sub.ID, "p", visibility.Private)
	ada, eve, guest := b.User("ada"), b.User("eve"), b.User("guest")
	b.Member(member.OfNamespace(closed.ID), ada, member.Owner)
	b.Member(member.OfProject(p.ID), guest, member.Guest)
	b.Member(member.OfNamespace(open.ID), eve, member.Developer)
	for name, tc := range map[string]struct {
		f    namespace.Filter
		want string
	}{
		"nobody":              {namespace.Filter{}, "open"},
		"stranger":            {namespace.Filter{ViewerID: eve.ID}, "inner open"},
		"owner":               {namespace.Filter{ViewerID: ada.ID}, "closed closed/sub inner open"},
		"member of a project": {namespace.Filter{ViewerID: guest.ID}, "closed closed/sub inner open"},
		"admin":               {namespace.Filter{ViewerID: eve.ID, ViewerAdmin: true}, "closed closed/sub inner open"},
		"owned":               {namespace.Filter{ViewerID: ada.ID, Owned: true}, "closed closed/sub"},
		"level":               {namespace.Filter{ViewerID: eve.ID, MinLevel: 30}, "open"},
		"top level":           {namespace.Filter{ViewerID: ada.ID, TopLevel: true, Search: "E"}, "closed inner open"},
		"below":               {namespace.Filter{ViewerID: ada.ID, ParentID: closed.ID}, "closed/sub"},
		"search for %":        {namespace.Filter{ViewerID: ada.ID, Search: "%"}, ""},
	} {
		tc.f.Kind, tc.f.OrderBy, tc.f.Asc = namespace.Group, "path", true
		list, total, err := namespace.New(b.DB).List(t.Context(), tc.f)
		paths := []string{}
		for _, n := range list {
			paths = append(paths, n.FullPath)
		}
		if got := strings.Join(paths, " "); err != nil || got != tc.want || total != len(list) {
			t.Errorf("%s: %q of %d, %v; want %q", name, got, total, err, tc.want)
		}
	}
}
