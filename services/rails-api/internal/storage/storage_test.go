package storage

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/uploaded"
)

// upload stores content as workhorse does, where the store wants it.
func upload(t *testing.T, s *Store, content string) uploaded.File {
	t.Helper()
	d, err := s.Destination(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(d.TempPath, "gitlab-workhorse-upload")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return uploaded.File{Path: f.Name(), Size: int64(len(content))}
}

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files of mine")
	s, err := Open(t.Context(), "file://"+strings.ReplaceAll(dir, " ", "%20"))
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestStore_directory(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	const key = "lfs/ab/cd/ef"
	if _, err := s.Size(t.Context(), key); errs.KindOf(err) != errs.NotFound {
		t.Errorf("an empty store: %v", err)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("delete in an empty store: %v", err)
	}
	for range 2 { // the same content again is fine
		f := upload(t, s, "content")
		if filepath.Dir(f.Path) != s.TempDir() {
			t.Errorf("uploads go to %q, not to %q", f.Path, s.TempDir())
		}
		if err := s.Keep(t.Context(), f, key); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(f.Path); !os.IsNotExist(err) {
			t.Errorf("the upload is still there: %v", err)
		}
	}
	if n, err := s.Size(t.Context(), key); n != 7 || err != nil {
		t.Errorf("Size = %d, %v", n, err)
	}
	w := httptest.NewRecorder()
	if err := s.Send(t.Context(), w, key, "application/octet-stream", "Übung \"1\".txt"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"X-Sendfile": filepath.Join(dir, key), "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": "attachment; filename*=utf-8''%C3%9Cbung%20%221%22.txt",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), httptest.NewRecorder(), key, "", ""); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a deleted file: %v", err)
	}
	if left, err := os.ReadDir(s.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStore_refuses(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	good := upload(t, s, "x")
	for _, key := range []string{"", "lfs", "/lfs/a", "lfs/../a", "lfs/a/", "lfs//a", "lfs/A", "lfs/a.b", "tmp/uploads/a", "lfs/" + strings.Repeat("a", 600), "lfs/a\x00"} {
		if err := s.Keep(t.Context(), good, key); err == nil {
			t.Errorf("key %q was accepted", key)
		}
		if _, err := s.Size(t.Context(), key); err == nil {
			t.Errorf("key %q was looked for", key)
		}
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{outside, s.TempDir() + "/../../../secret", filepath.Join(dir, "x"), "relative"} {
		if err := s.Keep(t.Context(), uploaded.File{Path: path}, "lfs/a"); err == nil {
			t.Errorf("the file %q was accepted", path)
		}
	}
	link := filepath.Join(s.TempDir(), "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(t.Context(), uploaded.File{Path: link}, "lfs/a"); err == nil {
		t.Error("a symbolic link was kept")
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Size(t.Context(), "out/secret"); err == nil {
		t.Error("a file outside was found")
	}
	for _, address := range []string{"", "file://host/x", "file:x", "file:///x?y=z", "ftp://x", "://", "s3://", "s3://key:secret@bucket", "s3://bucket/path",
		"s3://bucket?region=x&aws_secret_access_key=hidden", "s3://bucket?region=x&endpoint=ftp://x", "s3://bucket?region=x&endpoint=http://k:hidden@x"} {
		if _, err := Open(t.Context(), address); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("the address %q: %v", address, err)
		}
	}
}

// TestStore_directorySweep: what a killed process began to put is removed when nobody can be writing it any more; uploads are workhorse's.
func TestStore_directorySweep(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	if err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Errorf("an empty store: %v", err)
	}
	if err := s.Put(t.Context(), "attachments/1/kept", strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	uploading := upload(t, s, "content").Path
	old, young, kept := filepath.Join(dir, "tmp/put-OLD"), filepath.Join(dir, "tmp/put-YOUNG"), filepath.Join(dir, "attachments/1/kept")
	yesterday := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{old, young, uploading, kept} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != young {
			if err := os.Chtimes(name, yesterday, yesterday); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Sweep(t.Context(), time.Now().Add(-24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{old: false, young: true, uploading: true, kept: true} {
		if _, err := os.Lstat(name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
