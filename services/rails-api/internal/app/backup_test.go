package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/app"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

// TestProcess_backup: the passphrase comes by the standard input, and nothing is restored under running services.
func TestProcess_backup(t *testing.T) {
	t.Parallel()
	h, b := newHome(t), railstest.New(t)
	storage, err := b.Gitaly.Storage("default")
	b.Must(err)
	b.Must(os.Symlink(strings.TrimPrefix(storage.Address, "unix:"), filepath.Join(h.dir, "gitaly.sock")))
	h.env["RAILS_API_DATABASE_URL"], h.env["RAILS_API_REDIS_URL"] = b.DB.Config().ConnString(), "unix://"+b.Redis.Options().Addr
	h.env["RAILS_API_OBJECT_STORAGE"] = "file://" + filepath.Join(h.dir, "objects")
	b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	archive := filepath.Join(h.dir, "x.tar")
	try := func(code int, want, input string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		args = append([]string{"-config", filepath.Join(h.dir, "rails-api.yml")}, args...)
		got := app.Process(t.Context(), args, h.lookup, app.Streams{In: strings.NewReader(input), Out: &out, Err: &out})
		if got != code || !strings.Contains(out.String(), want) {
			t.Errorf("%q: exit %d, %q; want %d, %q", args, got, &out, code, want)
		}
	}
	const passphrase = "correct horse battery\n"
	try(1, "passphrase: standard input: 5 bytes, want 12 to 4096", "short\n", "backup", "--passphrase-file", "-", archive)
	try(1, "standard input: 4097 bytes", strings.Repeat("x", 5000), "backup", "--passphrase-file", "-", archive)
	try(0, archive+"\n", passphrase, "backup", "--passphrase-file", "-", archive)
	try(0, "is whole", passphrase, "restore", "--check", "--passphrase-file", "-", archive)
	try(1, "does not open the secrets", "another passphrase", "restore", "--check", "--passphrase-file", "-", archive)
	running, err := postgres.Open(t.Context(), b.DB.Config().ConnString(), postgres.Options{Name: "rails-api"})
	b.Must(err)
	defer running.Close()
	b.Must(running.Ping(t.Context()))
	try(1, "at work on this database; stop everything but PostgreSQL and gitaly first", passphrase, "restore", "--passphrase-file", "-", archive)
}
