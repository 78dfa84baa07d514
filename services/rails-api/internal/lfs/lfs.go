// Package lfs keeps the rows of git-lfs: large files by the SHA-256 of their
// content, which projects have them, and locks on paths.
//
// An object is kept once for the whole installation, and belongs to the projects
// that are linked to it. Knowing an id opens nothing: a project is linked when the
// content was uploaded to it (security-baseline C6, Q4), or when it is a fork of
// one that is (Share).
package lfs

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
)

// Object is one large file.
type Object struct {
	ID   int64
	OID  string // SHA-256 in hex
	Size int64  // bytes
}

// Key returns the name of the object's file in storage. It holds the row's id, so
// that what is being removed never is what was uploaded again meanwhile.
func (o Object) Key() string {
	return fmt.Sprintf("lfs/%s/%s/%s-%d", o.OID[0:2], o.OID[2:4], o.OID[4:], o.ID)
}

// ValidOID reports whether s is an id: 64 lower-case hexadecimal digits.
func ValidOID(s string) bool {
	return len(s) == 64 && strings.IndexFunc(s, func(r rune) bool { return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f') }) < 0
}

// Store reads and writes the rows, on a pool or in a transaction.
type Store struct{ db postgres.DBTX }

// New returns a Store.
func New(db postgres.DBTX) *Store { return &Store{db: db} }

const what = "LFS object"

// Linked returns those of the objects that the project has, by id.
func (s *Store) Linked(ctx context.Context, projectID int64, oids []string) (map[string]Object, error) {
	const query = `
		SELECT o.id, o.oid, o.size FROM lfs_objects o JOIN lfs_objects_projects p ON p.object_id = o.id
		WHERE p.project_id = $1 AND o.oid = ANY ($2) AND o.state = 'stored'`
	list, err := postgres.All(ctx, s.db, what, pgx.RowToStructByPos[Object], query, projectID, oids)
	found := make(map[string]Object, len(list))
	for _, o := range list {
		found[o.OID] = o
	}
	return found, err
}

// Get returns one object of a project.
func (s *Store) Get(ctx context.Context, projectID int64, oid string) (Object, error) {
	found, err := s.Linked(ctx, projectID, []string{oid})
	if err != nil {
		return Object{}, err
	}
	o, ok := found[oid]
	if !ok {
		return o, postgres.NotFound(what)
	}
	return o, nil
}

// Link gives the project an object that is stored already, and reports whether
// there is one. The caller has seen the content.
func (s *Store) Link(ctx context.Context, projectID int64, oid string, size int64) (bool, error) {
	// Touching the object's row makes whoever removes it look again.
	const link = `
		WITH object AS (
			UPDATE lfs_objects SET unlinked_since = NULL WHERE oid = $2 AND size = $3 AND state = 'stored' RETURNING id
		), linked AS (
			INSERT INTO lfs_objects_projects (project_id, object_id) SELECT $1, id FROM object ON CONFLICT DO NOTHING
		)
		SELECT count(*) FROM object`
	var n int
	err := s.db.QueryRow(ctx, link, projectID, oid, size).Scan(&n)
	return n > 0, postgres.Error(err, what)
}

// Reserve makes the row of an object whose file is about to be stored under its
// Key. Nobody sees it until Publish.
func (s *Store) Reserve(ctx context.Context, oid string, size int64) (Object, error) {
	const insert = "INSERT INTO lfs_objects (oid, size) VALUES ($1, $2) RETURNING id, oid, size"
	return postgres.One(ctx, s.db, what, pgx.RowToStructByPos[Object], insert, oid, size)
}

// Publish makes a reserved object, whose file is stored now, one of the project. If
// the same content was published meanwhile, the project gets that, and this file is
// removed with what nobody needs (Condemned).
func (s *Store) Publish(ctx context.Context, projectID int64, o Object) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint: the next statement may fail
			return postgres.Exec(ctx, tx, what, "UPDATE lfs_objects SET state = 'stored' WHERE id = $1 AND state = 'storing'", o.ID)
		})
		if errs.KindOf(err) == errs.Exists {
			err = postgres.Exec(ctx, tx, what, "UPDATE lfs_objects SET state = 'removing' WHERE id = $1", o.ID)
		}
		if err != nil {
			return err
		}
		linked, err := New(tx).Link(ctx, projectID, o.OID, o.Size)
		if err == nil && !linked {
			err = fmt.Errorf("LFS object %s was published and is not there", o.OID)
		}
		return err
	})
	return postgres.Error(err, what)
}
