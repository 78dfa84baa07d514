package key_test

import (
	"fmt"
	"testing"

	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/user"
)

// BenchmarkByFingerprint is the look-up of a login, among few keys and many.
func BenchmarkByFingerprint(b *testing.B) {
	for _, keys := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			db := pgtest.New(b)
			u, err := user.New(db).Create(b.Context(), user.NewUser{Username: "ada", Name: "Ada", Email: "ada@example.org"})
			if err != nil {
				b.Fatal(err)
			}
			const fill = `INSERT INTO ssh_keys (user_id, title, key, fingerprint_sha256)
				SELECT $1, 't', 'ssh-ed25519 AAAA', rtrim(encode(sha256(n::text::bytea), 'base64'), '=') FROM generate_series($2::int, $3::int) AS n`
			const batch = 100_000 // within the time of one statement
			for first := 1; first <= keys; first += batch {
				if _, err := db.Exec(b.Context(), fill, u.ID, first, min(keys, first+batch-1)); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := db.Exec(b.Context(), "ANALYZE ssh_keys"); err != nil {
				b.Fatal(err)
			}
			var prints []string
			const some = "SELECT array_agg(fingerprint_sha256) FROM (SELECT fingerprint_sha256 FROM ssh_keys ORDER BY random() LIMIT 1000) AS s"
			if err := db.QueryRow(b.Context(), some).Scan(&prints); err != nil {
				b.Fatal(err)
			}
			store, n := key.New(db), 0
			for b.Loop() {
				if _, err := store.ByFingerprint(b.Context(), prints[n%len(prints)]); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}
