package access_test

import (
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	yes    = errs.Kind(255) // no error
	denied = errs.Denied
	hidden = errs.NotFound
)

func kindOf(err error) errs.Kind {
	if err == nil {
		return yes
	}
	return errs.KindOf(err)
}

func TestChecker_Can(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("team", visibility.Public)
	p := b.Project(g.ID, "private", visibility.Private)
	open := b.Project(g.ID, "public", visibility.Public)
	inner := b.Project(g.ID, "internal", visibility.Internal)
	people := map[string]*user.User{"nobody": nil}
	for name, level := range map[string]member.Level{
		"stranger": -1, "minimal": member.Minimal, "guest": member.Guest, "reporter": member.Reporter, "developer": member.Developer,
		"maintainer": member.Maintainer, "owner": member.Owner, "blocked": member.Owner,
	} {
		u := b.User(name)
		if level >= 0 {
			b.Member(member.OfProject(p.ID), u, level)
		}
		if name == "blocked" {
			u.State = user.Blocked
		}
		people[name] = &u
	}
	chief := b.Admin("chief")
	people["admin"] = &chief
	for who, want := range map[string][10]errs.Kind{
		// in the order of the actions: read, download, push, read members, admin project, members, protection, archive, rename, delete
		"nobody":     {hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden},
		"stranger":   {hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden},
		"minimal":    {hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden},
		"blocked":    {hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden, hidden},
		"guest":      {yes, denied, denied, yes, denied, denied, denied, denied, denied, denied},
		"reporter":   {yes, yes, denied, yes, denied, denied, denied, denied, denied, denied},
		"developer":  {yes, yes, yes, yes, denied, denied, denied, denied, denied, denied},
		"maintainer": {yes, yes, yes, yes, yes, yes, yes, denied, denied, denied},
		"owner":      {yes, yes, yes, yes, yes, yes, yes, yes, yes, yes},
		"admin":      {yes, yes, yes, yes, yes, yes, yes, yes, yes, yes},
	} {
		for i, kind := range want {
			if got := kindOf(b.Access.Can(t.Context(), people[who], access.Action(i), p)); got != kind {
				t.Errorf("%s, action %d: %v, want %v", who, i, got, kind)
			}
		}
		if got := kindOf(b.Access.Can(t.Context(), people[who], access.DownloadCode, open)); got != yes {
			t.Errorf("%s downloads a public project: %v", who, got)
		}
		if got, want := kindOf(b.Access.Can(t.Context(), people[who], access.DownloadCode, inner)), map[bool]errs.Kind{true: hidden, false: yes}[who == "nobody" || who == "blocked"]; got != want {
			t.Errorf("%s downloads an internal project: %v, want %v", who, got, want)
		}
	}
	if got := kindOf(b.Access.Can(t.Context(), people["owner"], access.Action(99), p)); got != denied {
		t.Errorf("an unknown action: %v", got)
	}
}

func TestChecker_CanNamespace(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	private := b.Group("private", visibility.Private)
	sub := b.Group("sub", visibility.Private, private)
	inner, public := b.Group("inner", visibility.Internal), b.Group("opened", visibility.Public)
	p := b.Project(sub.ID, "p", visibility.Private)
	ada, eve, projectOnly, maintainer, owner, chief := b.User("ada"), b.User("eve"), b.User("guest"), b.User("maintainer"), b.User("owner"), b.Admin("chief")
	b.Member(member.OfProject(p.ID), projectOnly, member.Guest)
	b.Member(member.OfNamespace(private.ID), maintainer, member.Maintainer)
	b.Member(member.OfNamespace(private.ID), owner, member.Owner)
	personal, err := namespace.New(b.DB).ByID(t.Context(), ada.NamespaceID)
	b.Must(err)
	for _, tc := range []struct {
		name   string
		who    *user.User
		action access.Action
		ns     namespace.Namespace
		want   errs.Kind
	}{
		{"nobody reads private", nil, access.ReadNamespace, private, hidden},
		{"nobody reads internal", nil, access.ReadNamespace, inner, hidden},
		{"nobody reads public", nil, access.ReadNamespace, public, yes},
		{"nobody reads personal", nil, access.ReadNamespace, personal, yes},
		{"stranger reads private", &eve, access.ReadNamespace, private, hidden},
		{"stranger reads internal", &eve, access.ReadNamespace, inner, yes},
		{"stranger changes public", &eve, access.AdminNamespace, public, denied},
		{"member of a project below reads", &projectOnly, access.ReadNamespace, private, yes},
		{"member of a project below reads members", &projectOnly, access.ReadMembers, private, denied},
		{"maintainer makes projects", &maintainer, access.CreateProjects, sub, yes},
		{"maintainer makes subgroups", &maintainer, access.CreateSubgroup, sub, yes},
		{"maintainer manages members", &maintainer, access.AdminMembers, private, denied},
		{"owner manages members", &owner, access.AdminMembers, sub, yes},
		{"owner changes", &owner, access.AdminNamespace, sub, yes},
		{"own personal namespace", &ada, access.CreateProjects, personal, yes},
		{"subgroup of a person", &ada, access.CreateSubgroup, personal, denied},
		{"other's personal namespace", &eve, access.CreateProjects, personal, denied},
		{"admin", &chief, access.AdminNamespace, private, yes},
		{"admin in a personal namespace", &chief, access.CreateProjects, personal, yes},
	} {
		if got := kindOf(b.Access.CanNamespace(t.Context(), tc.who, tc.action, tc.ns)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestChecker_levels: the highest of all memberships counts, unless it has expired.
func TestChecker_levels(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("team", visibility.Private)
	sub := b.Group("sub", visibility.Private, g)
	p := b.Project(sub.ID, "p", visibility.Private)
	ada := b.User("ada")
	check := func(name string, want member.Level) {
		t.Helper()
		if got, err := b.Access.ProjectLevel(t.Context(), ada.ID, p); got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	check("no member", member.NoAccess)
	b.Member(member.OfNamespace(g.ID), ada, member.Developer)
	check("of the root group", member.Developer)
	b.Member(member.OfProject(p.ID), ada, member.Guest)
	check("lower in the project", member.Developer)
	b.Member(member.OfNamespace(sub.ID), ada, member.Maintainer)
	check("higher in the subgroup", member.Maintainer)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	_, err := b.DB.Exec(t.Context(), "UPDATE members SET expires_at = $1 WHERE access_level > 10", today)
	b.Must(err)
	check("the others expired", member.Guest)
	if got, err := b.Access.NamespaceLevel(t.Context(), ada.ID, sub); got != member.NoAccess || err != nil {
		t.Errorf("expired in the group: %v, %v", got, err)
	}
	mine := b.Project(ada.NamespaceID, "mine", visibility.Private)
	if got, err := b.Access.ProjectLevel(t.Context(), ada.ID, mine); got != member.Owner || err != nil {
		t.Errorf("own project: %v, %v", got, err)
	}
}

func TestChecker_CheckRefs(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada, eve, developer := b.User("ada"), b.User("eve"), b.User("developer")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	b.Member(member.OfProject(p.ID), developer, member.Developer)
	ctx := t.Context()
	create := []access.Change{{Old: railstest.ID(0), New: railstest.ID(1), Ref: "refs/heads/x"}}
	remove := []access.Change{{Old: railstest.ID(1), New: railstest.ID(0), Ref: "refs/heads/main"}}
	for name, tc := range map[string]struct {
		who  *user.User
		do   []access.Change
		want errs.Kind
	}{
		"nobody": {nil, create, hidden}, "stranger": {&eve, create, hidden}, "developer": {&developer, create, yes}, "owner": {&ada, create, yes},
		"owner deletes the default branch": {&ada, remove, denied},
	} {
		if got := kindOf(b.Access.CheckRefs(ctx, tc.who, p, tc.do)); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	p.Archived = true
	if err := b.Access.CheckRefs(ctx, &ada, p, create); errs.Message(err) != "You can't push code to an archived project." {
		t.Errorf("archived: %v", err)
	}
}
