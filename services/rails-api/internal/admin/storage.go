package admin

import (
	"context"
	"flag"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/postgres"
)

// Storages are the storage servers; gitaly.Client has them.
type Storages interface {
	Storages() []gitaly.Storage
	Storage(name string) (gitaly.Storage, error)
	Alive(ctx context.Context, storage string) error
	Serves(ctx context.Context, s gitaly.Storage) error
}

func storageCommands() []command {
	const usualWeight = 100
	return []command{
		{words: "storage list", help: "all storages, with their share of new projects", run: listStorages},
		{words: "storage add", args: "NAME ADDRESS", help: "a gitaly that the configuration does not name", run: addStorage,
			flags: func(fs *flag.FlagSet, o *options) {
				fs.IntVar(&o.weight, "weight", usualWeight, "`N`")
				fs.BoolVar(&o.token, "token-stdin", false, "")
			}},
		{words: "storage weight", args: "NAME N", help: "set the share of new projects; with 0 it gets none", run: weighStorage},
	}
}

// everyStorage returns the storages of the configuration and those that were added, with the weights that count.
func (c *call) everyStorage(ctx context.Context) ([]gitaly.Storage, error) {
	weights, err := gitstorage.Weights(ctx, c.DB)
	if err != nil {
		return nil, err
	}
	added, err := c.Added.Added(ctx)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(c.Storages.Storages())
	for _, s := range added {
		if !named(list, s.Name) {
			list = append(list, s)
		}
	}
	for i, s := range list {
		if weight, ok := weights[s.Name]; ok {
			list[i].Weight = weight
		}
	}
	return list, nil
}

func named(list []gitaly.Storage, name string) bool {
	return slices.ContainsFunc(list, func(s gitaly.Storage) bool { return s.Name == name })
}

func listStorages(ctx context.Context, c *call) error {
	type count struct {
		Storage  string
		Projects int64
	}
	counts, err := postgres.All(ctx, c.DB, "project", pgx.RowToStructByPos[count], "SELECT storage, count(*) FROM projects GROUP BY 1 ORDER BY 1")
	if err != nil {
		return err
	}
	projects := map[string]int64{}
	for _, n := range counts {
		projects[n.Storage] = n.Projects
	}
	list, err := c.everyStorage(ctx)
	if err != nil {
		return err
	}
	for name := range projects { // what no configuration names any more
		if !named(list, name) {
			list = append(list, gitaly.Storage{Name: name})
		}
	}
	if err := c.out.head("name", "address", "weight", "projects", "reachable"); err != nil {
		return err
	}
	for _, s := range list {
		if err := c.out.row(s.Name, s.Address, s.Weight, projects[s.Name], c.reachable(ctx, s.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) reachable(ctx context.Context, storage string) bool {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.Storages.Alive(ctx, storage) == nil
}

// addStorage asks the server whether it has the storage before it is written down: nothing says later that it is not there but failing pushes.
func addStorage(ctx context.Context, c *call) error {
	s := gitaly.Storage{Name: c.arg(0), Address: c.arg(1), Weight: c.weight}
	if named(c.Storages.Storages(), s.Name) {
		return errs.Newf(errs.Exists, "the configuration has a storage %q already", s.Name)
	}
	if c.token {
		var err error
		if s.Token, err = c.line("the token"); err != nil {
			return err
		}
	}
	if err := c.Storages.Serves(ctx, s); err != nil {
		return err
	}
	return c.Added.Add(ctx, s)
}

func weighStorage(ctx context.Context, c *call) error {
	weight, err := strconv.Atoi(c.arg(1))
	if err != nil {
		return &UsageError{Text: "storage weight: \"" + c.arg(1) + "\" is no number"}
	}
	if err := c.known(ctx, c.arg(0)); err != nil {
		return err
	}
	return gitstorage.SetWeight(ctx, c.DB, c.arg(0), weight)
}

// known makes sure that there is a storage.
func (c *call) known(ctx context.Context, name string) error {
	list, err := c.everyStorage(ctx)
	if err == nil && !named(list, name) {
		err = errs.Newf(errs.NotFound, "there is no storage %q", name)
	}
	return err
}
