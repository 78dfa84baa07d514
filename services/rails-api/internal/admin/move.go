package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/repomove"
)

func moveProject(ctx context.Context, c *call) error {
	p, err := c.project(ctx)
	if err != nil {
		return err
	}
	if err := c.known(ctx, c.arg(1)); err != nil {
		return err
	}
	if err := c.Storages.Alive(ctx, c.arg(1)); err != nil {
		return err
	}
	m, err := repomove.Request(ctx, c.DB, c.Jobs, p, c.arg(1))
	if err != nil {
		return err
	}
	if err := c.moveHead(); err != nil {
		return err
	}
	if c.background {
		return c.moveRow(m, p.FullPath)
	}
	return c.follow(ctx, m, p)
}

// follow prints each step of a move until it has ended. Who stops it stops the printing only.
func (c *call) follow(ctx context.Context, m repomove.Move, p project.Project) error {
	const every = 200 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for shown := ""; ; {
		if step := fmt.Sprint(m.State, m.Attempts); step != shown {
			if err := c.moveRow(m, p.FullPath); err != nil {
				return err
			}
			shown = step
		}
		if m.State == repomove.Failed {
			return fmt.Errorf("%s was not moved: %s", p.FullPath, m.Note)
		}
		if m.Ended() {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the move goes on; see it with: gitsplit admin project moves")
		case <-tick.C:
		}
		next, err := repomove.ByID(ctx, c.DB, m.ID)
		if err == nil {
			m = next
		} else if ctx.Err() == nil {
			return err
		}
	}
}

func (c *call) moveHead() error {
	return c.out.head("id", "path", "from", "to", "state", "attempts", "read_only_ms", "note")
}

func (c *call) moveRow(m repomove.Move, path string) error {
	return c.out.row(m.ID, path, m.SourceStorage, m.TargetStorage, m.State, m.Attempts, m.ReadOnly.Milliseconds(), m.Note)
}

func listMoves(ctx context.Context, c *call) error {
	const most = 200
	list, err := repomove.List(ctx, c.DB, most)
	if err != nil {
		return err
	}
	if err := c.moveHead(); err != nil {
		return err
	}
	for _, m := range list {
		path := fmt.Sprintf("project %d", m.ProjectID)
		if p, err := project.New(c.DB).ByID(ctx, m.ProjectID); err == nil {
			path = p.FullPath
		}
		if err := c.moveRow(m, path); err != nil {
			return err
		}
	}
	return nil
}
