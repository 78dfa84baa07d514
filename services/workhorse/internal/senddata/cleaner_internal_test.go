package senddata

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gitsplit/kit/logging"
)

func TestArchives_clean(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	put := func(name string, size int, age time.Duration) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		for p := path; p != dir; p = filepath.Dir(p) {
			if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := []string{"project-1/a/@v2/old.zip", "project-1/a/@v2/" + draftPrefix + "X-old.tar.gz", "project-2/b/@v2/oldest of the rest.zip"}
	put(gone[0], 1, 3*time.Hour)
	put(gone[1], 1, 3*time.Hour)
	put("project-1/a/@v2/notes.txt", 1, 3*time.Hour)
	put(gone[2], 60, time.Hour)
	put("project-2/b/@v2/"+draftPrefix+"Y-x.zip", 30, 50*time.Minute)
	put("project-2/b/@v2/younger.tar.bz2", 60, 40*time.Minute)
	put("project-2/b/@v2/deeper/than/x.zip", 1000, 3*time.Hour)
	put("elsewhere/old.zip", 1000, 3*time.Hour)
	put("project-3/c/@v2/x", 0, 3*time.Hour)
	if err := os.Remove(dir + "/project-3/c/@v2/x"); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"project-3/c/@v2", "project-3/c", "project-3"} {
		if err := os.Chtimes(filepath.Join(dir, d), now.Add(-3*time.Hour), now.Add(-3*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	a := NewArchives(100, 2*time.Hour, logging.Discard(), func() time.Time { return now })
	if err := a.clean(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(gone, "project-3") {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%q is still there", name)
		}
	}
	for _, name := range []string{"project-1/a/@v2/notes.txt", "project-2/b/@v2/younger.tar.bz2", "project-2/b/@v2/" + draftPrefix + "Y-x.zip",
		"project-2/b/@v2/deeper/than/x.zip", "elsewhere/old.zip"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%q is gone", name)
		}
	}
}

// Who has named a directory gets it cleaned; those beyond the bound are left alone.
func TestArchives_watch(t *testing.T) {
	t.Parallel()
	a := NewArchives(1, time.Hour, logging.Discard(), time.Now)
	for i := range maxDirs + 5 {
		a.watch(string(rune('a' + i)))
	}
	if len(a.dirs) != maxDirs || len(a.wake) != 1 {
		t.Errorf("%d directories, %d cleanings due", len(a.dirs), len(a.wake))
	}
	if slices.Contains([]bool{isArchive("a.zip"), isArchive("a.tar.gz"), isArchive("a.tbz2")}, false) || isArchive("a.txt") || isArchive("zip") {
		t.Error("isArchive")
	}
}
