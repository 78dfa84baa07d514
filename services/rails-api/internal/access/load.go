package access

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/user"
)

// The queries of one decision go to the database together, in one round trip. In
// each of them $1 to $3 are the key, user and name of Who, and this is the user they name.
const actor = `(CASE WHEN $1::bigint <> 0 THEN (SELECT user_id FROM ssh_keys WHERE id = $1 AND kind = 'user' AND usage_type <> 'signing')
	WHEN $2::bigint <> 0 THEN $2 ELSE (SELECT id FROM users WHERE lower(username) = lower($3)) END)`

const (
	actorQuery = `SELECT ` + user.Columns + `, k.expires_at, k.otp_verified_at FROM users u LEFT JOIN ssh_keys k ON k.id = $1 WHERE u.id = ` + actor

	// $4 is the path and $5 the id of the project, $6 the deploy token of Who. The level is what Checker.level computes.
	projectQuery = `
		SELECT ` + project.Columns + `, CASE WHEN n.owner_id = ` + actor + ` THEN 50 ELSE coalesce((
			SELECT max(m.access_level) FROM members m
			WHERE m.user_id = ` + actor + ` AND (m.project_id = p.id OR m.namespace_id = ANY (n.traversal_ids))
			AND (m.expires_at IS NULL OR m.expires_at > current_date)), 0) END,
			coalesce((SELECT can_push FROM deploy_keys_projects WHERE key_id = $1 AND project_id = p.id),
				(SELECT false FROM deploy_tokens t WHERE t.id = $6 AND (t.project_id = p.id OR t.namespace_id = ANY (n.traversal_ids))))
		FROM (SELECT project_id, 0 AS rank FROM routes WHERE lower(path) = lower($4) AND $5::bigint = 0
			UNION ALL SELECT project_id, 1 FROM redirect_routes WHERE lower(path) = lower($4) AND $5 = 0
			UNION ALL SELECT $5, 0 WHERE $5 <> 0) found
		JOIN projects p ON p.id = found.project_id` + project.Joins + `
		WHERE p.state = 'ready' ORDER BY found.rank LIMIT 1`

	// deployQuery finds a deploy key and who added it, whose name stands for it in the hooks of a push, or the deploy token $2, if it is
	// good at $3.
	deployQuery = `
		SELECT k.id, false, k.expires_at, coalesce(u.id, 0), coalesce(u.username, '') FROM ssh_keys k LEFT JOIN users u ON u.id = k.user_id
		WHERE k.id = $1 AND k.kind = 'deploy'
		UNION ALL SELECT t.id, true, NULL, 0, t.username FROM deploy_tokens t WHERE t.id = $2 AND t.expires_at > $3`

	rulesQuery = `SELECT id, project_id, name, push_access_level, merge_access_level, allow_force_push FROM protected_branches WHERE project_id = $1 ORDER BY name`

	// lockedQuery reports whether somebody else than the user has a lock in the project $4; nobody is somebody else to everybody.
	lockedQuery = `SELECT EXISTS (SELECT 1 FROM lfs_file_locks WHERE project_id = $4 AND user_id <> coalesce(` + actor + `, 0))`

	// touchQuery notes the use of an SSH key, to the minute.
	touchQuery = `UPDATE ssh_keys SET last_used_at = $2
		WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')`
)

// load reads everything about one request. An actor or a project that does not
// exist is no error.
func (c *Checker) load(ctx context.Context, in GitRequest) (facts, error) {
	var b pgx.Batch
	b.Queue(actorQuery, in.Who.KeyID, in.Who.UserID, in.Who.Username)
	b.Queue(projectQuery, in.Who.KeyID, in.Who.UserID, in.Who.Username, in.Path, in.ProjectID, in.Who.DeployTokenID)
	b.Queue(deployQuery, in.Who.KeyID, in.Who.DeployTokenID, c.Now())
	b.Queue(rulesQuery, in.ProjectID) // changes come with the project's id
	b.Queue(lockedQuery, in.Who.KeyID, in.Who.UserID, in.Who.Username, in.ProjectID)
	b.Queue(touchQuery, in.Who.KeyID, c.Now())
	results := c.DB.SendBatch(ctx, &b)
	f, err := readFacts(results)
	err = errors.Join(err, results.Close())
	if f.result.User != nil {
		f.result.KeyID = in.Who.KeyID
		f.level, _ = levelOf(f.result.User, func(int64) (member.Level, error) { return f.level, nil })
	}
	f.result.Moved = f.found && in.ProjectID == 0 && f.result.Project.FullPath != in.Path
	return f, postgres.Error(err, "access")
}

func readFacts(results pgx.BatchResults) (facts, error) {
	var f facts
	var u user.User
	switch err := results.QueryRow().Scan(append(u.Fields(), &f.result.KeyEnds, &f.result.OTPVerified)...); {
	case err == nil:
		f.result.User = &u
	case !errors.Is(err, pgx.ErrNoRows):
		return f, err
	}
	var canPush *bool
	switch err := results.QueryRow().Scan(append(f.result.Project.Fields(), &f.level, &canPush)...); {
	case err == nil:
		f.found = true
	case !errors.Is(err, pgx.ErrNoRows):
		return f, err
	}
	d := Deploy{Attached: canPush != nil, CanPush: canPush != nil && *canPush}
	switch err := results.QueryRow().Scan(&d.ID, &d.Token, &f.result.KeyEnds, &d.AdderID, &d.Username); {
	case err == nil:
		f.result.Deploy = &d
	case !errors.Is(err, pgx.ErrNoRows):
		return f, err
	}
	rows, err := results.Query()
	if err != nil {
		return f, err
	}
	if f.rules, err = pgx.CollectRows(rows, pgx.RowToStructByPos[protection.Rule]); err != nil {
		return f, err
	}
	if err = results.QueryRow().Scan(&f.locked); err != nil {
		return f, err
	}
	_, err = results.Exec()
	return f, err
}

// loadByPath reads the rules and locks of a project that was named by its path, which
// load could not; changes usually come with the id.
func (c *Checker) loadByPath(ctx context.Context, in GitRequest, f *facts) error {
	if in.ProjectID != 0 || len(in.Changes) == 0 {
		return nil
	}
	rules, err := protection.New(c.DB).All(ctx, f.result.Project.ID)
	if err != nil {
		return err
	}
	f.rules = rules
	f.locked, err = lfs.New(c.DB).LockedByOthers(ctx, f.result.Project.ID, userID(f.result))
	return err
}

// create makes the project of a push to a path below a namespace in which the
// actor may create projects (wire/internal-api.md §5.2).
func (c *Checker) create(ctx context.Context, in GitRequest, f *facts) error {
	missing := errs.New(errs.NotFound, projectNotFound)
	u := f.result.User
	if in.Action != ReceivePack || !in.Any || in.Existing || in.ProjectID != 0 || u == nil || c.Creator == nil {
		return missing
	}
	spec, err := c.newProject(ctx, u, in.Path)
	if err != nil {
		return err
	}
	p, err := c.Creator.Create(ctx, spec)
	switch errs.KindOf(err) {
	case errs.Exists: // somebody else made it meanwhile, or is about to
		again, loadErr := c.load(ctx, in)
		if loadErr == nil && again.found {
			*f = again
			return nil
		}
		return couldNot(err)
	case errs.Invalid:
		return couldNot(err)
	}
	if err != nil {
		return err
	}
	f.found, f.result.Created, f.result.Project = true, true, p
	f.level, err = levelOf(u, func(id int64) (member.Level, error) { return c.ProjectLevel(ctx, id, p) })
	return err
}

// couldNot says why a project was not made, as a sentence.
func couldNot(err error) error {
	text := errs.Message(err)
	if text != "" {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return errs.Wrap(errs.Invalid, notCreated+text, err)
}

func itoa(id int64) string { return strconv.FormatInt(id, 10) }
