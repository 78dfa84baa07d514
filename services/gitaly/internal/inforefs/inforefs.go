// Package inforefs keeps what upload-pack tells first of a repository: all references to
// clients of protocol 0 and 1, what it is able to do to others (wire/gitaly.md §12). So
// a fetch over HTTP costs one git less.
//
// A repository has a generation as long as nobody writes to it. What is kept belongs to
// a generation, and each RPC that may write begins a new one: nothing is looked for in
// the cache while it runs, and nothing of earlier generations is found afterwards.
// gitaly holds its storages alone, so the generations need not outlive the process.
package inforefs

import (
	"context"
	"fmt"
	"io"
	"sync"

	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/streamcache"
)

// Observer is told what becomes of requests, for metrics.
type Observer interface {
	// InfoRefs is a request that might be answered from the cache: "hit", "miss" or,
	// while somebody writes, "err".
	InfoRefs(result string)
	// Invalidated is an RPC that may change references.
	Invalidated()
}

// Cache keeps advertisements. It is safe for concurrent use.
type Cache struct {
	streams  *streamcache.Cache
	observer Observer

	mu    sync.Mutex
	last  uint64            // generation that was given last
	repos map[string]*state // of those that were asked for, or are written to
}

// state is what is known of one repository.
type state struct {
	generation uint64
	writers    int
}

// maxIdle is how many repositories without a writer are remembered.
const maxIdle = 4096

// New returns a cache that keeps its streams in streams, which should keep everything.
func New(streams *streamcache.Cache, o Observer) *Cache {
	return &Cache{streams: streams, observer: o, repos: map[string]*state{}}
}

// Serve writes what generate makes of the repository's present state, or has made of
// it before. What generate does depends on variant, and on nothing else.
func (c *Cache) Serve(ctx context.Context, repo *storage.Repo, variant string, w io.Writer, generate streamcache.Generate) error {
	generation, ok := c.generation(key(repo))
	if !ok {
		c.observer.InfoRefs("err")
		return generate(ctx, w)
	}
	generated, err := c.streams.Serve(ctx, fmt.Sprintf("%d %q %s", generation, variant, key(repo)), w, generate)
	if generated {
		c.observer.InfoRefs("miss")
	} else {
		c.observer.InfoRefs("hit")
	}
	return err
}

// Write begins a change of the repository. The returned function ends it, before the
// writer is told that it is done.
func (c *Cache) Write(repo *storage.Repo) (done func()) {
	c.observer.Invalidated()
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key(repo)
	s, ok := c.repos[k]
	if !ok {
		s = &state{}
		c.repos[k] = s
	}
	s.writers++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.writers--; s.writers == 0 {
			delete(c.repos, k) // who asks next begins the new generation
		}
	}
}

// generation returns the repository's generation; it has none while it is written to.
func (c *Cache) generation(k string) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.repos[k]
	if !ok {
		c.forget()
		c.last++
		s = &state{generation: c.last}
		c.repos[k] = s
	}
	return s.generation, s.writers == 0
}

// forget makes room. A repository that is forgotten only begins a new generation.
func (c *Cache) forget() {
	if len(c.repos) < maxIdle {
		return
	}
	for k, s := range c.repos {
		if s.writers == 0 {
			delete(c.repos, k)
		}
	}
}

// key names a repository, whatever the spelling of its path in a request.
func key(repo *storage.Repo) string { return repo.Storage.Name + "\x00" + repo.RelativePath }
