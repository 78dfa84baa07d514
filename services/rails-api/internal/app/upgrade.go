package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gitsplit/services/rails-api/internal/backup"
	"gitsplit/services/rails-api/internal/postgres"
)

// keptDumps is how many copies of the database stay.
const keptDumps = 3

// beforeMigration copies the database before its schema changes: `gitsplit restore --database` brings the rows back.
func (b *base) beforeMigration(ctx context.Context, from, to postgres.Versions) error {
	if b.cfg.MigrationDumps == "" {
		b.log.WarnContext(ctx, "the schema changes without a copy of the database; migration_dumps names no directory")
		return nil
	}
	now := time.Now()
	name := fmt.Sprintf("before-%d.%d-%s.tar", to.Own, to.Jobs, now.UTC().Format("20060102T150405.000Z"))
	place, err := backup.FindPlace(filepath.Join(b.cfg.MigrationDumps, name), now)
	if err != nil {
		return err
	}
	size, err := place.Write(ctx, func(w io.Writer) error { return backup.Database(ctx, b.cfg.DatabaseURL, now, w) })
	if err != nil {
		return fmt.Errorf("copy the database before its schema changes (migration_dumps): %w", err)
	}
	b.log.InfoContext(ctx, "copied the database before its schema changes", slog.String("file", place.String()),
		slog.Int64("bytes", size), slog.String("from", from.String()), slog.String("to", to.String()))
	return dropOldDumps(b.cfg.MigrationDumps)
}

// dropOldDumps removes all copies but the newest.
func dropOldDumps(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "before-*.tar"))
	if err != nil {
		return fmt.Errorf("copies of the database: %w", err)
	}
	made := map[string]time.Time{}
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("copies of the database: %w", err)
		}
		made[path] = info.ModTime()
	}
	slices.SortFunc(found, func(a, b string) int { return made[b].Compare(made[a]) })
	for _, path := range found[min(keptDumps, len(found)):] {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("copies of the database: %w", err)
		}
	}
	return nil
}
