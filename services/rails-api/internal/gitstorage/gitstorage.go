// Package gitstorage keeps what the database knows of storages: their shares of new projects, which an operator changes while
// everything runs, and where those are that the configuration does not name. What the configuration says of a storage's server goes
// before the database; with weights it is the other way round.
package gitstorage

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/sealed"
)

const what = "storage"

// MaxWeight is the largest weight.
const MaxWeight = 10000

// Weights returns the weights that were set, by storage.
func Weights(ctx context.Context, db postgres.DBTX) (map[string]int, error) {
	type row struct {
		Name   string
		Weight int
	}
	list, err := postgres.All(ctx, db, what, pgx.RowToStructByPos[row], "SELECT name, weight FROM storages")
	weights := map[string]int{}
	for _, r := range list {
		weights[r.Name] = r.Weight
	}
	return weights, err
}

// SetWeight sets the weight of a storage, which the caller knows to be there.
func SetWeight(ctx context.Context, db postgres.DBTX, name string, weight int) error {
	if weight < 0 || weight > MaxWeight {
		return errs.Newf(errs.Invalid, "the weight %d is not between 0 and %d", weight, MaxWeight)
	}
	const set = `INSERT INTO storages (name, weight) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET weight = excluded.weight, updated_at = now()`
	return postgres.Exec(ctx, db, what, set, name, weight)
}

// Store keeps the storages that the configuration does not name. Their tokens are sealed.
type Store struct {
	db  postgres.DBTX
	box *sealed.Box
}

// New returns a Store.
func New(db postgres.DBTX, box *sealed.Box) *Store { return &Store{db: db, box: box} }

func place(name string) string { return "storages.gitaly_token " + name }

// Add enters a storage. One that is there already is errs.Exists.
func (s *Store) Add(ctx context.Context, in gitaly.Storage) error {
	if in.Weight < 0 || in.Weight > MaxWeight {
		return errs.Newf(errs.Invalid, "the weight %d is not between 0 and %d", in.Weight, MaxWeight)
	}
	var token []byte
	if in.Token != "" {
		token = s.box.Seal([]byte(in.Token), place(in.Name))
	}
	const insert = `INSERT INTO storages (name, weight, gitaly_address, gitaly_token) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET weight = $2, gitaly_address = $3, gitaly_token = $4, updated_at = now() WHERE storages.gitaly_address IS NULL`
	err := postgres.Exec(ctx, s.db, what, insert, in.Name, in.Weight, in.Address, token)
	if errs.KindOf(err) == errs.NotFound {
		return errs.Newf(errs.Exists, "there is a storage %q already", in.Name)
	}
	return err
}

// Load returns a storage that was added.
func (s *Store) Load(ctx context.Context, name string) (gitaly.Storage, error) {
	list, err := s.added(ctx, name)
	if err == nil && len(list) == 0 {
		err = errs.Newf(errs.NotFound, "there is no storage %q", name)
	}
	if err != nil {
		return gitaly.Storage{}, err
	}
	return list[0], nil
}

// Added returns all storages that were added, by name.
func (s *Store) Added(ctx context.Context) ([]gitaly.Storage, error) { return s.added(ctx, "") }

func (s *Store) added(ctx context.Context, name string) ([]gitaly.Storage, error) {
	const query = `SELECT name, weight, gitaly_address, gitaly_token FROM storages
		WHERE gitaly_address IS NOT NULL AND ($1 = '' OR name = $1) ORDER BY name`
	return postgres.All(ctx, s.db, what, func(row pgx.CollectableRow) (st gitaly.Storage, err error) {
		var token []byte
		if err := row.Scan(&st.Name, &st.Weight, &st.Address, &token); err != nil || token == nil {
			return st, err
		}
		token, err = s.box.Open(token, place(st.Name))
		st.Token = string(token)
		return st, err
	}, query, name)
}
