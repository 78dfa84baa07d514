// Package backup writes everything that an installation is into one archive (package archive), and makes an installation of it again.
//
// A backup is consistent while people work. The rows are of one moment; each repository is of a later one, so it has at least what the rows
// speak of, and what it has more is found by comparing references with recorded pushes after a restore. Large files that pushes brought
// meanwhile come with the rows that name them: those tables are read once more, after the repositories.
//
// A restore reads the archive to its end before it changes anything, and fills a database beside the one in use, which it puts in place when
// all else is there. Repositories go to places of their own; those that the former database had are removed after that.
package backup

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gitsplit/services/rails-api/internal/archive"
	"gitsplit/services/rails-api/internal/dump"
	"gitsplit/services/rails-api/internal/gitaly"
)

// Files are the stored files; storage.Store has them.
type Files interface {
	List(ctx context.Context, each func(key string, size int64) error) error
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	Put(ctx context.Context, key string, content io.Reader) error
}

// Deps is what a backup and a restore work with; every field is needed.
type Deps struct {
	DatabaseURL string
	DB          *pgxpool.Pool // on the same database
	Gitaly      *gitaly.Client
	Files       Files
	Secrets     Secrets
	Now         func() time.Time
	Tell        func(format string, args ...any) // shows progress
}

// format is the version of what the archive holds. A reader refuses others.
const format = 1

// header is the first entry of an archive.
type header struct {
	Format    int         `json:"format"`
	CreatedAt time.Time   `json:"created_at"`
	Schema    dump.Schema `json:"schema"`
	// Complete says that this is more than a copy of the database.
	Complete bool `json:"complete"`
}

// Names of the entries.
const (
	headerName      = "gitsplit-backup.json"
	databasePrefix  = "database/"
	laterPrefix     = "database-later/"
	sequencesName   = "database-later.json"
	repositoryBegin = "repositories/"
	filePrefix      = "files/"
	secretsName     = "secrets.tar.age"
)

// Options says what a backup leaves out.
type Options struct {
	// Broken leaves out repositories that cannot be read; the result names them.
	Broken bool
}

// Result is what was written.
type Result struct {
	Repositories, Files int
	Missing             []string // projects whose repositories could not be read
}

// Database writes an archive with the rows of the database alone.
func Database(ctx context.Context, url string, now time.Time, w io.Writer) error {
	s, err := dump.Take(ctx, url)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	out := archive.NewWriter(w, now)
	if err := out.AddJSON(headerName, header{Format: format, CreatedAt: now, Schema: s.Schema}); err != nil {
		return err
	}
	if _, err := writeTables(ctx, s, out, databasePrefix, s.Schema.Tables); err != nil {
		return err
	}
	return out.Close()
}

// Create writes an archive of everything.
func Create(ctx context.Context, d Deps, o Options, w io.Writer) (result Result, err error) {
	out := archive.NewWriter(w, d.Now())
	projects, err := d.rows(ctx, out)
	if err != nil {
		return result, err
	}
	if result.Missing, err = d.repositories(ctx, out, projects, o); err != nil {
		return result, err
	}
	result.Repositories = len(projects) - len(result.Missing)
	if err := d.laterRows(ctx, out); err != nil {
		return result, err
	}
	if result.Files, err = d.files(ctx, out); err != nil {
		return result, err
	}
	if err := d.secrets(out); err != nil {
		return result, err
	}
	return result, out.Close()
}

// files copies every stored file. One that is removed meanwhile was not wanted.
func (d Deps) files(ctx context.Context, out *archive.Writer) (count int, err error) {
	var total int64
	err = d.Files.List(ctx, func(key string, _ int64) error {
		f, err := d.Files.Open(ctx, key)
		if absent(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stored file %q: %w", key, err)
		}
		defer func() { _ = f.Close() }() // read only
		n, err := out.Add(filePrefix+key, f)
		count, total = count+1, total+n
		return err
	})
	d.Tell("files: %d, %s", count, Bytes(total))
	return count, err
}

func (d Deps) secrets(out *archive.Writer) error {
	if !d.Secrets.wanted() {
		d.Tell("secrets: left out, as told")
		return nil
	}
	count := 0
	_, err := out.Stream(secretsName, func(w io.Writer) (err error) {
		count, err = d.Secrets.write(w)
		return err
	})
	d.Tell("secrets: %d", count)
	return err
}

// Bytes shows a number of bytes.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for ; value >= unit && i < len("KMGTP")-1; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[i])
}
