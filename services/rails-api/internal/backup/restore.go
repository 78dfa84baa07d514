package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/archive"
	"gitsplit/services/rails-api/internal/dump"
	"gitsplit/services/rails-api/internal/jsondepth"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

// Source opens the archive at its beginning; it is read twice.
type Source func(ctx context.Context) (io.ReadCloser, error)

// RestoreOptions says what a restore may do.
type RestoreOptions struct {
	// Replace lets go of what the installation holds.
	Replace bool
	// Database restores the rows alone, also of a backup that holds more.
	Database bool
	// Hooks restores custom hooks too. They are programs, and nothing in an archive proves who wrote it.
	Hooks bool
}

// Check reads an archive to its end, and its secrets with the passphrase, if there is one. It changes nothing.
func Check(ctx context.Context, d Deps, open Source) error {
	_, err := d.check(ctx, open)
	return err
}

// Restore makes this installation the one that was backed up. Nothing of it may run but PostgreSQL and gitaly. A backup that is damaged, or
// from a newer version, an installation that is not empty and a wrong passphrase are refused before anything is changed.
func Restore(ctx context.Context, d Deps, o RestoreOptions, open Source) error {
	h, err := d.check(ctx, open)
	if err != nil {
		return err
	}
	if !h.Complete && !o.Database {
		return errs.New(errs.FailedPrecondition, "this is a copy of the database alone; say --database to restore it")
	}
	old, err := d.occupied(ctx)
	if err != nil {
		return err
	}
	if len(old) > 0 && !o.Replace {
		return errs.Newf(errs.FailedPrecondition, "this installation is not empty (%s); say --replace to let go of what it holds", strings.Join(old, ", "))
	}
	r := &restore{Deps: d, options: o}
	return r.run(ctx, h, open)
}

func (d Deps) check(ctx context.Context, open Source) (h header, err error) {
	file, err := open(ctx)
	if err != nil {
		return h, err
	}
	defer func() { _ = file.Close() }() // read only
	in := archive.NewReader(file)
	if h, err = readHeader(in); err != nil {
		return h, err
	}
	sealed := false
	for {
		name, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && name == secretsName {
			if sealed = true; d.Secrets.wanted() {
				_, err = d.Secrets.read(in, func(string, []byte) error { return nil })
			}
		}
		if err != nil {
			return h, err
		}
	}
	if h.Complete && d.Secrets.wanted() && !sealed {
		return h, errs.New(errs.FailedPrecondition, "this backup holds no secrets; say --without-secrets to do without")
	}
	d.Tell("the archive of %s is whole", h.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC"))
	return h, nil
}

func readHeader(in *archive.Reader) (h header, err error) {
	name, err := in.Next()
	if errors.Is(err, io.EOF) || err == nil && name != headerName {
		return h, errs.New(errs.Invalid, "this is no backup of gitsplit")
	}
	if err != nil {
		return h, err
	}
	if err := readJSON(in, &h); err != nil {
		return h, err
	}
	if h.Format != format {
		return h, errs.Newf(errs.FailedPrecondition, "the backup has format %d; this gitsplit reads %d", h.Format, format)
	}
	return h, dump.Supported(h.Schema.Versions)
}

// maxJSON is the length of the longest of the archive's values, in bytes; a header has about ten thousand.
const maxJSON = 1 << 20

// readJSON reads an entry that is one value.
func readJSON(in io.Reader, v any) error {
	text, err := io.ReadAll(io.LimitReader(in, maxJSON+1))
	switch {
	case err != nil:
	case len(text) > maxJSON:
		err = fmt.Errorf("a value is longer than %d bytes", maxJSON)
	case jsondepth.Exceeds(text):
		err = errors.New("a value is nested too deep")
	default:
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return errs.Wrap(errs.Invalid, "the archive is damaged or cut short", err)
	}
	return nil
}

// occupied tells what the installation holds besides its first account.
func (d Deps) occupied(ctx context.Context) (list []string, err error) {
	v, err := postgres.Present(ctx, d.DB)
	if err != nil || v.Own == 0 {
		return nil, err
	}
	for _, kind := range []struct{ name, query string }{
		{"projects", "SELECT count(*) FROM projects"},
		{"groups", "SELECT count(*) FROM namespaces WHERE kind = 'group'"},
		{"accounts besides root", "SELECT count(*) FROM users WHERE username <> 'root'"},
	} {
		var n int64
		if err := d.DB.QueryRow(ctx, kind.query).Scan(&n); err != nil {
			return nil, postgres.Error(err, "database")
		}
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, kind.name))
		}
	}
	return list, nil
}

// restore is one run.
type restore struct {
	Deps
	options  RestoreOptions
	load     *dump.Load
	old      []place         // repositories of the database that is about to go
	taken    map[string]bool // their paths
	oldPools []project.Pool  // of the same
	facts    repository
	p        project.Project // of facts, nil ID if it has none
	gone     []int64
	made     []place // repositories
	files    int
	secrets  []secret // placed at the end: until then the database in use needs those that are there
	done     bool     // the database is in place
}

// secret is a file of the archive.
type secret struct {
	name    string
	content []byte
}

func (r *restore) run(ctx context.Context, h header, open Source) (err error) {
	file, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	in := archive.NewReader(file)
	if _, err := in.Next(); err != nil { // the header
		return err
	}
	if r.load, err = dump.Begin(ctx, r.DatabaseURL, h.Schema); err != nil {
		return err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		if err != nil && !r.done {
			err = errors.Join(err, r.undo(ctx))
		}
		err = errors.Join(err, r.load.Close(ctx))
	}()
	if err := r.findOld(ctx); err != nil {
		return err
	}
	for {
		name, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.entry(ctx, name, in)
		}
		if err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// entry takes one entry of the archive to its place.
func (r *restore) entry(ctx context.Context, name string, content io.Reader) error {
	if table, ok := tableOf(name, databasePrefix); ok {
		return fillRows(content, func(rows io.Reader) error { return r.load.Fill(ctx, table, rows) })
	}
	switch {
	case r.options.Database: // nothing else
		return nil
	case strings.HasPrefix(name, repositoryBegin):
		return r.repository(ctx, name, content)
	case name == sequencesName:
		var later []dump.Sequence
		if err := readJSON(content, &later); err != nil {
			return err
		}
		r.load.Advance(later)
		return nil
	case strings.HasPrefix(name, laterPrefix):
		return r.later(ctx, name, content)
	case strings.HasPrefix(name, filePrefix):
		r.files++
		return r.Files.Put(ctx, strings.TrimPrefix(name, filePrefix), content)
	case name == secretsName && r.Secrets.wanted():
		count, err := r.Secrets.read(content, func(name string, content []byte) error {
			r.secrets = append(r.secrets, secret{name, content})
			return nil
		})
		r.Tell("secrets: %d", count)
		return err
	case name == secretsName:
		r.Tell("secrets: left out, as told")
		return nil
	}
	return errs.Newf(errs.FailedPrecondition, "the backup holds %q, which this gitsplit does not know", name)
}

func (r *restore) later(ctx context.Context, name string, content io.Reader) error {
	for _, l := range later() {
		if name == laterPrefix+l.table+rowsSuffix {
			return fillRows(content, func(rows io.Reader) error { return r.load.Add(ctx, l.table, l.where, rows) })
		}
	}
	return errs.Newf(errs.FailedPrecondition, "the backup holds %q, which this gitsplit does not know", name)
}

// repository takes an entry about a repository: its facts first, then what there is of it.
func (r *restore) repository(ctx context.Context, name string, content io.Reader) error {
	switch {
	case strings.HasSuffix(name, factsSuffix):
		if err := r.settle(ctx); err != nil { // the one before was empty
			return err
		}
		return r.begin(ctx, content)
	case name == repositoryName(r.facts.ID, bundleSuffix) && r.p.ID != 0:
		return r.make(ctx, content)
	case name == repositoryName(r.facts.ID, hooksSuffix) && r.facts.ID != 0:
		if err := r.settle(ctx); err != nil {
			return err
		}
		return r.hooks(ctx, content)
	}
	return errs.Newf(errs.Invalid, "the archive holds %q where nothing leads to it", name)
}

// begin reads the facts of the next repository.
func (r *restore) begin(ctx context.Context, content io.Reader) (err error) {
	r.facts = repository{}
	if err := readJSON(content, &r.facts); err != nil {
		return err
	}
	if r.facts.Gone {
		r.gone = append(r.gone, r.facts.ID)
		return nil
	}
	if r.facts.Missing {
		r.Tell("repository of %s: could not be read when the backup was made; it is empty", r.facts.Path)
	}
	r.p, err = r.project(ctx, r.facts.ID)
	return err
}

// make makes the present repository: of a bundle, or empty.
func (r *restore) make(ctx context.Context, bundle io.Reader) error {
	p := r.p
	r.p, r.made = project.Project{}, append(r.made, place{p.Storage, p.DiskPath}) // also if it is only begun
	if err := r.restoreRepository(ctx, p, r.facts, bundle); err != nil {
		return err
	}
	r.Tell("repository %d: %s", len(r.made), p.FullPath)
	return nil
}

// settle makes the present repository, empty, unless a bundle made it.
func (r *restore) settle(ctx context.Context) error {
	if r.p.ID == 0 {
		return nil
	}
	return r.make(ctx, nil)
}

// hooks gives the repository that was made last its custom hooks, if it is told to.
func (r *restore) hooks(ctx context.Context, content io.Reader) error {
	if !r.options.Hooks {
		r.Tell("custom hooks of %s: left out; --hooks restores them", r.facts.Path)
		return nil
	}
	p, err := r.project(ctx, r.facts.ID)
	if err != nil {
		return err
	}
	return r.restoreHooks(ctx, p, content)
}

// project returns a project of the backup, with a place for its repository where none is that the database in use knows: until that is
// replaced, its repositories stay as they are. One whose storage is not here goes to one that is. The rows are those of the backup's version.
func (r *restore) project(ctx context.Context, id int64) (project.Project, error) {
	const find = `SELECT p.id, p.storage, p.default_branch, o.path FROM projects p JOIN routes o ON o.project_id = p.id WHERE p.id = $1 AND p.state = 'ready'`
	var p project.Project
	if err := r.load.Pool.QueryRow(ctx, find, id).Scan(&p.ID, &p.Storage, &p.DefaultBranch, &p.FullPath); err != nil {
		return p, errs.Wrap(errs.Invalid, fmt.Sprintf("the backup has a repository of project %d, and no such project", id), postgres.Error(err, "project"))
	}
	if _, err := r.Gitaly.Storage(p.Storage); err != nil {
		p.Storage = r.Gitaly.Choose(nil)
	}
	for n := 1; p.DiskPath == "" || r.taken[p.DiskPath]; n++ {
		p.DiskPath = project.RestoredPath(id, n)
	}
	const settle = "UPDATE projects SET storage = $2, disk_path = $3 WHERE id = $1"
	return p, postgres.Exec(ctx, r.load.Pool, "project", settle, p.ID, p.Storage, p.DiskPath)
}

// finish puts the database in place, once all that it speaks of is there.
func (r *restore) finish(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.load.Tighten(ctx); err != nil {
		return err
	}
	projects := project.New(r.load.Pool)
	for _, id := range r.gone {
		if err := errors.Join(projects.Withdraw(ctx, id), projects.Forget(ctx, id)); err != nil {
			return err
		}
	}
	if err := r.leavePools(ctx); err != nil {
		return err
	}
	if err := r.load.Commit(ctx); err != nil {
		return err
	}
	r.done = true
	for _, f := range r.secrets {
		if err := r.Secrets.place(f.name, f.content); err != nil {
			return fmt.Errorf("restored, but not all secrets; restore again: %w", err)
		}
	}
	r.Tell("database: restored; %d repositories, %d files", len(r.made), r.files)
	return r.removeOld(ctx)
}
