package auth_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestPasswords_Hash(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "short", strings.Repeat("x", 73)} {
		if _, err := railstest.Passwords().Hash(bad); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAuthenticator_Login(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	digest, err := railstest.Passwords().Hash("correct horse")
	b.Must(err)
	ada := b.User("ada")
	b.User("nopassword")
	_, err = user.New(b.DB).Update(t.Context(), ada.ID, user.Changes{PasswordDigest: &digest})
	b.Must(err)
	a, ctx := b.Auth(0), t.Context()
	for range 2 { // the second time from memory
		if u, err := a.Login(ctx, auth.Credentials{Username: "Ada", Password: "correct horse"}); err != nil || u.ID != ada.ID {
			t.Errorf("%+v, %v", u, err)
		}
	}
	for _, bad := range [][2]string{{"ada", "wrong horse"}, {"eve", "correct horse"}, {"nopassword", ""}, {"nopassword", "x"}, {"", ""}} {
		if _, err := a.Login(ctx, auth.Credentials{Username: bad[0], Password: bad[1]}); errs.KindOf(err) != errs.Unauthenticated || auth.Reason(err) != auth.Unknown {
			t.Errorf("%q: %v", bad, err)
		}
	}
	b.Must(user.New(b.DB).SetState(ctx, ada.ID, user.Blocked))
	if _, err := a.Login(ctx, auth.Credentials{Username: "ada", Password: "correct horse"}); auth.Reason(err) != auth.Blocked {
		t.Errorf("blocked: %v", err)
	}
	b.Must(user.New(b.DB).SetState(ctx, ada.ID, user.Active))
	other, err := railstest.Passwords().Hash("battery staple")
	b.Must(err)
	_, err = user.New(b.DB).Update(ctx, ada.ID, user.Changes{PasswordDigest: &other})
	b.Must(err)
	if _, err := a.Login(ctx, auth.Credentials{Username: "ada", Password: "correct horse"}); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("the old password, remembered: %v", err)
	}
}

// TestAuthenticator_Login_time: an unknown user takes as long as a wrong password: both run bcrypt once, at the cost of installations.
func TestAuthenticator_Login_time(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	digest, err := auth.Passwords{}.Hash("correct horse")
	if b.Must(err); !strings.HasPrefix(digest, "$2a$12$") {
		t.Errorf("%q", digest)
	}
	_, err = user.New(b.DB).Update(t.Context(), b.User("ada").ID, user.Changes{PasswordDigest: &digest})
	b.Must(err)
	guard := auth.NewGuard(ratelimit.NewBans(b.Redis, "login", ratelimit.Rule{}), nil, b.Log)
	a := auth.New(auth.Deps{DB: b.DB, Guard: guard, Log: b.Log, Now: b.Now})
	slow := func(login string) time.Duration {
		started := time.Now()
		_, _ = a.Login(t.Context(), auth.Credentials{Username: login, Password: "wrong horse"})
		return time.Since(started)
	}
	if known, unknown := slow("ada"), slow("eve"); unknown < known/5 {
		t.Errorf("unknown user %v, wrong password %v", unknown, known)
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
	a := b.Auth(0)
	id, err := a.Token(ctx, good, "")
	if err != nil || id.User.ID != ada.ID || id.Abilities != access.All() {
		t.Errorf("%+v, %v", id, err)
	}
	if used, err := s.ByID(ctx, id.Token.ID); err != nil || used.LastUsedAt == nil {
		t.Errorf("its use was not noted: %+v, %v", used, err)
	}
	for plain, want := range map[string]string{expired: auth.Expired, revoked: auth.Revoked, blocked: auth.Blocked, "": auth.Unknown, "glpat-x": auth.Unknown} {
		if _, err := a.Token(ctx, plain, ""); auth.Reason(err) != want || errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("%s: %v", want, err)
		}
	}
	b.DB.Close()
	if _, err := a.Token(ctx, good, ""); err == nil || auth.Reason(err) != "" {
		t.Errorf("database gone: %v", err)
	}
}

// TestAuthenticator_bans: too many failures within a minute, and neither the address nor the name is heard for an hour.
func TestAuthenticator_bans(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	_, good, err := token.New(b.DB).Create(t.Context(), token.NewToken{UserID: ada.ID, Name: "t", Scopes: []string{"api"}})
	b.Must(err)
	const limit = 2
	a, ctx := b.Auth(limit), t.Context()
	try := func(address, name, password string) errs.Kind {
		_, err := a.Basic(ctx, auth.Credentials{Username: name, Password: password, Address: address})
		if err == nil {
			return 0
		}
		return errs.KindOf(err)
	}
	fail := func(times int, address string) { // with tokens, since passwords are slow
		t.Helper()
		for range times {
			if _, err := a.Token(ctx, "glpat-wrong", address); errs.KindOf(err) != errs.Unauthenticated {
				t.Fatalf("from %s: %v", address, err)
			}
		}
	}
	check := func(what string, got, want errs.Kind) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	fail(limit-1, "192.0.2.1")
	check("a success", try("192.0.2.1", "x", good), 0)
	fail(limit-1, "192.0.2.1") // counted from the beginning
	check("a wrong password", try("192.0.2.1", "y", "wrong"), errs.Unauthenticated)
	check("a good token from a banned address", try("192.0.2.1", "z", good), errs.Denied)
	check("a job from a banned address", try("192.0.2.1", "gitlab-ci-token", "x"), errs.Unauthenticated)
	if _, err := a.Token(ctx, good, "192.0.2.1"); errs.KindOf(err) != errs.Denied {
		t.Errorf("the API from a banned address: %v", err)
	}
	check("another address", try("192.0.2.2", "z", good), 0)

	fail(limit, "2001:db8::1")
	check("the same network", try("2001:db8::2", "z", good), errs.Denied)
	check("another network", try("2001:db8:0:1::2", "z", good), 0)

	for i := range limit { // each from another address
		check("a wrong password", try("198.51.100."+string(rune('1'+i)), "Ada", "wrong"), errs.Unauthenticated)
	}
	check("a password for a banned name", try("198.51.100.9", "ada", "correct horse"), errs.Denied)
	check("a token with a banned name", try("198.51.100.9", "ada", good), 0)
	fail(2*limit, "") // an unknown address is nobody's
	for _, want := range []string{`"msg":"audit","refused_login":"unknown","user":"","remote_addr":"192.0.2.1"`, `"msg":"audit","banned":"address"`, `"msg":"audit","banned":"user"`} {
		if !strings.Contains(b.Logged.String(), want) {
			t.Errorf("%s is not in the log: %s", want, b.Logged)
		}
	}
	keys, err := b.Redis.Keys(ctx, "*").Result()
	b.Must(err)
	for _, key := range keys {
		want := time.Minute
		if strings.HasPrefix(key, "ban:") {
			want = time.Hour
		}
		if ttl := b.Redis.TTL(ctx, key).Val(); ttl <= 0 || ttl > want {
			t.Errorf("%s is kept for %v, want at most %v", key, ttl, want)
		}
	}
}

// TestAuthenticator_redisDown: without counts nobody is stopped.
func TestAuthenticator_redisDown(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	b.Must(b.Redis.Close())
	a := b.Auth(1)
	for range 3 {
		_, err := a.Token(t.Context(), "glpat-wrong", "192.0.2.1")
		if errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("%v", err)
		}
	}
	if !strings.Contains(b.Logged.String(), "failed sign-ins not counted") {
		t.Error("nothing in the log")
	}
}

func TestGuard_exempt(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	bans := ratelimit.NewBans(b.Redis, "login", ratelimit.Rule{Failures: 1, Within: time.Minute, For: time.Hour})
	exempt := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	a := auth.New(auth.Deps{DB: b.DB, Guard: auth.NewGuard(bans, exempt, b.Log), Passwords: railstest.Passwords(), Log: b.Log, Now: b.Now})
	for address, want := range map[string]errs.Kind{
		"127.0.0.1": errs.Unauthenticated, "::1": errs.Unauthenticated, "::ffff:127.0.0.9": errs.Unauthenticated, "::2": errs.Denied, "128.0.0.1": errs.Denied,
	} {
		for i := range 2 {
			_, err := a.Token(t.Context(), "glpat-x", address)
			if got := errs.KindOf(err); i == 1 && got != want {
				t.Errorf("%s: %v, want %v", address, got, want)
			}
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1, 10.0.0.1": "192.0.2.1", " 2001:db8::1": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1", "": "", "unknown": "",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("X-Forwarded-For", header)
		if got := auth.Address(r); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}
