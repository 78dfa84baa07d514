// Package branchcache remembers the branch names of repositories in Redis. A
// reader that finds nothing asks the storage server.
package branchcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	prefix = "branch_names:"
	ttl    = time.Hour
)

// Limit is the longest list that is kept.
const Limit = 10_000

// Cache keeps lists of branch names. It is safe for concurrent use.
type Cache struct{ redis *redis.Client }

// New returns a Cache.
func New(r *redis.Client) *Cache { return &Cache{redis: r} }

// Put keeps the branch names of a repository.
func (c *Cache) Put(ctx context.Context, glRepository string, names []string) error {
	text, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("keep branch names: %w", err)
	}
	if err := c.redis.Set(ctx, prefix+glRepository, text, ttl).Err(); err != nil {
		return fmt.Errorf("keep branch names: %w", err)
	}
	return nil
}

// Get returns the branch names of a repository; ok is false when they are not kept.
func (c *Cache) Get(ctx context.Context, glRepository string) (names []string, ok bool, err error) {
	text, err := c.redis.Get(ctx, prefix+glRepository).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read branch names: %w", err)
	}
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, false, fmt.Errorf("read branch names: %w", err)
	}
	return names, true, nil
}

// Expire forgets the branch names of a repository.
func (c *Cache) Expire(ctx context.Context, glRepository string) error {
	if err := c.redis.Del(ctx, prefix+glRepository).Err(); err != nil {
		return fmt.Errorf("forget branch names: %w", err)
	}
	return nil
}
