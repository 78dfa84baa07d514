// Package ratelimit counts what somebody does within a minute, and keeps who failed
// too often, for all replicas together, in Redis. Without Redis nothing is limited: a limit protects against
// load, and its loss must not stop work.
package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Window is the time that is counted together.
const Window = time.Minute

// Limiter counts. It is safe for concurrent use.
type Limiter struct {
	redis *redis.Client
	now   func() time.Time
}

// New returns a Limiter.
func New(r *redis.Client, now func() time.Time) *Limiter { return &Limiter{redis: r, now: now} }

// Over counts one more for every scope and reports whether one of them is beyond
// limit now. A scope is a list of parts that say who does what; limit 0 is none.
func (l *Limiter) Over(ctx context.Context, name string, limit int64, scopes ...[]string) (bool, error) {
	if limit == 0 {
		return false, nil
	}
	counts := make([]*redis.IntCmd, 0, len(scopes))
	_, err := l.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, scope := range scopes {
			key := l.key(name, scope)
			counts = append(counts, p.Incr(ctx, key))
			p.Expire(ctx, key, Window)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("count %s: %w", name, err)
	}
	over := false
	for _, c := range counts {
		over = over || c.Val() > limit
	}
	return over, nil
}

// Reset returns when the present counts end.
func (l *Limiter) Reset() time.Time { return l.now().Truncate(Window).Add(Window) }

// key names the counter of a scope in the current minute.
func (l *Limiter) key(name string, scope []string) string {
	minute := l.now().Truncate(Window).Unix()
	return strings.Join([]string{"rate-limit", name, digest(scope), fmt.Sprint(minute)}, ":")
}

// digest stands for a scope in a key, since its parts are user text.
func digest(scope []string) string {
	h := sha256.New()
	for _, part := range scope {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
