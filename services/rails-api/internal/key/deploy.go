package key

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/pathrule"
	"gitsplit/services/rails-api/internal/postgres"
)

// Attached is a deploy key as one project has it.
type Attached struct {
	Key
	CanPush bool
}

// AttachedColumns of ssh_keys k and deploy_keys_projects d.
const attachedColumns = Columns + ", d.can_push"

func scanAttached(row pgx.CollectableRow) (Attached, error) {
	var k Attached
	err := row.Scan(append(k.fields(), &k.CanPush)...)
	return k, err
}

// Add makes a deploy key and attaches it to a project. A key that is a deploy key
// already is attached as it is, if the adder may use it there: mayUse is asked
// about the projects that have it. It is errs.Exists when the project has the key,
// when it is a user's, and when mayUse says no to every project.
func (s *Store) Add(ctx context.Context, in NewKey, projectID int64, canPush bool, mayUse func(projects []int64) (bool, error)) (Attached, error) {
	in.Kind, in.UsageType = Deploy, Auth
	var k Attached
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		fresh, err := New(tx).createOrFind(ctx, in, mayUse)
		if err != nil {
			return err
		}
		k, err = New(tx).Attach(ctx, fresh.ID, projectID, canPush)
		return err
	})
	return k, postgres.Error(err, what)
}

// createOrFind is one statement deep in its own savepoint, so that a key that
// exists does not end the transaction.
func (s *Store) createOrFind(ctx context.Context, in NewKey, mayUse func([]int64) (bool, error)) (k Key, err error) {
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		k, err = New(tx).Create(ctx, in)
		return err
	})
	if errs.KindOf(err) != errs.Exists {
		return k, err
	}
	parsed, parseErr := Parse(in.Text)
	if parseErr != nil {
		return k, postgres.Invalid("key", parseErr.Error())
	}
	const query = "SELECT " + Columns + " FROM ssh_keys k WHERE k.fingerprint_sha256 = $1 AND k.kind = 'deploy'"
	found, findErr := postgres.One(ctx, s.db, what, scan, query, parsed.Fingerprint)
	if errs.KindOf(findErr) == errs.NotFound {
		return k, err
	}
	if findErr != nil {
		return k, findErr
	}
	projects, findErr := s.Projects(ctx, found.ID)
	if findErr != nil {
		return k, findErr
	}
	if ok, findErr := mayUse(projects); findErr != nil || !ok {
		if findErr != nil {
			return k, findErr
		}
		return k, err
	}
	return found, nil
}

// Projects returns the projects that have a deploy key.
func (s *Store) Projects(ctx context.Context, id int64) ([]int64, error) {
	return postgres.All(ctx, s.db, what, pgx.RowTo[int64], "SELECT project_id FROM deploy_keys_projects WHERE key_id = $1 ORDER BY project_id", id)
}

// Attach gives a project a deploy key. It is errs.Exists when it has it.
func (s *Store) Attach(ctx context.Context, id, projectID int64, canPush bool) (Attached, error) {
	const insert = "INSERT INTO deploy_keys_projects (key_id, project_id, can_push) VALUES ($1, $2, $3)"
	if err := postgres.Exec(ctx, s.db, what, insert, id, projectID, canPush); err != nil {
		return Attached{}, err
	}
	return s.AttachedTo(ctx, id, projectID)
}

// AttachedTo returns a deploy key of a project.
func (s *Store) AttachedTo(ctx context.Context, id, projectID int64) (Attached, error) {
	const query = "SELECT " + attachedColumns + ` FROM ssh_keys k JOIN deploy_keys_projects d ON d.key_id = k.id
		WHERE k.id = $1 AND d.project_id = $2`
	return postgres.One(ctx, s.db, what, scanAttached, query, id, projectID)
}

// ListAttached returns a page of a project's deploy keys, oldest first, and how
// many there are.
func (s *Store) ListAttached(ctx context.Context, projectID int64, p postgres.Page) ([]Attached, int, error) {
	l := postgres.Listing[Attached]{
		What: what, Columns: attachedColumns, OrderBy: "k.id", Scan: scanAttached,
		From: "FROM ssh_keys k JOIN deploy_keys_projects d ON d.key_id = k.id WHERE d.project_id = $1",
	}
	return l.Page(ctx, s.db, p, projectID)
}

// ListDeploy returns a page of all deploy keys, oldest first, and how many there are.
func (s *Store) ListDeploy(ctx context.Context, p postgres.Page) ([]Key, int, error) {
	l := postgres.Listing[Key]{What: what, Columns: Columns, From: "FROM ssh_keys k WHERE k.kind = 'deploy'", OrderBy: "k.id", Scan: scan}
	return l.Page(ctx, s.db, p)
}

// Retitle changes what a deploy key is called and whether it may push to a
// project; nil leaves a value as it is.
func (s *Store) Retitle(ctx context.Context, id, projectID int64, title *string, canPush *bool) (Attached, error) {
	if title != nil {
		if err := pathrule.Name(*title); err != nil {
			return Attached{}, postgres.Invalid("title", err.Error())
		}
	}
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		const push = "UPDATE deploy_keys_projects SET can_push = coalesce($3, can_push) WHERE key_id = $1 AND project_id = $2"
		if err := postgres.Exec(ctx, tx, what, push, id, projectID, canPush); err != nil {
			return err
		}
		return postgres.Exec(ctx, tx, what, "UPDATE ssh_keys SET title = coalesce($2, title) WHERE id = $1 AND kind = 'deploy'", id, title)
	})
	if err != nil {
		return Attached{}, postgres.Error(err, what)
	}
	return s.AttachedTo(ctx, id, projectID)
}

// Detach takes a deploy key from a project. A key that no project has is removed.
func (s *Store) Detach(ctx context.Context, id, projectID int64) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := postgres.Exec(ctx, tx, what, "DELETE FROM deploy_keys_projects WHERE key_id = $1 AND project_id = $2", id, projectID); err != nil {
			return err
		}
		const orphan = "DELETE FROM ssh_keys k WHERE k.id = $1 AND k.kind = 'deploy' AND NOT EXISTS (SELECT 1 FROM deploy_keys_projects WHERE key_id = k.id)"
		_, err := tx.Exec(ctx, orphan, id)
		return err
	})
	return postgres.Error(err, what)
}
