package project

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
)

// Import says how far the repository of a project has come.
type Import string

// The states of an import, as GitLab names them.
const (
	ImportNone      Import = "none"      // the project is no fork
	ImportScheduled Import = "scheduled" // the repository is being made
	ImportFinished  Import = "finished"
	ImportFailed    Import = "failed" // the repository will not come
)

// HasRepository reports whether the repository is there.
func (i Import) HasRepository() bool { return i == ImportNone || i == ImportFinished }

// MarkFork makes a project that is just being created a fork of another, whose
// repository it does not have yet. A source that is gone is errs.NotFound.
func (s *Store) MarkFork(ctx context.Context, id, sourceID int64) error {
	const change = `
		UPDATE projects f SET forked_from_id = s.id, import_status = 'scheduled', empty_repo = s.empty_repo, refs_known = s.empty_repo,
			repository_size = s.repository_size, commit_count = s.commit_count
		FROM projects s WHERE f.id = $1 AND s.id = $2 AND s.state = 'ready'`
	return postgres.Exec(ctx, s.db, what, change, id, sourceID)
}

// EndImport says what came of an import, and why it failed. A project that is gone
// is errs.NotFound.
func (s *Store) EndImport(ctx context.Context, id int64, to Import, fault string) error {
	const change = "UPDATE projects SET import_status = $2, import_error = $3 WHERE id = $1 AND state = 'ready'"
	return postgres.Exec(ctx, s.db, what, change, id, to, fault)
}

// CountForks returns how many forks projects have, by id.
func (s *Store) CountForks(ctx context.Context, ids []int64) (map[int64]int, error) {
	type count struct {
		ID int64
		N  int
	}
	const query = "SELECT forked_from_id, count(*) FROM projects WHERE forked_from_id = ANY ($1) AND state = 'ready' GROUP BY forked_from_id"
	list, err := postgres.All(ctx, s.db, what, pgx.RowToStructByPos[count], query, ids)
	counts := make(map[int64]int, len(list))
	for _, c := range list {
		counts[c.ID] = c.N
	}
	return counts, err
}
