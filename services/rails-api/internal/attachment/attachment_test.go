package attachment_test

import (
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/attachment"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/uploaded/uploadedtest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func upload(t *testing.T, b *railstest.Bench, content string) uploaded.File {
	t.Helper()
	d, err := b.Files.Destination(t.Context(), 0)
	b.Must(err)
	fields := uploadedtest.Store(t, d.TempPath, "a.txt", content)
	return uploaded.File{Name: "a.txt", Path: fields["path"], Size: int64(len(content))}
}

// The files of a project go with it, and only then.
func TestRemoveWithdrawn(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p, other := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(ada.NamespaceID, "other", visibility.Private)
	store := attachment.New(b.DB, b.Files)
	mine, err := store.Create(t.Context(), p.ID, ada.ID, upload(t, b, "mine"))
	b.Must(err)
	theirs, err := store.Create(t.Context(), other.ID, ada.ID, upload(t, b, "theirs"))
	b.Must(err)
	b.Must(attachment.RemoveWithdrawn(t.Context(), b.DB, b.Files, p.ID))
	if n, err := b.Files.Size(t.Context(), mine.Key()); n != 4 || err != nil {
		t.Errorf("the file of a visible project: %d, %v", n, err)
	}
	b.Must(project.New(b.DB).Withdraw(t.Context(), p.ID))
	for range 2 {
		b.Must(attachment.RemoveWithdrawn(t.Context(), b.DB, b.Files, p.ID))
	}
	if _, err := b.Files.Size(t.Context(), mine.Key()); errs.KindOf(err) != errs.NotFound {
		t.Errorf("the file of a withdrawn project: %v", err)
	}
	if n, err := b.Files.Size(t.Context(), theirs.Key()); n != 6 || err != nil {
		t.Errorf("the file of another project: %d, %v", n, err)
	}
}

// An upload that cannot be kept leaves no row.
func TestStore_Create_lost(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	f := upload(t, b, "x")
	f.Path += strings.Repeat("x", 3)
	a, err := attachment.New(b.DB, b.Files).Create(t.Context(), p.ID, ada.ID, f)
	if err == nil {
		t.Error("a file that is not there was kept")
	}
	if _, err := attachment.New(b.DB, b.Files).Find(t.Context(), p.ID, a.Secret, a.Name); errs.KindOf(err) != errs.NotFound {
		t.Errorf("the row of a lost file: %v", err)
	}
}
