// Package counter counts the pushes in flight for each repository, so that jobs
// that move a repository can wait until there are none (wire/internal-api.md §7).
// The counts live in Redis and heal by expiry: a refused or crashed push never
// counts down.
package counter

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	prefix = "git-receive-pack-reference-counter:"
	ttl    = 600 * time.Second
)

// Counter counts. It is safe for concurrent use.
type Counter struct {
	redis *redis.Client
	log   *slog.Logger
}

// New returns a Counter.
func New(r *redis.Client, log *slog.Logger) *Counter { return &Counter{redis: r, log: log} }

// Increase counts a push that begins.
func (c *Counter) Increase(ctx context.Context, glRepository string) error {
	_, err := c.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, prefix+glRepository)
		p.Expire(ctx, prefix+glRepository, ttl)
		return nil
	})
	if err != nil {
		return fmt.Errorf("count a push of %s up: %w", glRepository, err)
	}
	return nil
}

// Decrease counts a push that ended. A count below zero, which follows from an
// expired one, is removed.
func (c *Counter) Decrease(ctx context.Context, glRepository string) error {
	n, err := c.redis.Decr(ctx, prefix+glRepository).Result()
	if err == nil && n < 0 {
		c.log.WarnContext(ctx, "push counter below zero, removed", slog.String("gl_repository", glRepository), slog.Int64("count", n))
	}
	if err == nil && n <= 0 {
		err = c.redis.Del(ctx, prefix+glRepository).Err()
	}
	if err != nil {
		return fmt.Errorf("count a push of %s down: %w", glRepository, err)
	}
	return nil
}
