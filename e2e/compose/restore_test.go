//go:build compose

package compose

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
)

const (
	passphrase   = "correct horse battery\n"
	adasPassword = "incorrect zebra battery"
	largeContent = "a large file\n"
)

// kept is what people had when it was backed up, and what they know it by: root's token and key, the authority and host keys that a client trusts.
type kept struct {
	*client
	password string // root's
	key, own string // secrets: the database key, which comes back, and the database's address, which does not
	refs     map[string]string
	archive  string
}

// inhabit makes what a backup has to bring back: references, a large file, an account with a password.
func (s *stack) inhabit() *kept {
	s.t.Helper()
	k := &kept{client: s.newClient(), password: s.compose("exec", "-T", "rails-api", "gitsplit", "show", "password")}
	k.key, k.own = s.secret("rails_database_key"), s.secret("database_url")
	dir := k.repository("large")
	k.git(dir, "remote", "add", "origin", k.https("root/large.git"))
	k.git(dir, "push", "--quiet", "origin", "main") // makes the project, which large files want first
	for name, content := range map[string]string{
		".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "large.bin": largeContent, "main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	k.git(dir, "lfs", "install", "--local")
	k.git(dir, "add", ".")
	k.git(dir, "commit", "--quiet", "--message", "a large file")
	k.git(dir, "tag", "--annotate", "--message", "the first", "v1")
	k.git(dir, "push", "--quiet", "origin", "main", "main:topic", "v1")
	s.composeInput(adasPassword, "exec", "-T", "rails-api", "gitsplit", "admin", "user", "create", "ada", "ada@example.test", "--password-stdin")
	k.git(dir, "push", "--quiet", k.asAda("ada/own.git"), "main")
	return k
}

// secret is one that rails-api has.
func (s *stack) secret(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.running("rails-api")[0].file("secrets/" + name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (c *client) in(t *testing.T) *client {
	t.Helper()
	sub := *c
	sub.s = c.s.in(t)
	return &sub
}

// asAda is an address that has her password.
func (c *client) asAda(path string) string {
	return strings.Replace(c.https(path), "https://", "https://ada:"+strings.ReplaceAll(adasPassword, " ", "%20")+"@", 1)
}

// references are those of every project, as a client sees them.
func (c *client) references() map[string]string {
	c.s.t.Helper()
	var projects []struct {
		Path string `json:"path_with_namespace"`
	}
	c.api(http.MethodGet, "projects?per_page=100", nil, &projects)
	refs := map[string]string{}
	for _, p := range projects {
		refs[p.Path] = c.git(c.dir, "ls-remote", c.https(p.Path+".git"))
	}
	return refs
}

// backup writes an archive into the directory of this machine that stands for GITSPLIT_BACKUPS.
func (s *stack) backup(k *kept) {
	if _, stderr, err := s.tryCompose(passphrase, "exec", "-T", "rails-api", "gitsplit", "backup", "--passphrase-file", "-", "elsewhere/"); err == nil ||
		!strings.Contains(stderr, "the directory elsewhere cannot be written; it has to belong to the user 10001") {
		s.t.Errorf("into a directory that cannot be written: %v\n%s", err, stderr)
	}
	if _, stderr, err := s.tryCompose("short\n", "exec", "-T", "rails-api", "gitsplit", "backup", "--passphrase-file", "-", "backups/"); err == nil ||
		!strings.Contains(stderr, "passphrase: standard input: 5 bytes") {
		s.t.Errorf("with a short passphrase: %v\n%s", err, stderr)
	}
	k.archive = strings.TrimSpace(s.composeInput(passphrase, "exec", "-T", "rails-api", "gitsplit", "backup", "--passphrase-file", "-", "backups/"))
	k.refs = k.in(s.t).references()
	if len(k.refs) < 2 {
		s.t.Errorf("there are the projects %v", k.refs)
	}
	if found, err := filepath.Glob(filepath.Join(s.backups, "gitsplit-*.tar")); err != nil || len(found) == 0 || !strings.HasSuffix(k.archive, filepath.Base(found[len(found)-1])) {
		s.t.Errorf("%s became %v, %v", k.archive, found, err)
	}
	_, stderr, err := s.tryCompose(passphrase, "exec", "-T", "rails-api", "gitsplit", "restore", "--passphrase-file", "-", k.archive)
	if err == nil || !strings.Contains(stderr, "stop everything but PostgreSQL and gitaly first") {
		s.t.Errorf("restored while it runs: %v\n%s", err, stderr)
	}
}

// wipe takes containers and volumes away.
func (s *stack) wipe() {
	s.t.Helper()
	s.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
}

// restore makes an installation of the archive, from no volumes.
func (s *stack) restore(k *kept) {
	operator := func(input string, args ...string) (string, error) {
		_, stderr, err := s.tryCompose(input, append([]string{"run", "--rm", "-T", "operator"}, args...)...)
		return stderr, err
	}
	if stderr, err := operator("another passphrase\n", "restore", "--passphrase-file", "-", k.archive); err == nil || !strings.Contains(stderr, "the passphrase does not open the secrets of this backup") {
		s.t.Errorf("with another passphrase: %v\n%s", err, stderr)
	}
	if stderr, err := operator(passphrase, "restore", "--passphrase-file", "-", k.archive); err != nil ||
		!strings.Contains(stderr, "now start it: docker compose -f "+s.file+" up -d") {
		s.t.Fatalf("restore: %v\n%s", err, stderr)
	}
	if stderr, err := operator(passphrase, "restore", "--passphrase-file", "-", k.archive); err == nil || !strings.Contains(stderr, "this installation is not empty") {
		s.t.Errorf("restored twice: %v\n%s", err, stderr)
	}
}

// same checks that people find what they had, by the names they knew it by.
func (s *stack) same(k *kept) {
	c := k.in(s.t)
	if refs := c.references(); len(refs) != len(k.refs) {
		s.t.Errorf("projects %v, were %v", refs, k.refs)
	} else {
		for path, was := range k.refs {
			if refs[path] != was {
				s.t.Errorf("%s has\n%s\nhad\n%s", path, refs[path], was)
			}
		}
	}
	if now := s.compose("exec", "-T", "rails-api", "gitsplit", "show", "password"); now != k.password {
		s.t.Error("root's first password is another one")
	}
	if s.secret("rails_database_key") != k.key || s.secret("database_url") == k.own {
		s.t.Error("the database key is another one, or the database's password is not")
	}
	for by, remote := range map[string]string{"ssh": c.ssh("root/large.git"), "https": c.https("root/large.git")} {
		dir := filepath.Join(s.t.TempDir(), by)
		c.git(c.dir, "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.required=true", "clone", "--quiet", remote, dir)
		if got, err := os.ReadFile(filepath.Join(dir, "large.bin")); err != nil || string(got) != largeContent {
			s.t.Errorf("%s: the large file is %q, %v", by, got, err)
		}
		c.git(dir, "commit", "--quiet", "--allow-empty", "--message", "by "+by)
		c.git(dir, "push", "--quiet", "origin", "HEAD:refs/heads/after-"+by)
	}
	c.git(c.dir, "clone", "--quiet", c.asAda("ada/own.git"), filepath.Join(s.t.TempDir(), "own"))
}

// restorable backs the scaled one up and restores it, with projects on both storages, as far as gitaly: that the rest finds what it had, the restore
// before has shown.
func (s *stack) restorable(k *kept) {
	moving := k.in(s.t).project("root/moving") // younger than this Redis: others are moved when it has run for ten minutes
	s.compose("exec", "-T", "rails-api", "gitsplit", "project", "move", "root/moving", map[string]string{"default": "second", "second": "default"}[moving[3]])
	s.removeCopies(moving[4])
	s.backup(k)
	was := map[string][]string{}
	for _, service := range []string{"gitaly", "gitaly-second"} {
		if was[service] = s.refsOnDisk(service); len(was[service]) == 0 {
			s.t.Errorf("%s has no repositories", service)
		}
	}
	s.wipe()
	s.restore(k)
	for service, refs := range was {
		if is := s.refsOnDisk(service); !slices.Equal(is, refs) {
			s.t.Errorf("%s has\n%s\nhad\n%s", service, strings.Join(is, "\n"), strings.Join(refs, "\n"))
		}
	}
}

// refsOnDisk are the references of all repositories of a gitaly, each with what the paths of a project's repository have in common: a restore
// and a move put it at others.
func (s *stack) refsOnDisk(service string) []string {
	s.t.Helper()
	var all []string
	for _, dir := range s.repositories(service) {
		_, path, _ := strings.Cut(dir, "@hashed")
		path = path[:len("/6b/86/")+64]
		for _, line := range strings.Split(s.run("git", "--git-dir", dir, "for-each-ref", "refs/heads", "refs/tags"), "\n") {
			all = append(all, path+" "+line)
		}
	}
	slices.Sort(all)
	return all
}

// languages asks gitaly, who asks gitaly-linguist.
func (s *stack) languages(k *kept) {
	one := s.running("gitaly")[0]
	token, err := os.ReadFile(one.file("secrets/gitaly_token"))
	if err != nil {
		s.t.Fatal(err)
	}
	var address string
	for name, network := range one.NetworkSettings.Networks {
		if strings.HasSuffix(name, "_services") {
			address = "tcp://" + network.IPAddress + ":8075"
		}
	}
	pool := gitalyclient.NewPool(gitalyclient.Options{ClientName: "test"})
	defer func() { _ = pool.Close() }()
	conn, err := pool.Conn(address, strings.TrimSpace(string(token)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	answer, err := gitalypb.NewCommitServiceClient(conn).CommitLanguages(ctx, &gitalypb.CommitLanguagesRequest{
		Repository: &gitalypb.Repository{StorageName: "default", RelativePath: k.in(s.t).project("root/large")[4]}, Revision: []byte("main"),
	})
	if err != nil || len(answer.GetLanguages()) != 1 || answer.GetLanguages()[0].GetName() != "Go" {
		s.t.Errorf("languages %v, %v", answer, err)
	}
}

// project is the line of a project in `gitsplit project list`: id, path, visibility, storage, path on disk, and more.
func (c *client) project(path string) []string {
	c.s.t.Helper()
	for _, line := range strings.Split(c.s.compose("exec", "-T", "rails-api", "gitsplit", "project", "list", "--search", path), "\n") {
		if cells := strings.Split(line, "\t"); len(cells) > 4 && cells[1] == path {
			return cells
		}
	}
	c.s.t.Fatal(errors.New("there is no project " + path))
	return nil
}

// doctor finds everything well.
func (s *stack) doctor() {
	out, stderr, err := s.tryCompose("", "exec", "-T", "rails-api", "gitsplit", "doctor")
	if err != nil || strings.Contains(out, "FAIL") {
		s.t.Errorf("%v\n%s%s", err, out, stderr)
	}
	s.t.Logf("\n%s", out)
	if out, stderr, err := s.tryCompose("", "exec", "-T", "rails-api", "gitsplit", "doctor", "--reconcile"); err != nil {
		s.t.Errorf("--reconcile: %v\n%s%s", err, out, stderr)
	}
}
