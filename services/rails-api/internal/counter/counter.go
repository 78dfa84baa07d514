// Package counter knows the pushes in flight for each repository, so that jobs
// that move a repository, or compare it, can wait until there are none
// (wire/internal-api.md §7). It lives in Redis and heals by itself: a push with an
// identity is in flight once, however often its begin or its end are reported, and
// each is forgotten after a while, since a killed push never ends.
package counter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	counted = "git-receive-pack-reference-counter:" // pushes without an identity: a number
	named   = "git-receive-pack-pushes:"            // the others: their identities by the time when they are forgotten
	over    = "git-receive-pack-ended:"             // those that ended before they began, likewise
	ttl     = 600 * time.Second
)

// Counter counts. It is safe for concurrent use.
type Counter struct {
	redis *redis.Client
	log   *slog.Logger
	now   func() time.Time
}

// New returns a Counter.
func New(r *redis.Client, log *slog.Logger, now func() time.Time) *Counter {
	return &Counter{redis: r, log: log, now: now}
}

// Begin records that a push begins; its id may be "".
func (c *Counter) Begin(ctx context.Context, glRepository, id string) error {
	var err error
	if id == "" {
		_, err = c.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, counted+glRepository)
			p.Expire(ctx, counted+glRepository, ttl)
			return nil
		})
	} else {
		err = c.run(ctx, begin, glRepository, id)
	}
	if err != nil {
		return fmt.Errorf("count a push of %s up: %w", glRepository, err)
	}
	return nil
}

// begin and end are one step each: KEYS are the pushes in flight and those that are over,
// ARGV the id, now, when the id is forgotten, and the life of a key. A gitaly whose
// question got no answer in time reports the end, and that may overtake the question.
var ( //nolint:gochecknoglobals // constants
	begin = redis.NewScript(`
		redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[2])
		local gone = redis.call('ZSCORE', KEYS[2], ARGV[1])
		if gone and tonumber(gone) >= tonumber(ARGV[2]) then return 0 end
		redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
		return redis.call('EXPIRE', KEYS[1], ARGV[4])`)
	end = redis.NewScript(`
		if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then return 1 end
		redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[2])
		redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
		return redis.call('EXPIRE', KEYS[2], ARGV[4])`)
)

func (c *Counter) run(ctx context.Context, s *redis.Script, glRepository, id string) error {
	keys := []string{named + glRepository, over + glRepository}
	return s.Run(ctx, c.redis, keys, id, score(c.now()), score(c.now().Add(ttl)), int(ttl.Seconds())).Err()
}

// End records that a push ended. A count below zero, which follows from an expired
// one, is removed.
func (c *Counter) End(ctx context.Context, glRepository, id string) (err error) {
	if id != "" {
		err = c.run(ctx, end, glRepository, id)
	} else {
		err = c.decrease(ctx, glRepository)
	}
	if err != nil {
		return fmt.Errorf("count a push of %s down: %w", glRepository, err)
	}
	return nil
}

func (c *Counter) decrease(ctx context.Context, glRepository string) error {
	n, err := c.redis.Decr(ctx, counted+glRepository).Result()
	if err == nil && n < 0 {
		c.log.WarnContext(ctx, "push counter below zero, removed", slog.String("gl_repository", glRepository), slog.Int64("count", n))
	}
	if err == nil && n <= 0 {
		err = c.redis.Del(ctx, counted+glRepository).Err()
	}
	return err
}

// InFlight returns how many pushes of a repository have begun and not ended.
func (c *Counter) InFlight(ctx context.Context, glRepository string) (int64, error) {
	ids, err := c.redis.ZCount(ctx, named+glRepository, score(c.now()), "+inf").Result()
	if err != nil {
		return 0, fmt.Errorf("count the pushes of %s: %w", glRepository, err)
	}
	n, err := c.redis.Get(ctx, counted+glRepository).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("count the pushes of %s: %w", glRepository, err)
	}
	return ids + n, nil
}

// Age returns for how long Redis has run, at least: what began before that may be in
// flight and not be counted any more.
func (c *Counter) Age(ctx context.Context) (time.Duration, error) {
	text, err := c.redis.InfoMap(ctx, "server").Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis since when it runs: %w", err)
	}
	seconds, err := strconv.ParseInt(text["Server"]["uptime_in_seconds"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("since when Redis runs: %w", err)
	}
	return time.Duration(max(seconds-1, 0)) * time.Second, nil // Redis subtracts whole seconds
}

func score(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
