package auth_test

import (
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestHashPassword(t *testing.T) {
	t.Parallel()
	digest, err := auth.HashPassword("correct horse")
	if err != nil || !strings.HasPrefix(digest, "$2a$12$") {
		t.Errorf("%q, %v", digest, err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", 73)} {
		if _, err := auth.HashPassword(bad); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAuthenticator_Login(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	digest, err := auth.HashPassword("correct horse")
	b.Must(err)
	ada := b.User("ada")
	b.User("nopassword")
	_, err = user.New(b.DB).Update(t.Context(), ada.ID, user.Changes{PasswordDigest: &digest})
	b.Must(err)
	a, ctx := auth.New(b.DB, b.Now), t.Context()
	for range 2 { // the second time from memory
		if u, err := a.Login(ctx, "Ada", "correct horse"); err != nil || u.ID != ada.ID {
			t.Errorf("%+v, %v", u, err)
		}
	}
	for _, bad := range [][2]string{{"ada", "wrong horse"}, {"eve", "correct horse"}, {"nopassword", ""}, {"nopassword", "x"}, {"", ""}} {
		if _, err := a.Login(ctx, bad[0], bad[1]); errs.KindOf(err) != errs.Unauthenticated || auth.Reason(err) != auth.Unknown {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// An unknown user takes as long as a wrong password: both run bcrypt once.
	slow := func(login string) time.Duration {
		started := time.Now()
		_, _ = a.Login(ctx, login, "wrong horse")
		return time.Since(started)
	}
	if known, unknown := slow("ada"), slow("eve"); unknown < known/5 {
		t.Errorf("unknown user %v, wrong password %v", unknown, known)
	}
	b.Must(user.New(b.DB).SetState(ctx, ada.ID, user.Blocked))
	if _, err := a.Login(ctx, "ada", "correct horse"); auth.Reason(err) != auth.Blocked {
		t.Errorf("blocked: %v", err)
	}
	b.Must(user.New(b.DB).SetState(ctx, ada.ID, user.Active))
	other, err := auth.HashPassword("battery staple")
	b.Must(err)
	_, err = user.New(b.DB).Update(ctx, ada.ID, user.Changes{PasswordDigest: &other})
	b.Must(err)
	if _, err := a.Login(ctx, "ada", "correct horse"); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("the old password, remembered: %v", err)
	}
}

func TestAuthenticator_Token(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada, eve := b.User("ada"), b.User("eve")
	s, ctx := token.New(b.DB), t.Context()
	make := func(u user.User, expires *time.Time, scopes ...string) (token.Token, string) {
		made, plain, err := s.Create(ctx, token.NewToken{UserID: u.ID, Name: "t", Scopes: scopes, ExpiresAt: expires})
		b.Must(err)
		return made, plain
	}
	yesterday := b.Time.AddDate(0, 0, -1)
	_, good := make(ada, nil, "write_repository", "read_user")
	_, expired := make(ada, &yesterday, "api")
	gone, revoked := make(ada, nil, "api")
	_, blocked := make(eve, nil, "api")
	b.Must(s.Revoke(ctx, gone.ID))
	b.Must(user.New(b.DB).SetState(ctx, eve.ID, user.Blocked))
	a := auth.New(b.DB, b.Now)
	id, err := a.Token(ctx, good)
	if err != nil || id.User.ID != ada.ID || id.Abilities != access.All() {
		t.Errorf("%+v, %v", id, err)
	}
	if used, err := s.ByID(ctx, id.Token.ID); err != nil || used.LastUsedAt == nil {
		t.Errorf("its use was not noted: %+v, %v", used, err)
	}
	for plain, want := range map[string]string{expired: auth.Expired, revoked: auth.Revoked, blocked: auth.Blocked, "": auth.Unknown, "glpat-x": auth.Unknown} {
		if _, err := a.Token(ctx, plain); auth.Reason(err) != want || errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("%s: %v", want, err)
		}
	}
	b.DB.Close()
	if _, err := a.Token(ctx, good); err == nil || auth.Reason(err) != "" {
		t.Errorf("database gone: %v", err)
	}
}
