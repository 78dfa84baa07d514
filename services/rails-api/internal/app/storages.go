package app

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/repomove"
)

// added finds a storage that the configuration does not name.
func (b *base) added(name string) (gitaly.Storage, error) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	box, err := b.box()
	if err != nil {
		return gitaly.Storage{}, err
	}
	return gitstorage.New(b.db, box).Load(ctx, name)
}

func (b *base) mover(jobs *river.Client[pgx.Tx]) *repomove.Mover {
	return repomove.New(repomove.Deps{
		DB: b.db, Gitaly: b.gitaly, Pushes: counter.New(b.redis, b.log, time.Now), Jobs: jobs, Log: b.log, Times: repomove.Usual(),
	})
}
