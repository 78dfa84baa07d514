package sshca_test

import (
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/sshca"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	one, two, ctx, s := b.Group("one", visibility.Private), b.Group("two", visibility.Private), t.Context(), sshca.New(b.DB)
	text := "ssh-ed25519 " + b.Blob() + " ca"
	made, err := s.Create(ctx, one.ID, "ours", text)
	b.Must(err)
	for name, tc := range map[string]struct {
		group       int64
		title, text string
		want        errs.Kind
	}{
		"of another group": {two.ID, "theirs", text, errs.Exists},
		"no key":           {two.ID, "x", "ssh-ed25519 AAAA", errs.Invalid},
		"no title":         {two.ID, "", "ssh-ed25519 " + b.Blob(), errs.Invalid},
	} {
		if _, err := s.Create(ctx, tc.group, tc.title, tc.text); errs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if found, err := s.ByFingerprint(ctx, made.Fingerprint); err != nil || found.ID != made.ID || found.NamespaceID != one.ID || found.Title != "ours" {
		t.Errorf("found %+v, %v", found, err)
	}
	if list, n, err := s.List(ctx, two.ID, postgres.Page{}); err != nil || n != 0 || len(list) != 0 {
		t.Errorf("of another group: %v, %d, %v", list, n, err)
	}
	if err := s.Delete(ctx, two.ID, made.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("deleted through another group: %v", err)
	}
	b.Must(s.Delete(ctx, one.ID, made.ID))
	if _, err := s.ByFingerprint(ctx, made.Fingerprint); errs.KindOf(err) != errs.NotFound {
		t.Errorf("after its deletion: %v", err)
	}
}
