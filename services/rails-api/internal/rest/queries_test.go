package rest_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/pgtest"
)

// counter counts the queries of a pool.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestList_queries: a list takes as many queries for twenty rows as for one.
func TestList_queries(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t).Config()
	queries := &counter{}
	cfg.ConnConfig.Tracer = queries
	db, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b := setupOn(t, db)
	g := b.group(b.root, "g", "private")
	lists := []string{"users", "projects", "groups", "namespaces", "personal_access_tokens", "groups/g", "groups/g/members", "groups/g/members/all", "groups/g/projects"}
	count := func(path string) int64 {
		before := queries.n.Load()
		b.as(b.root).get(path + "?per_page=50").want(200)
		return queries.n.Load() - before
	}
	few := map[string]int64{}
	for i := range 20 {
		p := b.person(fmt.Sprintf("user%02d", i))
		b.join(member.OfNamespace(g.ID), p, member.Guest)
		b.group(b.root, fmt.Sprintf("g%02d", i), "private")
		b.project(b.root, map[string]any{"path": fmt.Sprintf("p%02d", i), "namespace_id": g.ID})
		if i > 0 {
			continue
		}
		for _, path := range lists {
			few[path] = count(path)
		}
	}
	for _, path := range lists {
		if got := count(path); got != few[path] {
			t.Errorf("%s: %d queries for one row, %d for twenty", path, few[path], got)
		}
	}
}
