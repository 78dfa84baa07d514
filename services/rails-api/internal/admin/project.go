package admin

import (
	"context"
	"flag"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/project"
)

func projectCommands() []command {
	return []command{
		{words: "project list", help: "all projects", run: listProjects, flags: func(fs *flag.FlagSet, o *options) {
			fs.StringVar(&o.search, "search", "", "`TEXT`")
		}},
		{words: "project delete", args: "PATH", help: "a project with its repository and files", destroys: true, run: deleteProject},
		{words: "project move", args: "PATH STORAGE", help: "its repository to another storage, while people work with it", run: moveProject,
			flags: func(fs *flag.FlagSet, o *options) { fs.BoolVar(&o.background, "background", false, "") }},
		{words: "project moves", help: "moves under way, and the last ones that ended", run: listMoves},
	}
}

func listProjects(ctx context.Context, c *call) error {
	if err := c.out.head("id", "path", "visibility", "storage", "disk_path", "bytes", "archived", "last_activity_at"); err != nil {
		return err
	}
	return each(func(p postgres.Page) ([]project.Project, int, error) {
		return project.New(c.DB).List(ctx, project.Filter{ViewerAdmin: true, Search: c.search, OrderBy: "id", Asc: true, Page: p})
	}, func(p project.Project) error {
		return c.out.row(p.ID, p.FullPath, p.Visibility, p.Storage, p.DiskPath, p.RepositorySize, p.Archived, p.LastActivityAt)
	})
}

func deleteProject(ctx context.Context, c *call) error {
	p, err := c.project(ctx)
	if err != nil {
		return err
	}
	return c.Projects.Delete(ctx, p)
}

// project is the one that the first argument names by its present path.
func (c *call) project(ctx context.Context) (project.Project, error) {
	p, moved, err := project.New(c.DB).ByPath(ctx, c.arg(0))
	if errs.KindOf(err) == errs.NotFound {
		return p, errs.Newf(errs.NotFound, "there is no project %q", c.arg(0))
	}
	if err == nil && moved { // who names a former path may mean something else
		err = errs.Newf(errs.Invalid, "the project is called %q now", p.FullPath)
	}
	return p, err
}
