package user_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestStore_Create(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("Ada")
	b.Group("team", visibility.Private)
	for name, tc := range map[string]struct {
		in    user.NewUser
		want  errs.Kind
		field string
	}{
		"same name":        {user.NewUser{Username: "ada", Name: "A", Email: "a@example.org"}, errs.Exists, "username"},
		"same e-mail":      {user.NewUser{Username: "bob", Name: "A", Email: "ADA@example.org"}, errs.Exists, "email"},
		"name of a group":  {user.NewUser{Username: "TEAM", Name: "A", Email: "a@example.org"}, errs.Exists, "path"},
		"reserved":         {user.NewUser{Username: "api", Name: "A", Email: "a@example.org"}, errs.Invalid, "username"},
		"bad name":         {user.NewUser{Username: "a b", Name: "A", Email: "a@example.org"}, errs.Invalid, "username"},
		"blank":            {user.NewUser{Username: "bob", Name: " ", Email: "a@example.org"}, errs.Invalid, "name"},
		"no e-mail":        {user.NewUser{Username: "bob", Name: "A", Email: "bob"}, errs.Invalid, "email"},
		"e-mail with name": {user.NewUser{Username: "bob", Name: "A", Email: "Bob <bob@example.org>"}, errs.Invalid, "email"},
		"long e-mail":      {user.NewUser{Username: "bob", Name: "A", Email: strings.Repeat("b", 300) + "@example.org"}, errs.Invalid, "email"},
		"bad state":        {user.NewUser{Username: "bob", Name: "A", Email: "a@example.org", State: "odd"}, errs.Invalid, "state"},
	} {
		_, err := user.New(b.DB).Create(t.Context(), tc.in)
		fe, _ := errors.AsType[*postgres.FieldError](err)
		if errs.KindOf(err) != tc.want || fe == nil || fe.Field != tc.field {
			t.Errorf("%s: %v, want %v of %s", name, err, tc.want, tc.field)
		}
	}
	ns, err := namespace.New(b.DB).ByID(t.Context(), ada.NamespaceID)
	if err != nil || ns.FullPath != "Ada" || ns.Kind != namespace.User || *ns.OwnerID != ada.ID || ns.RootID() != ns.ID {
		t.Errorf("personal namespace %+v, %v", ns, err)
	}
	for _, login := range []string{"ADA", "ada@EXAMPLE.org"} {
		if got, err := user.New(b.DB).ByLogin(t.Context(), login); err != nil || !cmp.Equal(got, ada) {
			t.Errorf("%s: %+v, %v", login, got, err)
		}
	}
	if any, err := user.New(b.DB).Any(t.Context()); !any || err != nil {
		t.Errorf("any: %v, %v", any, err)
	}
}

func TestStore_Update(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	b.User("bob")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	taken, name := "BOB", "countess"
	if _, err := user.New(b.DB).Update(t.Context(), ada.ID, user.Changes{Username: &taken}); errs.KindOf(err) != errs.Exists {
		t.Errorf("a name in use: %v", err)
	}
	ada, err := user.New(b.DB).Update(t.Context(), ada.ID, user.Changes{Username: &name, Name: &name})
	b.Must(err)
	for path, moved := range map[string]bool{"countess/p": false, "ada/p": true, "ADA/p": true, "Countess/p": true} {
		got, m, err := project.New(b.DB).ByPath(t.Context(), path)
		if err != nil || got.ID != p.ID || m != moved || got.FullPath != "countess/p" || got.FullName != "countess / p" {
			t.Errorf("%s: %+v, %v, %v", path, got, m, err)
		}
	}
	_, err = user.New(b.DB).Create(t.Context(), user.NewUser{Username: "ada", Name: "Other", Email: "other@example.org"})
	b.Must(err)
	if _, _, err := project.New(b.DB).ByPath(t.Context(), "ada/p"); err != nil {
		t.Errorf("what the former name led to stays: %v", err)
	}
	if ns, moved, err := namespace.New(b.DB).ByPath(t.Context(), "ada"); err != nil || moved || *ns.OwnerID == ada.ID {
		t.Errorf("the new ada: %+v, %v, %v", ns, moved, err)
	}
}

func TestStore_Delete(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	users := user.New(b.DB)
	if err := users.Delete(t.Context(), ada.ID); errs.KindOf(err) != errs.Conflict {
		t.Errorf("with a project: %v", err)
	}
	b.Must(b.Repositories.Delete(t.Context(), p))
	b.Must(b.Repositories.Cleanup(t.Context(), p.ID))
	b.Must(users.Delete(t.Context(), ada.ID))
	if _, err := users.ByID(t.Context(), ada.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("deleted: %v", err)
	}
	if err := users.Delete(t.Context(), ada.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("twice: %v", err)
	}
	if err := users.SetState(t.Context(), ada.ID, user.Blocked); errs.KindOf(err) != errs.NotFound {
		t.Errorf("block nobody: %v", err)
	}
}

func TestStore_List(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	b.User("ada")
	bob := b.User("bob")
	b.Admin("chief")
	b.Must(user.New(b.DB).SetState(t.Context(), bob.ID, user.Blocked))
	for name, tc := range map[string]struct {
		f     user.Filter
		want  string
		total int
	}{
		"all":        {user.Filter{Asc: true}, "ada bob chief", 3},
		"descending": {user.Filter{OrderBy: "username"}, "chief bob ada", 3},
		"page":       {user.Filter{Asc: true, Page: postgres.Page{Limit: 1, Offset: 1}}, "bob", 3},
		"beyond":     {user.Filter{Page: postgres.Page{Offset: 10}}, "", 3},
		"search":     {user.Filter{Search: "OF A"}, "ada", 1},
		"wildcard":   {user.Filter{Search: "%"}, "", 0},
		"username":   {user.Filter{Username: "BOB"}, "bob", 1},
		"state":      {user.Filter{State: user.Active, Asc: true}, "ada chief", 2},
		"admins":     {user.Filter{Admins: true}, "chief", 1},
	} {
		list, total, err := user.New(b.DB).List(t.Context(), tc.f)
		names := []string{}
		for _, u := range list {
			names = append(names, u.Username)
		}
		if got := strings.Join(names, " "); err != nil || got != tc.want || total != tc.total {
			t.Errorf("%s: %q of %d, %v; want %q of %d", name, got, total, err, tc.want, tc.total)
		}
	}
	if _, _, err := user.New(b.DB).List(t.Context(), user.Filter{OrderBy: "password_digest"}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("order by another column: %v", err)
	}
}
