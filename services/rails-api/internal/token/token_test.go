package token_test

import (
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/token"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestGenerate(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^glpat-[A-Z2-7]{34}$`) // 34 characters of 5 bits: 170 bits
	if a, b := token.Generate(), token.Generate(); a == b || !pattern.MatchString(a) {
		t.Errorf("%q, %q", a, b)
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	ctx, s := t.Context(), token.New(b.DB)
	made, plain, err := s.Create(ctx, token.NewToken{UserID: ada.ID, Name: "ci", Scopes: []string{token.ScopeAPI}})
	b.Must(err)
	got, err := s.ByPlain(ctx, plain)
	if err != nil || got.ID != made.ID || !got.Active(b.Time) || !got.Has("sudo", "api") || got.Has("sudo") {
		t.Errorf("by secret: %+v, %v", got, err)
	}
	var row string
	b.Must(b.DB.QueryRow(ctx, "SELECT t::text FROM personal_access_tokens t").Scan(&row))
	if strings.Contains(row, plain) || strings.Contains(row, hex.EncodeToString([]byte(plain))) {
		t.Errorf("the secret is stored: %s", row)
	}
	for _, bad := range []string{"", " ", plain + " ", plain[:10], strings.Repeat("x", 300), "a\x00b"} {
		if _, err := s.ByPlain(ctx, bad); errs.KindOf(err) != errs.NotFound {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for name, in := range map[string]token.NewToken{
		"no name": {UserID: ada.ID, Scopes: []string{"api"}}, "no scope": {UserID: ada.ID, Name: "x"}, "unknown scope": {UserID: ada.ID, Name: "x", Scopes: []string{"api", "root"}},
	} {
		if _, _, err := s.Create(ctx, in); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := s.Create(ctx, token.NewToken{UserID: ada.ID, Name: "x", Scopes: []string{"api"}, Plain: plain}); errs.KindOf(err) != errs.Exists {
		t.Errorf("the same secret: %v", err)
	}
	b.Must(s.Touch(ctx, made.ID, b.Time))
	b.Must(s.Touch(ctx, made.ID, b.Time.Add(30*time.Second))) // within the minute: no write
	if got, err := s.ByID(ctx, made.ID); err != nil || !got.LastUsedAt.Equal(b.Time) {
		t.Errorf("last use %v, %v", got.LastUsedAt, err)
	}
}

func TestStore_states(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	ctx, s := t.Context(), token.New(b.DB)
	day := b.Time.Truncate(24 * time.Hour)
	make := func(name string, expires *time.Time) token.Token {
		made, _, err := s.Create(ctx, token.NewToken{UserID: ada.ID, Name: name, Scopes: []string{"api"}, ExpiresAt: expires})
		b.Must(err)
		return made
	}
	tomorrow := day.AddDate(0, 0, 1)
	good, today, revoked := make("good", &tomorrow), make("ends today", &day), make("revoked", nil)
	b.Must(s.Revoke(ctx, revoked.ID))
	if good.Expired(b.Time) || !today.Expired(b.Time) {
		t.Errorf("expiry: %v, %v at %v", good.ExpiresAt, today.ExpiresAt, b.Time)
	}
	for state, want := range map[string]string{"active": "good", "inactive": "ends today,revoked", "": "good,ends today,revoked"} {
		list, total, err := s.List(ctx, token.Filter{UserID: ada.ID, State: state, Now: b.Time})
		names := []string{}
		for _, l := range list {
			names = append(names, l.Name)
		}
		if got := strings.Join(names, ","); err != nil || got != want || total != len(list) {
			t.Errorf("%q: %s of %d, %v; want %s", state, got, total, err, want)
		}
	}
	if err := s.Revoke(ctx, 999); errs.KindOf(err) != errs.NotFound {
		t.Errorf("revoke nothing: %v", err)
	}
}
