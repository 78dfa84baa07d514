// Package notice keeps short texts for a user until their next push ends: that a
// project was made for them, or that they use a former path (wire/internal-api.md
// §8.3). They live in Redis for five minutes; losing one loses nothing.
package notice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/site"
)

const ttl = 5 * time.Minute

// Board keeps notices. It is safe for concurrent use.
type Board struct {
	redis *redis.Client
	site  site.Site
}

// New returns a Board.
func New(r *redis.Client, s site.Site) *Board { return &Board{redis: r, site: s} }

// Pin keeps what the user of a positive decision should hear: asked is the path
// they used, over protocol.
func (b *Board) Pin(ctx context.Context, r access.GitResult, asked, protocol string) error {
	if r.User == nil || !(r.Moved || r.Created) {
		return nil
	}
	path := r.Project.FullPath
	key, text := movedKey(r.User.ID, r.Project.GLRepository()), moved(asked, path, b.site.Clone(protocol, path))
	if r.Created {
		key, text = createdKey(r.User.ID, r.Project.GLRepository()), created(path, b.site.Clone(protocol, path), b.site.URL(path))
	}
	if err := b.redis.Set(ctx, key, text, ttl).Err(); err != nil {
		return fmt.Errorf("keep a notice: %w", err)
	}
	return nil
}

// Take returns the notices of a user about a repository, "moved" first, and
// removes them.
func (b *Board) Take(ctx context.Context, userID int64, glRepository string) ([]string, error) {
	var texts []string
	for _, key := range []string{movedKey(userID, glRepository), createdKey(userID, glRepository)} {
		text, err := b.redis.GetDel(ctx, key).Result()
		switch {
		case err == nil:
			texts = append(texts, text)
		case !errors.Is(err, redis.Nil):
			return texts, fmt.Errorf("take notices: %w", err)
		}
	}
	return texts, nil
}

func movedKey(userID int64, glRepository string) string {
	return fmt.Sprintf("redirect_namespace:%d:%s", userID, glRepository)
}

func createdKey(userID int64, glRepository string) string {
	return fmt.Sprintf("project_created:%d:%s", userID, glRepository)
}

func moved(from, to, remote string) string {
	return fmt.Sprintf("Project '%s' was moved to '%s'.\n\nPlease update your Git remote:\n\n  git remote set-url origin %s", from, to, remote)
}

func created(path, remote, page string) string {
	return fmt.Sprintf("\nThe private project %s was successfully created.\n\nTo configure the remote, run:\n  git remote add origin %s\n\n"+
		"To view the project, visit:\n  %s\n", path, remote, page)
}
