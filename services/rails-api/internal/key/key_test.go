package key_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/railstest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func line(t *testing.T, public any) string {
	t.Helper()
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func TestParse(t *testing.T) {
	t.Parallel()
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	weak := *strong
	weak.N = weak.N.Rsh(weak.N, 1024)
	good := line(t, ed)
	const dsa = "ssh-dss AAAAB3NzaC1kc3MAAACBAPmeyiVeSR0b+IDb"
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"ed25519": {good + " ada@laptop", nil}, "spaces around": {"  " + good + "\n", nil}, "ecdsa": {line(t, &ec.PublicKey), nil},
		"empty": {"", key.ErrInvalid}, "no base64": {"ssh-ed25519 ???", key.ErrInvalid}, "dsa": {dsa, key.ErrInvalid},
		"options": {`command="x" ` + good, key.ErrInvalid}, "two lines": {good + "\n" + good, key.ErrInvalid}, "a private key": {"-----BEGIN OPENSSH PRIVATE KEY-----", key.ErrInvalid},
		"weak rsa": {line(t, &weak.PublicKey), key.ErrSize}, "huge": {good + strings.Repeat("x", 20000), key.ErrInvalid},
		"truncated": {good[:40], key.ErrInvalid},
	} {
		got, err := key.Parse(tc.text)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		if err == nil && len(got.Fingerprint) != 43 {
			t.Errorf("%s: fingerprint %q", name, got.Fingerprint)
		}
	}
}

func FuzzFingerprintOfBlob(f *testing.F) {
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	k, _ := ssh.NewPublicKey(ed)
	blob := base64.StdEncoding.EncodeToString(k.Marshal())
	for _, s := range []string{blob, strings.TrimRight(blob, "="), "", "AAAA", "====", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := key.FingerprintOfBlob(s)
		if err != nil {
			return
		}
		again, err := key.FingerprintOfBlob(strings.TrimRight(s, "="))
		if err != nil || again != got || len(got) != 43 {
			t.Errorf("%q: %q, without padding %q, %v", s, got, again, err)
		}
	})
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada, eve := b.User("ada"), b.User("eve")
	ctx, s := t.Context(), key.New(b.DB)
	k, _ := b.Key(ada, key.NewKey{})
	if _, err := s.Create(ctx, key.NewKey{UserID: eve.ID, Title: "mine", Text: k.Text}); errs.KindOf(err) != errs.Exists {
		t.Errorf("somebody else's key: %v", err)
	}
	titled, err := s.Create(ctx, key.NewKey{UserID: ada.ID, Text: newLine(t) + " ada@laptop"})
	if err != nil || titled.Title != "ada@laptop" || titled.UsageType != key.AuthAndSigning {
		t.Errorf("title from the comment: %+v, %v", titled, err)
	}
	for name, in := range map[string]key.NewKey{
		"no title": {UserID: ada.ID, Text: newLine(t)}, "bad usage": {UserID: ada.ID, Title: "x", Text: newLine(t), UsageType: "odd"}, "bad key": {UserID: ada.ID, Title: "x", Text: "x"},
	} {
		if _, err := s.Create(ctx, in); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, total, err := s.ListByUser(ctx, ada.ID, postgres.Page{Limit: 1}); err != nil || total != 2 || len(list) != 1 || list[0].ID != k.ID {
		t.Errorf("list: %+v of %d, %v", list, total, err)
	}
	if err := s.Delete(ctx, eve.ID, k.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("delete another's key: %v", err)
	}
	b.Must(s.Delete(ctx, ada.ID, k.ID))
	if _, err := s.ByID(ctx, k.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("deleted: %v", err)
	}
	if _, err := s.ByFingerprint(ctx, k.Fingerprint); errs.KindOf(err) != errs.NotFound {
		t.Errorf("deleted, by fingerprint: %v", err)
	}
	at := time.Now()
	if k.Expired(at) || !(key.Key{ExpiresAt: &at}).Expired(at) {
		t.Error("expiry")
	}
}

// TestStore_index: the look-up of a login reads one row through the index.
func TestStore_index(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	const fill = `INSERT INTO ssh_keys (user_id, title, key, fingerprint_sha256) SELECT $1, 't', 'k', 'f' || n FROM generate_series(1, 5000) n`
	_, err := b.DB.Exec(t.Context(), fill, b.User("ada").ID)
	b.Must(err)
	rows, err := b.DB.Query(t.Context(), "EXPLAIN SELECT * FROM ssh_keys WHERE fingerprint_sha256 = 'f7' AND usage_type <> 'signing'")
	b.Must(err)
	defer rows.Close()
	plan := ""
	for rows.Next() {
		var l string
		b.Must(rows.Scan(&l))
		plan += l + "\n"
	}
	if !strings.Contains(plan, "ssh_keys_fingerprint_key") {
		t.Errorf("plan:\n%s", plan)
	}
}

func newLine(t *testing.T) string {
	t.Helper()
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return line(t, ed)
}
