package storage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// TestQuarantine_order: whoever finds the index of a pack finds the rest.
func TestQuarantine_order(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := []string{"pack/pack-12.mtimes", "pack/pack-12.keep", "pack/pack-12.pack", "pack/pack-12.rev", "pack/pack-12.idx"}
	for _, name := range append([]string{"pack/tmp_pack_x", "info/packs"}, want...) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q := Quarantine{Repo: &Repo{Repo: gitcmd.Repo{ObjectDir: dir}}}
	got, err := q.files()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}
