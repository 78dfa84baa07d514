package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

const hashed = "@hashed/6b/86/6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b.git"

type bundle struct {
	git     *gitcmd.Factory
	storage *storage.Storage
	locator *storage.Locator
}

func setup(t *testing.T) bundle {
	t.Helper()
	git, err := gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, t.TempDir())
	return bundle{git, s, storage.NewLocator(s)}
}

func open(t *testing.T, path string) *storage.Storage {
	t.Helper()
	s, err := storage.Open("default", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func msg(rel string) *gitalypb.Repository {
	return &gitalypb.Repository{StorageName: "default", RelativePath: rel}
}

// create makes a repository and returns it as a request would find it.
func (b bundle) create(t *testing.T, rel string) *storage.Repo {
	t.Helper()
	repo, err := b.locator.Locate(msg(rel))
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Create(t.Context(), b.git, repo, storage.CreateOptions{Branch: "trunk"}); err != nil {
		t.Fatal(err)
	}
	return repo
}

func wantErr(t *testing.T, err error, kind errs.Kind, text string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.Message(err) != text {
		t.Errorf("err = %v (%v, %q), want %v, %q", err, errs.KindOf(err), errs.Message(err), kind, text)
	}
}

func TestLocator_Locate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	escapes := "relative path escapes root directory"
	for _, tc := range []struct {
		name string
		msg  *gitalypb.Repository
		want string
	}{
		{"no message", nil, "repository not set"},
		{"empty message", &gitalypb.Repository{GlRepository: "project-1"}, "repository not set"},
		{"no path", msg(""), "repository path not set"},
		{"no storage", &gitalypb.Repository{RelativePath: "a.git"}, "storage name not set"},
		{"unknown storage", &gitalypb.Repository{StorageName: "x", RelativePath: "a.git"}, "storage name not found"},
		{"parent", msg("../a.git"), escapes},
		{"parent inside", msg("a/../../b.git"), escapes},
		{"absolute", msg("/etc"), escapes},
		{"root itself", msg("."), escapes},
		{"our own directory", msg("+gitaly/tmp/x"), escapes},
		{"our own directory by a detour", msg("a/../+gitaly/tmp"), escapes},
		{"the marker", msg(".gitaly-metadata"), escapes},
		{"NUL", msg("a\x00b"), escapes},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := b.locator.Locate(tc.msg)
			wantErr(t, err, errs.Invalid, tc.want)
		})
	}
}

func TestLocator_Find(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, hashed)
	found, err := b.locator.Find(msg("@hashed/6b/./86//" + filepath.Base(hashed)))
	if err != nil || found.Dir != repo.Dir || found.ObjectDir != "" {
		t.Fatalf("Find = %+v, %v", found, err)
	}
	if ok, err := repo.Exists(); !ok || err != nil {
		t.Errorf("Exists = %v, %v", ok, err)
	}
	outside := filepath.Join(b.storage.Path, "link.git")
	if err := os.Symlink(repo.Dir, outside); err != nil {
		t.Fatal(err)
	}
	broken := b.create(t, "broken.git")
	if err := os.Remove(filepath.Join(broken.Dir, "HEAD")); err != nil {
		t.Fatal(err)
	}
	linked := b.create(t, "linked.git")
	if err := errors.Join(os.RemoveAll(filepath.Join(linked.Dir, "objects")),
		os.Symlink(filepath.Join(repo.Dir, "objects"), filepath.Join(linked.Dir, "objects"))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, rel string
		kind      errs.Kind
		want      string
	}{
		{"absent", "none.git", errs.NotFound, "repository not found"},
		{"below a file", hashed + "/HEAD/x", errs.NotFound, "repository not found"},
		{"long name", strings.Repeat("a", 300), errs.NotFound, "repository not found"},
		{"a link", "link.git", errs.NotFound, "repository not found"},
		{"no repository", "@hashed/6b", errs.FailedPrecondition, `repository not valid: "objects" does not exist`},
		{"no HEAD", "broken.git", errs.FailedPrecondition, `repository not valid: "HEAD" does not exist`},
		{"objects of another", "linked.git", errs.FailedPrecondition, `repository not valid: "objects" does not exist`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := b.locator.Find(msg(tc.rel))
			wantErr(t, err, tc.kind, tc.want)
		})
	}
}

// TestLocator_storageGone: a disk that is no longer mounted leaves its empty mount
// point, in which nothing may be made.
func TestLocator_storageGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	locator := storage.NewLocator(open(t, dir))
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := locator.Locate(msg("a.git"))
	wantErr(t, err, errs.NotFound, "storage does not exist")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = locator.Locate(msg("a.git"))
	wantErr(t, err, errs.NotFound, "storage does not exist")
}

func TestLocator_Find_quarantine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, other := b.create(t, "a.git"), b.create(t, "b.git")
	for _, r := range []*storage.Repo{repo, other} {
		if err := os.Mkdir(filepath.Join(r.Dir, "objects/tmp_objdir-incoming-x1"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(other.Dir, "objects"), filepath.Join(repo.Dir, "objects/tmp_objdir-incoming-l")); err != nil {
		t.Fatal(err)
	}
	m := msg("a.git")
	m.GitObjectDirectory, m.GitAlternateObjectDirectories = "./objects/tmp_objdir-incoming-x1", []string{"objects"}
	found, err := b.locator.Find(m)
	if err != nil || found.ObjectDir != filepath.Join(repo.Dir, "objects/tmp_objdir-incoming-x1") ||
		len(found.Alternates) != 1 || found.Alternates[0] != filepath.Join(repo.Dir, "objects") {
		t.Errorf("Find = %+v, %v", found, err)
	}
	for _, dir := range []string{
		"../b.git/objects", "../b.git/objects/tmp_objdir-incoming-x1", "/etc", "refs", "objects/..", "objects/pack",
		"objects/tmp_objdir-incoming-x2", "objects/tmp_objdir-incoming-l", "objects/tmp_objdir-incoming-x1/../../../b.git/objects", "objects\x00",
	} {
		for _, m := range []*gitalypb.Repository{
			{StorageName: "default", RelativePath: "a.git", GitObjectDirectory: dir},
			{StorageName: "default", RelativePath: "a.git", GitObjectDirectory: "objects", GitAlternateObjectDirectories: []string{dir}},
			{StorageName: "default", RelativePath: "a.git", GitAlternateObjectDirectories: []string{dir}},
		} {
			if r, err := b.locator.Find(m); errs.KindOf(err) != errs.Invalid || err == nil {
				t.Errorf("Find(%v) = %+v, %v, want invalid", m, r, err)
			}
		}
	}
	rel, err := repo.RelativeObjectDirs(filepath.Join(repo.Dir, "objects/tmp_objdir-incoming-x1"), filepath.Join(repo.Dir, "objects"))
	if err != nil || len(rel) != 2 || rel[0] != "objects/tmp_objdir-incoming-x1" || rel[1] != "objects" {
		t.Errorf("RelativeObjectDirs = %q, %v", rel, err)
	}
	for _, dir := range []string{filepath.Join(other.Dir, "objects"), "objects", ""} {
		if rel, err := repo.RelativeObjectDirs(dir); err == nil {
			t.Errorf("RelativeObjectDirs(%q) = %q", dir, rel)
		}
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, hashed)
	head, err := os.ReadFile(filepath.Join(repo.Dir, "HEAD"))
	if err != nil || string(head) != "ref: refs/heads/trunk\n" {
		t.Errorf("HEAD = %q, %v", head, err)
	}
	if f, err := repo.ObjectFormat(); f != "sha1" || err != nil {
		t.Errorf("ObjectFormat = %q, %v", f, err)
	}
	wantErr(t, storage.Create(t.Context(), b.git, repo, storage.CreateOptions{}), errs.Exists, "repository exists already")

	inside, _ := b.locator.Locate(msg(hashed + "/refs/x.git"))
	wantErr(t, storage.Create(t.Context(), b.git, inside, storage.CreateOptions{}), errs.Invalid, "relative path is inside another repository")

	sha256, _ := b.locator.Locate(msg("sha256.git"))
	if err := storage.Create(t.Context(), b.git, sha256, storage.CreateOptions{SHA256: true}); err != nil {
		t.Fatal(err)
	}
	if f, err := sha256.ObjectFormat(); f != "sha256" || err != nil {
		t.Errorf("ObjectFormat = %q, %v", f, err)
	}
	assertNoTmp(t, b)
}

func assertNoTmp(t *testing.T, b bundle) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.storage.Path, "+gitaly/tmp"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left in tmp: %v, %v", entries, err)
	}
}

// TestCreate_throughLink: a link in the way must not lead the creation out.
func TestCreate_throughLink(t *testing.T) {
	t.Parallel()
	b, away := setup(t), t.TempDir()
	if err := os.Symlink(away, filepath.Join(b.storage.Path, "@hashed")); err != nil {
		t.Fatal(err)
	}
	repo, _ := b.locator.Locate(msg(hashed))
	if err := storage.Create(t.Context(), b.git, repo, storage.CreateOptions{}); err == nil {
		t.Error("created through a link")
	}
	if entries, _ := os.ReadDir(away); len(entries) != 0 {
		t.Errorf("created outside of the storage: %v", entries)
	}
	assertNoTmp(t, b)
}

func TestCreate_concurrently(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() {
			repo, _ := b.locator.Locate(msg(hashed))
			results[i] = storage.Create(context.Background(), b.git, repo, storage.CreateOptions{})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else {
			wantErr(t, err, errs.Exists, "repository exists already")
		}
	}
	if won != 1 {
		t.Errorf("%d creations won, want 1", won)
	}
	assertNoTmp(t, b)
}

// TestCreate_replace: a repository gives way to a complete one, and nothing else does.
func TestCreate_replace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, "dir/a.git")
	fails := errors.New("no")
	head := func() string {
		raw, _ := os.ReadFile(filepath.Join(repo.Dir, "HEAD"))
		return string(raw)
	}
	err := storage.Create(t.Context(), b.git, repo, storage.CreateOptions{
		Branch: "x", Replace: true, Fill: func(context.Context, *gitcmd.Repo) error { return fails },
	})
	if !errors.Is(err, fails) || head() != "ref: refs/heads/trunk\n" {
		t.Errorf("failed replacement: %v, HEAD %q", err, head())
	}
	err = storage.Create(t.Context(), b.git, repo, storage.CreateOptions{Branch: "x", Replace: true})
	if err != nil || head() != "ref: refs/heads/x\n" {
		t.Errorf("replacement: %v, HEAD %q", err, head())
	}
	above, _ := b.locator.Locate(msg("dir"))
	wantErr(t, storage.Create(t.Context(), b.git, above, storage.CreateOptions{Replace: true}), errs.Exists, "repository exists already")
	pool, _ := b.locator.Locate(msg("@pools/ab/cd/abcd" + strings.Repeat("0", 60) + ".git"))
	if err := storage.Create(t.Context(), b.git, pool, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, storage.Create(t.Context(), b.git, pool, storage.CreateOptions{Replace: true}), errs.FailedPrecondition, "an object pool cannot be replaced")
	assertNoTmp(t, b)
}

func TestRemove(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo := b.create(t, hashed)
	if size, err := repo.Size(t.Context()); err != nil || size <= 0 {
		t.Errorf("Size = %d, %v", size, err)
	}
	group, _ := b.locator.Locate(msg("@hashed/6b"))
	if err := storage.Remove(group); err == nil {
		t.Error("a directory of repositories was removed")
	}
	if err := storage.Remove(repo); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(repo.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("repository is still there: %v", err)
	}
	wantErr(t, storage.Remove(repo), errs.NotFound, "repository not found")
	assertNoTmp(t, b)

	broken := b.create(t, "broken.git")
	if err := errors.Join(os.Remove(filepath.Join(broken.Dir, "HEAD")), storage.Remove(broken)); err != nil {
		t.Errorf("a damaged repository cannot be removed: %v", err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	if _, err := storage.Open("default", dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second Open = %v, want in use", err)
	}
	leftover := filepath.Join(dir, "+gitaly/tmp/repo-x")
	if err := errors.Join(first.Writable(), first.Close(), os.Mkdir(leftover, 0o700)); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if again.FilesystemID != first.FilesystemID || len(first.FilesystemID) != 36 {
		t.Errorf("ids %q and %q", first.FilesystemID, again.FilesystemID)
	}
	if _, err := os.Lstat(leftover); err == nil {
		t.Error("leftover is still there")
	}
	if available, used, err := again.Disk(); err != nil || available <= 0 || used <= 0 || again.Filesystem() == "" {
		t.Errorf("Disk = %d, %d, %v", available, used, err)
	}
	foreign, damaged := t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(foreign, "x"), nil, 0o600),
		os.WriteFile(filepath.Join(damaged, ".gitaly-metadata"), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		foreign: "is not a storage", damaged: "is damaged", filepath.Join(foreign, "none"): "does not exist",
	} {
		if _, err := storage.Open("default", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, want %q", path, err, want)
		}
	}
}

func FuzzLocate(f *testing.F) {
	s, err := storage.Open("default", f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	l := storage.NewLocator(s)
	for _, seed := range []string{hashed, "../x", "a/../../b", "/", "+gitaly/x", "a\x00", "./+gitaly", "a//b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rel string) {
		repo, err := l.Locate(msg(rel))
		if err != nil {
			return
		}
		if !strings.HasPrefix(repo.Dir, s.Path+"/") || strings.HasPrefix(repo.Dir, s.Path+"/+gitaly/") ||
			strings.Contains(repo.Dir, "/../") || strings.ContainsRune(repo.Dir, 0) {
			t.Errorf("Locate(%q) = %q", rel, repo.Dir)
		}
	})
}
