package ratelimit

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Rule says who is banned: after Failures within a time that begins with the first
// of them, for a while. No failures bans nobody.
type Rule struct {
	Failures    int64
	Within, For time.Duration
}

// Bans keeps who failed too often, for all replicas together, in Redis. It is safe
// for concurrent use.
type Bans struct {
	redis *redis.Client
	name  string
	rule  Rule
}

// NewBans returns the Bans of a name.
func NewBans(r *redis.Client, name string, rule Rule) *Bans {
	return &Bans{redis: r, name: name, rule: rule}
}

// Banned reports whether a scope is banned, and whether failures of it are counted.
func (b *Bans) Banned(ctx context.Context, scope []string) (banned, failed bool, err error) {
	if b.rule.Failures == 0 {
		return false, false, nil
	}
	found, err := b.redis.MGet(ctx, b.key("ban", scope), b.key("failures", scope)).Result()
	if err != nil {
		return false, false, fmt.Errorf("look up a ban: %w", err)
	}
	return found[0] != nil, found[1] != nil, nil
}

// Fail counts one failure of a scope and reports whether it banned the scope.
func (b *Bans) Fail(ctx context.Context, scope []string) (bool, error) {
	if b.rule.Failures == 0 {
		return false, nil
	}
	failures := b.key("failures", scope)
	var count *redis.IntCmd
	_, err := b.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetNX(ctx, failures, 0, b.rule.Within)
		count = p.Incr(ctx, failures)
		return nil
	})
	if err == nil && count.Val() >= b.rule.Failures {
		err = b.redis.Set(ctx, b.key("ban", scope), 1, b.rule.For).Err()
	}
	if err != nil {
		return false, fmt.Errorf("count a failure: %w", err)
	}
	return count.Val() >= b.rule.Failures, nil
}

// Forgive forgets the failures of a scope; a ban stays.
func (b *Bans) Forgive(ctx context.Context, scope []string) error {
	if b.rule.Failures == 0 {
		return nil
	}
	if err := b.redis.Del(ctx, b.key("failures", scope)).Err(); err != nil {
		return fmt.Errorf("forget failures: %w", err)
	}
	return nil
}

func (b *Bans) key(what string, scope []string) string {
	return what + ":" + b.name + ":" + digest(scope)
}
