package suspect_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/suspect"
)

// TestMarks: a mark outlives the process, is told once, and goes when it is cleared.
func TestMarks(t *testing.T) {
	t.Parallel()
	st, err := storage.Open("default", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	repo, err := storage.NewLocator(st).Locate(&gitalypb.Repository{StorageName: "default", RelativePath: "a/b\xff.git"})
	if err != nil {
		t.Fatal(err)
	}
	var due []string
	open := func() *suspect.Marks {
		m, err := suspect.Open(suspect.Options{Log: logging.Discard(), Due: func(_, path string) { due = append(due, path) }}, st)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	if m.Marked(repo) {
		t.Error("marked at the start")
	}
	m.Mark(t.Context(), repo, errors.New("input/output error"))
	m.Mark(t.Context(), repo, errors.New("again"))
	if !slices.Equal(due, []string{repo.RelativePath}) {
		t.Errorf("due: %q", due)
	}
	if err := os.WriteFile(filepath.Join(st.Own(), "checks/.new-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = open()
	if got := m.List("default"); !m.Marked(repo) || !slices.Equal(got, []string{repo.RelativePath}) {
		t.Errorf("after a restart: %q", got)
	}
	if err := m.Clear(repo); err != nil || m.Marked(repo) {
		t.Errorf("clear: %v", err)
	}
	if got := open().List("default"); len(got) != 0 {
		t.Errorf("after another: %q", got)
	}
}
