package storage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

func TestQuarantine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, other := b.create(t, "a/one.git"), b.create(t, "two.git")
	q, err := repo.NewQuarantine()
	if err != nil {
		t.Fatal(err)
	}
	write := func(r *gitcmd.Repo, content string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "content")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		spec := gitcmd.Spec{Name: "hash-object", Flags: []string{"-tblob", "-w", "--stdin-paths"}, Stdin: strings.NewReader(file + "\n")}
		out, err := b.git.Output(t.Context(), r, spec, 100)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	has := func(r *gitcmd.Repo, oid string) bool {
		t.Helper()
		spec := gitcmd.Spec{Name: "cat-file", Flags: []string{"--batch-check"}, Stdin: strings.NewReader(oid + "\n")}
		out, err := b.git.Output(t.Context(), r, spec, 100)
		if err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(string(out), "missing")
	}
	old, fresh := write(&repo.Repo, "old"), write(&q.Repo.Repo, "new")
	if !has(&q.Repo.Repo, old) || !has(&q.Repo.Repo, fresh) || has(&repo.Repo, fresh) {
		t.Error("the quarantine holds too much or too little")
	}

	// A caller that was told of the quarantine may read from it, in this repository only.
	asked := q.Message(msg("a/one.git"))
	found, err := b.locator.Find(asked)
	if err != nil || !has(&found.Repo, fresh) || !has(&found.Repo, old) {
		t.Errorf("repository with its quarantine: %v", err)
	}
	inner, err := found.NewQuarantine()
	if err != nil {
		t.Fatal(err)
	}
	if !has(&inner.Repo.Repo, fresh) || !has(&inner.Repo.Repo, old) {
		t.Error("a quarantine in a quarantine does not hold what that does")
	}
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	asked.RelativePath = "a/../two.git"
	_, err = b.locator.Find(asked)
	wantErr(t, err, errs.Invalid, `object directory "`+asked.GetGitObjectDirectory()+`" does not belong to the repository`)
	for _, dir := range []string{q.ObjectDir + "/pack", filepath.Dir(q.ObjectDir), q.ObjectDir + "-", strings.Replace(q.ObjectDir, "quarantine-", "repo-", 1)} {
		rel, _ := filepath.Rel(repo.Dir, dir)
		asked = msg("a/one.git")
		asked.GitObjectDirectory = rel
		_, err = b.locator.Find(asked)
		wantErr(t, err, errs.Invalid, `object directory "`+rel+`" does not belong to the repository`)
	}

	litter := filepath.Join(q.ObjectDir, fresh[:2], "tmp_obj_x")
	if err := os.WriteFile(litter, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again: what is there stays
		if err := q.Migrate(); err != nil {
			t.Fatal(err)
		}
	}
	if !has(&repo.Repo, fresh) || has(&other.Repo, fresh) {
		t.Error("the object is not where it must be")
	}
	if _, err := os.Stat(filepath.Join(repo.Dir, "objects", fresh[:2], "tmp_obj_x")); err == nil {
		t.Error("litter was migrated")
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.storage.Path, "+gitaly/tmp/*")); len(left) > 0 || !has(&repo.Repo, fresh) {
		t.Errorf("left behind: %q", left)
	}
	asked = q.Message(msg("a/one.git"))
	_, err = b.locator.Find(asked)
	wantErr(t, err, errs.Invalid, `object directory "`+asked.GetGitObjectDirectory()+`" does not exist`)
}
