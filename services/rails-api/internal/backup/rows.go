package backup

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/archive"
	"gitsplit/services/rails-api/internal/dump"
	"gitsplit/services/rails-api/internal/postgres"
)

// later are the tables that are read once more after the repositories, with the condition on a row n that nothing is told of it yet that
// would need other rows: large files, and which of the projects have them.
func later() []struct{ table, where string } {
	return []struct{ table, where string }{
		{"lfs_objects", "n.state = 'stored'"},
		{"lfs_objects_projects", "EXISTS (SELECT FROM projects p WHERE p.id = n.project_id) AND EXISTS (SELECT FROM lfs_objects o WHERE o.id = n.object_id)"},
	}
}

// rows writes the header and all rows as they are now, and returns the projects among them.
func (d Deps) rows(ctx context.Context, out *archive.Writer) ([]int64, error) {
	s, err := dump.Take(ctx, d.DatabaseURL)
	if err != nil {
		return nil, err
	}
	defer s.Close(ctx) // the repositories take their time; nothing of the database is held for so long
	if err := out.AddJSON(headerName, header{Format: format, CreatedAt: d.Now(), Schema: s.Schema, Complete: true}); err != nil {
		return nil, err
	}
	size, err := writeTables(ctx, s, out, databasePrefix, s.Schema.Tables)
	if err != nil {
		return nil, err
	}
	d.Tell("database: %d tables, version %v, %s", len(s.Schema.Tables), s.Schema.Versions, Bytes(size))
	return postgres.All(ctx, s, "project", pgx.RowTo[int64], "SELECT id FROM projects WHERE state = 'ready' ORDER BY id")
}

func (d Deps) laterRows(ctx context.Context, out *archive.Writer) error {
	s, err := dump.Take(ctx, d.DatabaseURL)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	if err := out.AddJSON(sequencesName, s.Schema.Sequences); err != nil {
		return err
	}
	for _, l := range later() {
		i := slices.IndexFunc(s.Schema.Tables, func(t dump.Table) bool { return t.Name == l.table })
		if i < 0 {
			return errors.New("the database has no table " + l.table)
		}
		if _, err := writeTables(ctx, s, out, laterPrefix, s.Schema.Tables[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

const rowsSuffix = ".copy.gz"

func writeTables(ctx context.Context, s *dump.Snapshot, out *archive.Writer, prefix string, tables []dump.Table) (size int64, err error) {
	for _, t := range tables {
		n, err := out.Stream(prefix+t.Name+rowsSuffix, func(w io.Writer) error {
			z := gzip.NewWriter(w)
			return errors.Join(s.Copy(ctx, t, z), z.Close())
		})
		if err != nil {
			return size, err
		}
		size += n
	}
	return size, nil
}

// tableOf returns the table of an entry of rows.
func tableOf(entry, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(entry, prefix)
	table, suffixed := strings.CutSuffix(rest, rowsSuffix)
	return table, ok && suffixed
}

// fillRows puts rows into their table.
func fillRows(content io.Reader, fill func(io.Reader) error) error {
	z, err := gzip.NewReader(content)
	if err != nil {
		return errs.Wrap(errs.Invalid, "the archive is damaged or cut short", err)
	}
	return errors.Join(fill(z), z.Close())
}
