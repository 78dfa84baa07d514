package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkLogin is a whole login with OpenSSH's client, from its start to the
// greeting, among few keys in the database and among many.
func BenchmarkLogin(b *testing.B) {
	c := newClient(b, shared, "ssh")
	b.Cleanup(func() {
		if err := shared.SQL(context.WithoutCancel(b.Context()), "DELETE FROM ssh_keys WHERE title = 'benchmark'"); err != nil {
			b.Error(err)
		}
	})
	have := 0
	for _, keys := range []int{1_000, 1_000_000} {
		const batch = 100_000 // within the time of one statement
		for ; have < keys; have = min(keys, have+batch) {
			fill := fmt.Sprintf(`INSERT INTO ssh_keys (user_id, title, key, fingerprint_sha256)
				SELECT %d, 'benchmark', 'ssh-ed25519 AAAA', rtrim(encode(sha256(n::text::bytea), 'base64'), '=') FROM generate_series(%d, %d) AS n`,
				c.actor.ID, have+1, min(keys, have+batch))
			if err := shared.SQL(b.Context(), fill); err != nil {
				b.Fatal(err)
			}
		}
		if err := shared.SQL(b.Context(), "VACUUM ANALYZE ssh_keys"); err != nil { // else it runs while we measure
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), "ssh", "-F", "none", "-i", c.actor.KeyFile, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", //nolint:gosec // test
					"-o", "BatchMode=yes", "-o", "UserKnownHostsFile="+c.home+"/known_hosts", "-p", shared.SSHPort, "-T", "git@127.0.0.1")
				cmd.Env = append(os.Environ(), c.actor.Env(c.home)...)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
			}
		})
	}
}
