package backup_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/kit/s3test"
	"gitsplit/services/rails-api/internal/archive"
	"gitsplit/services/rails-api/internal/backup"
	"gitsplit/services/rails-api/internal/dump"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

// TestMain gives all tests the credentials of s3test, and AWS's files nothing to say.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": s3test.SecretKey, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	pgtest.Main(m)
}

// shelf is stored files in memory. onList is called before the first is told, onPut before one is stored.
type shelf struct {
	files  map[string]string
	onList func()
	onPut  func() error
}

func (s *shelf) List(_ context.Context, each func(string, int64) error) error {
	if s.onList != nil {
		s.onList()
	}
	for _, key := range slices.Sorted(maps.Keys(s.files)) {
		if err := each(key, int64(len(s.files[key]))); err != nil {
			return err
		}
	}
	return each("lfs/removed/meanwhile", 1)
}

func (s *shelf) Open(_ context.Context, key string) (io.ReadCloser, error) {
	content, ok := s.files[key]
	if !ok {
		return nil, errs.New(errs.NotFound, "the file is not stored")
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

func (s *shelf) Put(_ context.Context, key string, content io.Reader) error {
	if s.onPut != nil {
		if err := s.onPut(); err != nil {
			return err
		}
	}
	text, err := io.ReadAll(content)
	s.files[key] = string(text)
	return err
}

// site is an installation.
type site struct {
	*railstest.Bench
	shelf *shelf
	deps  backup.Deps
	told  strings.Builder
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Bench: railstest.New(t), shelf: &shelf{files: map[string]string{}}}
	dir := t.TempDir()
	s.deps = backup.Deps{
		DatabaseURL: s.DB.Config().ConnString(), DB: s.DB, Gitaly: s.Gitaly, Files: s.shelf, Now: time.Now,
		Secrets: backup.Secrets{Dir: dir, DatabaseKey: filepath.Join(dir, "elsewhere", "key"), Passphrase: "correct horse battery"},
		Tell:    func(format string, args ...any) { _, _ = fmt.Fprintf(&s.told, format+"\n", args...) },
	}
	for name, text := range map[string]string{
		"elsewhere/key": "key of " + dir, "gitaly_token": "token of " + dir, "ssh_host_ed25519_key": "host key of " + dir, "tls/ca.crt": "authority of " + dir,
		"database_url": "database of " + dir,
	} {
		path := filepath.Join(dir, name)
		s.Must(errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)))
	}
	return s
}

// repository is that of a project, where its row says that it lies.
func (s *site) repository(id int64) *gitalytest.Repository {
	p, err := project.New(s.DB).ByID(s.TB.Context(), id)
	s.Must(err)
	return s.Server.Repository(p.DiskPath)
}

func (s *site) secret(name string) string {
	text, err := os.ReadFile(filepath.Join(s.deps.Secrets.Dir, name))
	s.Must(err)
	return string(text)
}

// inhabit fills the installation.
func (s *site) inhabit() (full, empty project.Project) {
	ada := s.User("ada")
	full, empty = s.Inhabited(ada.NamespaceID, "full", visibility.Private), s.Project(ada.NamespaceID, "empty", visibility.Public)
	s.Server.Lock()
	s.Server.Repositories[full.DiskPath].HEAD = "refs/heads/trunk"
	s.Server.Repositories[full.DiskPath].Hooks = "hooks in a tar file"
	s.Server.Unlock()
	s.shelf.files["attachments/1/abc"] = strings.Repeat("content", 1<<20)
	return full, empty
}

func (s *site) backup(t *testing.T, o backup.Options) (string, backup.Result) {
	t.Helper()
	place, err := backup.FindPlace(t.TempDir()+"/", time.Now())
	s.Must(err)
	var result backup.Result
	_, err = place.Write(t.Context(), func(w io.Writer) (err error) {
		result, err = backup.Create(t.Context(), s.deps, o, w)
		return err
	})
	s.Must(err)
	return place.String(), result
}

func (s *site) restore(t *testing.T, path string, o backup.RestoreOptions) error {
	t.Helper()
	place, err := backup.FindPlace("file://"+path, time.Now())
	s.Must(err)
	err = backup.Restore(t.Context(), s.deps, o, place.Open)
	s.DB.Reset() // what connections remember of the tables
	return err
}

func TestBackup(t *testing.T) {
	t.Parallel()
	from := newSite(t)
	full, empty := from.inhabit()
	doomed := from.Inhabited(full.Namespace.ID, "doomed", visibility.Private)
	// While the files are copied, a push has brought a large file, and a project has gone: the rows are older than both.
	var late lfs.Object
	meanwhile := func() { late = from.LFSObject(full, "a large file") }
	from.deps.Tell = func(format string, args ...any) {
		if strings.HasPrefix(format, "database") {
			from.Must(from.Repositories.Delete(t.Context(), doomed))
			meanwhile()
			from.shelf.files[late.Key()] = "a large file"
		}
	}
	path, result := from.backup(t, backup.Options{})
	if result.Repositories != 3 || result.Files != 2 || len(result.Missing) > 0 {
		t.Errorf("%+v", result)
	}
	info, err := os.Stat(path)
	from.Must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}

	into := newSite(t)
	into.Must(into.restore(t, path, backup.RestoreOptions{Hooks: true}))
	for _, p := range []project.Project{full, empty} {
		was, is := from.Server.Repository(p.DiskPath), into.repository(p.ID)
		if is == nil || is.HEAD != was.HEAD || is.Hooks != was.Hooks || !slices.Equal(is.Branches, was.Branches) {
			t.Errorf("%s: %+v, was %+v", p.FullPath, is, was)
		}
		if got, err := project.New(into.DB).ByID(t.Context(), p.ID); err != nil || got.FullPath != p.FullPath {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := project.New(into.DB).RemainsOf(t.Context(), doomed.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a project that is gone: %v", err)
	}
	if !maps.Equal(into.shelf.files, from.shelf.files) {
		t.Errorf("files %v", slices.Sorted(maps.Keys(into.shelf.files)))
	}
	if o, err := lfs.New(into.DB).Get(t.Context(), full.ID, late.OID); err != nil || o.Key() != late.Key() {
		t.Errorf("the late file: %+v, %v", o, err)
	}
	if next := into.LFSObject(full, "another"); next.ID <= late.ID {
		t.Errorf("the next file has the id %d after %d", next.ID, late.ID)
	}
	for name, same := range map[string]bool{"elsewhere/key": true, "ssh_host_ed25519_key": true, "tls/ca.crt": true, "gitaly_token": false, "database_url": false} {
		if (into.secret(name) == from.secret(name)) != same {
			t.Errorf("secret %s: %q", name, into.secret(name))
		}
	}
}

// TestRestore_refuses changes nothing when it cannot do all.
func TestRestore_refuses(t *testing.T) {
	t.Parallel()
	from := newSite(t)
	full, _ := from.inhabit()
	path, _ := from.backup(t, backup.Options{})
	whole, err := os.ReadFile(path)
	from.Must(err)
	into := newSite(t)
	kept := into.secret("elsewhere/key")
	other := filepath.Join(t.TempDir(), "other.tar")
	try := func(name, want string, content []byte, o backup.RestoreOptions) {
		t.Helper()
		into.Must(os.WriteFile(other, content, 0o600))
		if err := into.restore(t, other, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if n := len(into.Server.Repositories); n > 0 || len(into.shelf.files) > 0 || into.secret("elsewhere/key") != kept {
			t.Errorf("%s: something has been changed", name)
		}
	}
	try("cut short", "the archive is damaged or cut short", whole[:len(whole)/2], backup.RestoreOptions{})
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	try("one bit", "the archive is damaged or cut short", flipped, backup.RestoreOptions{})
	try("something else", "damaged", []byte("hello"), backup.RestoreOptions{})
	var rows bytes.Buffer
	from.Must(backup.Database(t.Context(), from.deps.DatabaseURL, time.Now(), &rows))
	try("the database alone", "say --database", rows.Bytes(), backup.RestoreOptions{})
	into.deps.Secrets.Passphrase = "another passphrase"
	try("a wrong passphrase", "the passphrase does not open", whole, backup.RestoreOptions{})
	into.deps.Secrets.Passphrase = "correct horse battery"
	u := into.User("bob")
	try("not empty", "not empty (1 accounts besides root)", whole, backup.RestoreOptions{})
	old := into.Project(u.NamespaceID, "old", visibility.Private)
	into.Project(u.NamespaceID, "older", visibility.Private)
	last := into.Project(u.NamespaceID, "last", visibility.Private) // the backup has two

	into.Must(into.restore(t, path, backup.RestoreOptions{Replace: true}))
	if r := into.repository(full.ID); r == nil || len(r.Branches) != 1 {
		t.Errorf("the repository: %+v", r)
	}
	if into.Server.Repository(old.DiskPath) != nil || into.Server.Repository(last.DiskPath) != nil || len(into.Server.Repositories) != 2 {
		t.Errorf("repositories that no project has any more are left: %v", slices.Collect(maps.Keys(into.Server.Repositories)))
	}
	if _, err := user.New(into.DB).ByUsername(t.Context(), "bob"); err == nil {
		t.Error("an account that is not in the backup is left")
	}
	into.Must(into.restore(t, other, backup.RestoreOptions{Replace: true})) // again, which is how one goes on after an interruption
}

// TestRestore_interrupted is repeated after gitaly failed half-way.
func TestRestore_interrupted(t *testing.T) {
	t.Parallel()
	from := newSite(t)
	full, _ := from.inhabit()
	path, _ := from.backup(t, backup.Options{})
	into := newSite(t)
	into.Server.SetFail(status.Error(codes.Unavailable, "down"))
	if err := into.restore(t, path, backup.RestoreOptions{}); errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("without gitaly: %v", err)
	}
	if any, err := user.New(into.DB).Any(t.Context()); err != nil || any {
		t.Errorf("accounts without their projects: %v, %v", any, err)
	}
	into.Server.SetFail(nil)
	into.Must(into.restore(t, path, backup.RestoreOptions{}))
	if into.repository(full.ID) == nil {
		t.Error("no repository")
	}
}

// TestRestore_hooks: programs come out of an archive for who asks for them alone.
func TestRestore_hooks(t *testing.T) {
	t.Parallel()
	from := newSite(t)
	full, _ := from.inhabit()
	path, _ := from.backup(t, backup.Options{})
	into := newSite(t)
	into.Must(into.restore(t, path, backup.RestoreOptions{}))
	if r := into.repository(full.ID); r == nil || r.Hooks != "" || !strings.Contains(into.told.String(), "custom hooks of ada/full: left out") {
		t.Errorf("%+v, told: %s", r, &into.told)
	}
}

// TestRestore_pools: what is restored borrows from no object pool, and those of the installation before are gone.
func TestRestore_pools(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ada := s.User("ada")
	source := s.Inhabited(ada.NamespaceID, "source", visibility.Public)
	fork, err := s.Repositories.Fork(t.Context(), source, project.NewProject{NamespaceID: s.User("bob").NamespaceID, Path: "fork", Visibility: visibility.Public}, "")
	s.Must(err)
	s.Must(s.Repositories.JoinPool(t.Context(), fork.ID))
	if n := len(s.Server.Repositories); n != 3 {
		t.Fatalf("%d repositories with the pool", n)
	}
	path, _ := s.backup(t, backup.Options{})
	s.Must(s.restore(t, path, backup.RestoreOptions{Replace: true}))
	for _, p := range []project.Project{source, fork} {
		if r := s.repository(p.ID); r == nil || r.Pool != "" {
			t.Errorf("%s: %+v", p.FullPath, r)
		}
	}
	var rows int
	s.Must(s.DB.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM object_pools) + (SELECT count(*) FROM projects WHERE pool_id IS NOT NULL)").Scan(&rows))
	if n := len(s.Server.Repositories); n != 2 || rows != 0 {
		t.Errorf("%d repositories, %d rows of pools", n, rows)
	}
	s.Must(s.Repositories.JoinPool(t.Context(), fork.ID)) // a new one, as of a new fork
	if r := s.repository(fork.ID); r.Pool == "" || s.Server.Repository(r.Pool) == nil {
		t.Errorf("the fork has no pool: %+v", r)
	}
}

// TestRestore_older restores what a version wrote whose projects had fewer columns.
func TestRestore_older(t *testing.T) {
	t.Parallel()
	rows := func(text string) func(io.Writer) error {
		return func(w io.Writer) error {
			z := gzip.NewWriter(w)
			_, err := io.WriteString(z, text)
			return errors.Join(err, z.Close())
		}
	}
	path := handmade(t, func(a *archive.Writer) error {
		err := a.AddJSON("gitsplit-backup.json", map[string]any{"format": 1, "complete": true, "schema": dump.Schema{
			Versions: postgres.Versions{Own: 1, Jobs: 6},
			Tables: []dump.Table{
				{Name: "namespaces", Columns: []string{"id", "kind", "path", "name", "traversal_ids"}},
				{Name: "projects", Columns: []string{"id", "namespace_id", "path", "name", "state", "storage", "disk_path"}},
				{Name: "routes", Columns: []string{"path", "name", "namespace_id", "project_id"}},
			},
		}})
		for table, text := range map[string]string{
			"namespaces": "3\tgroup\tg\tg\t{3}\n", "projects": "7\t3\tp\tp\tready\tgone\t@hashed/x.git\n", "routes": "g\tg\t3\t\\N\ng/p\tg/p\t\\N\t7\n",
		} {
			_, failed := a.Stream("database/"+table+".copy.gz", rows(text))
			err = errors.Join(err, failed)
		}
		return errors.Join(err, a.AddJSON("repositories/7.json", map[string]any{"id": 7, "path": "g/p", "branch": "trunk", "empty": true}))
	})
	into := newSite(t)
	into.deps.Secrets.Passphrase = ""
	into.Must(into.restore(t, path, backup.RestoreOptions{}))
	if r := into.repository(7); r == nil || r.HEAD != "refs/heads/trunk" {
		t.Errorf("%+v", r)
	}
}

// TestCheck_values: the values of an archive are small, so that none takes the memory of who reads it.
func TestCheck_values(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.deps.Secrets.Passphrase = ""
	for name, more := range map[string]any{
		"long": strings.Repeat("x", 1<<20), "deep": json.RawMessage(strings.Repeat("[", 50) + strings.Repeat("]", 50)),
	} {
		path := handmade(t, func(a *archive.Writer) error {
			return a.AddJSON("gitsplit-backup.json", map[string]any{"format": 1, "complete": true, "more": more})
		})
		place, err := backup.FindPlace(path, time.Now())
		s.Must(err)
		if err := backup.Check(t.Context(), s.deps, place.Open); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// handmade is an archive that says whatever it says.
func handmade(t *testing.T, fill func(*archive.Writer) error) string {
	t.Helper()
	var text bytes.Buffer
	a := archive.NewWriter(&text, time.Now())
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := errors.Join(fill(a), a.Close(), os.WriteFile(path, text.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRestore_fails at its end, when all repositories have been made: the installation that was to be replaced is as it was.
func TestRestore_fails(t *testing.T) {
	t.Parallel()
	from := newSite(t)
	from.inhabit()
	path, _ := from.backup(t, backup.Options{})
	into := newSite(t)
	old := into.Inhabited(into.User("bob").NamespaceID, "old", visibility.Private) // has the id of one of the backup
	into.Server.SetBranches(old.DiskPath, "refs/heads/of-bob")
	kept := into.secret("elsewhere/key")
	full := errors.New("the disk is full")
	into.shelf.onPut = func() error { return full } // files come after repositories
	if err := into.restore(t, path, backup.RestoreOptions{Replace: true}); !errors.Is(err, full) {
		t.Fatalf("%v", err)
	}
	if r := into.repository(old.ID); r == nil || !slices.Equal(r.Branches, []string{"refs/heads/of-bob"}) || len(into.Server.Repositories) != 1 {
		t.Errorf("the old repository: %+v, of %v", r, slices.Collect(maps.Keys(into.Server.Repositories)))
	}
	if into.secret("elsewhere/key") != kept {
		t.Error("the database in use cannot read its secrets any more")
	}
}

func TestBackup_brokenRepository(t *testing.T) {
	t.Parallel()
	from := newSite(t)
	full, empty := from.inhabit()
	from.Server.Lock()
	delete(from.Server.Repositories, full.DiskPath)
	from.Server.Unlock()
	dir := t.TempDir()
	place, err := backup.FindPlace(dir, time.Now())
	from.Must(err)
	_, err = place.Write(t.Context(), func(w io.Writer) error {
		_, err := backup.Create(t.Context(), from.deps, backup.Options{}, w)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "the repository of ada/full cannot be read") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("half an archive is left: %v, %v", left, err)
	}
	path, result := from.backup(t, backup.Options{Broken: true})
	if !slices.Equal(result.Missing, []string{"ada/full"}) || result.Repositories != 1 {
		t.Errorf("%+v", result)
	}
	into := newSite(t)
	into.Must(into.restore(t, path, backup.RestoreOptions{}))
	if into.repository(empty.ID) == nil || into.repository(full.ID) == nil || !strings.Contains(into.told.String(), "ada/full: could not be read") {
		t.Errorf("told: %s", &into.told)
	}
}

func TestFindPlace(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Date(2026, 11, 21, 10, 20, 30, 0, time.UTC)
	for target, want := range map[string]string{
		dir:                        dir + "/gitsplit-20261121T102030Z.tar",
		dir + "/new/":              dir + "/new/gitsplit-20261121T102030Z.tar",
		"file://" + dir + "/x.tar": dir + "/x.tar",
		"x.tar":                    "x.tar",
	} {
		if p, err := backup.FindPlace(target, now); err != nil || p.String() != want {
			t.Errorf("%s: %v, %v", target, p, err)
		}
	}
	if _, err := backup.FindPlace("ftp://host/x", now); errs.KindOf(err) != errs.Invalid {
		t.Errorf("ftp: %v", err)
	}
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := backup.FindPlace(taken, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(t.Context(), func(io.Writer) error { return nil }); errs.KindOf(err) != errs.Exists {
		t.Errorf("over another file: %v", err)
	}
}

// TestPlace_unwritable says whose a directory has to be.
func TestPlace_unwritable(t *testing.T) {
	t.Parallel()
	p, err := backup.FindPlace("/sys/backups/", time.Now()) // where not even root makes a directory
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Write(t.Context(), func(io.Writer) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the directory /sys/backups cannot be written; it has to belong to the user") {
		t.Errorf("%v", err)
	}
}

func TestPlace_objectStorage(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	address, query, _ := strings.Cut(server.URL(), "?")
	p, err := backup.FindPlace(address+"/backups/x.tar?"+query, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write := func(fill func(*archive.Writer) error) error {
		_, err := p.Write(t.Context(), func(w io.Writer) error {
			a := archive.NewWriter(w, time.Now())
			return errors.Join(fill(a), a.Close())
		})
		return err
	}
	broken := errors.New("gitaly is down")
	if err := write(func(*archive.Writer) error { return broken }); !errors.Is(err, broken) || len(server.Keys()) > 0 {
		t.Errorf("broken off: %v, %v", err, server.Keys())
	}
	if _, err := p.Open(t.Context()); errs.KindOf(err) != errs.NotFound {
		t.Errorf("nothing there: %v", err)
	}
	if err := write(func(a *archive.Writer) error { return a.AddJSON("x", 1) }); err != nil {
		t.Fatal(err)
	}
	r, err := p.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Verify(r); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := write(func(*archive.Writer) error { return nil }); errs.KindOf(err) != errs.Exists {
		t.Errorf("over another object: %v", err)
	}
}
