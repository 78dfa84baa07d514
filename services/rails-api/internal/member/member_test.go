package member_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada, bob := b.User("ada"), b.User("bob")
	g := b.Group("team", visibility.Private)
	src := member.OfNamespace(g.ID)
	ctx, s := t.Context(), member.New(b.DB)
	b.Member(src, ada, member.Owner)
	for name, tc := range map[string]struct {
		in   member.NewMember
		want errs.Kind
	}{
		"twice":     {member.NewMember{Source: src, UserID: ada.ID, Level: member.Guest}, errs.Exists},
		"bad level": {member.NewMember{Source: src, UserID: bob.ID, Level: 35}, errs.Invalid},
		"admin":     {member.NewMember{Source: src, UserID: bob.ID, Level: member.Admin}, errs.Invalid},
		"nobody":    {member.NewMember{Source: src, UserID: 999, Level: member.Guest}, errs.NotFound},
		"nothing":   {member.NewMember{Source: member.OfNamespace(999), UserID: bob.ID, Level: member.Guest}, errs.NotFound},
		"nowhere":   {member.NewMember{Source: member.OfProject(999), UserID: bob.ID, Level: member.Guest}, errs.NotFound},
	} {
		if _, err := s.Add(ctx, tc.in); errs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if err := s.Remove(ctx, src, ada.ID); errs.KindOf(err) != errs.Denied {
		t.Errorf("remove the last owner: %v", err)
	}
	if _, err := s.Update(ctx, src, ada.ID, member.Guest, nil); errs.KindOf(err) != errs.Denied {
		t.Errorf("lower the last owner: %v", err)
	}
	b.Member(src, bob, member.Developer)
	day := b.Time.Truncate(24*time.Hour).AddDate(0, 0, 3)
	got, err := s.Update(ctx, src, bob.ID, member.Owner, nil)
	if err != nil || got.Level != member.Owner || got.User.Username != "bob" || got.Source != src {
		t.Errorf("update: %+v, %v", got, err)
	}
	if got, err = s.Update(ctx, src, ada.ID, member.Owner, &day); err != nil || !got.ExpiresAt.Equal(day) {
		t.Errorf("update: %+v, %v", got, err)
	}
	b.Must(s.Remove(ctx, src, ada.ID))
	if _, err := s.Get(ctx, src, ada.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("removed: %v", err)
	}
	if err := s.Remove(ctx, src, ada.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("removed twice: %v", err)
	}
}

func TestStore_List(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	g := b.Group("team", visibility.Private)
	sub := b.Group("sub", visibility.Private, g)
	p, other := b.Project(sub.ID, "p", visibility.Private), b.Project(sub.ID, "q", visibility.Private)
	ada, bob, eve := b.User("ada"), b.User("bob"), b.User("eve")
	b.Member(member.OfNamespace(g.ID), ada, member.Owner)
	b.Member(member.OfNamespace(sub.ID), bob, member.Developer)
	b.Member(member.OfProject(p.ID), bob, member.Maintainer)
	b.Member(member.OfProject(p.ID), ada, member.Guest)
	b.Member(member.OfProject(other.ID), eve, member.Owner)
	for name, tc := range map[string]struct {
		src  member.Source
		f    member.Filter
		want string
	}{
		"project":           {member.OfProject(p.ID), member.Filter{}, "ada 10,bob 40"},
		"project inherited": {member.OfProject(p.ID), member.Filter{Inherited: true}, "ada 50,bob 40"},
		"group":             {member.OfNamespace(sub.ID), member.Filter{}, "bob 30"},
		"group inherited":   {member.OfNamespace(sub.ID), member.Filter{Inherited: true}, "ada 50,bob 30"},
		"root":              {member.OfNamespace(g.ID), member.Filter{Inherited: true}, "ada 50"},
		"query":             {member.OfProject(p.ID), member.Filter{Query: "OF B"}, "bob 40"},
		"users":             {member.OfProject(p.ID), member.Filter{UserIDs: []int64{ada.ID, eve.ID}}, "ada 10"},
	} {
		list, total, err := member.New(b.DB).List(t.Context(), tc.src, tc.f)
		got := []string{}
		for _, m := range list {
			got = append(got, fmt.Sprintf("%s %d", m.User.Username, m.Level))
		}
		if text := strings.Join(got, ","); err != nil || text != tc.want || total != len(list) {
			t.Errorf("%s: %s of %d, %v; want %s", name, text, total, err, tc.want)
		}
	}
	if m, err := member.New(b.DB).GetInherited(t.Context(), member.OfProject(p.ID), ada.ID); err != nil || m.Level != member.Owner {
		t.Errorf("inherited: %+v, %v", m, err)
	}
	if _, err := member.New(b.DB).GetInherited(t.Context(), member.OfProject(p.ID), eve.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("no member: %v", err)
	}
}
