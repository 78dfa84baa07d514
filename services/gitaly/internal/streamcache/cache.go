// Package streamcache shares streams of bytes that are costly to make: what several
// callers ask for at once is made once, and what is asked for again is served from a
// file for a while.
//
// Every stream goes through a file while it is made, so that a caller may join at any
// time and still read from the start. At its end the file stays for the moment in which
// those who asked at the same time may still come, and longer if the stream was asked
// for often enough. Files have no names: whoever reads
// holds them open, and a crash leaves nothing behind.
//
// A stream that does not fit, because the cache or the disk is full, passes by the
// cache to those who are reading; nobody fails for it.
package streamcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options is what a Cache needs.
type Options struct {
	Dir            string        // is made if need be; for files of this cache alone
	MaxAge         time.Duration // of a complete stream
	MaxBytes       int64         // of all files together
	MinFree        int64         // bytes of the disk that stay free
	MinOccurrences int           // a stream is kept so long that was asked for more often than this within MaxAge
	// Backpressure makes a stream wait for its fastest reader, so that no work is done
	// for nobody.
	Backpressure bool
	Log          *slog.Logger
	Observer     Observer // may be nil
}

// Observer is told what the cache does, for metrics.
type Observer interface {
	Lookup(hit bool)
	Generated(bytes int64)
	Served(bytes int64)
}

// Generate makes a stream. It is called in a goroutine of the cache; ctx has the
// values of the caller who was first, and ends when nobody reads any more.
type Generate func(ctx context.Context, w io.Writer) error

// Bounds of what is remembered: each kept stream holds a descriptor.
const (
	maxKept = 1024
	maxSeen = 8192
)

// linger is how long any complete stream stays, for those who come a little late.
const linger = 5 * time.Second

// prefix begins the names that files have for a moment.
const prefix = "stream-"

// Cache shares streams. It is safe for concurrent use.
type Cache struct {
	o      Options
	create func() (file, error)
	work   sync.WaitGroup

	mu      sync.Mutex
	streams map[string]*stream  // running and kept ones
	kept    *list.List          // of *stream, the one used last in front
	seen    map[string]askCount // how often keys were asked for
	bytes   int64               // in files
}

type askCount struct {
	count int
	until time.Time
}

// New returns a cache without streams. What a crash may have left in its directory
// is removed.
func New(o Options) (*Cache, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(o.Dir, prefix+"*")) // at worst something stays
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("cache directory: %w", err)
		}
	}
	c := &Cache{o: o, streams: map[string]*stream{}, kept: list.New(), seen: map[string]askCount{}}
	c.create = c.tempFile
	return c, nil
}

// Serve writes the stream of the key to w: one that is there, or is being made, or
// that generate makes now. generated reports whether generate was called; it may go on
// for other readers. The error is generate's, w's or ctx's.
func (c *Cache) Serve(ctx context.Context, key string, w io.Writer, generate Generate) (generated bool, err error) {
	for {
		s, r, first := c.attach(ctx, key, generate)
		n, err := s.copy(ctx, r, w)
		c.leave(s, r)
		if c.o.Observer != nil {
			c.o.Observer.Served(n)
		}
		var failed *generateError
		if !errors.As(err, &failed) {
			return first, err
		}
		if first || n > 0 || ctx.Err() != nil {
			return first, failed.err
		}
		// Who only joined does not fail for the reasons of another, such as its limits.
	}
}

// attach joins the stream of the key or starts it.
func (c *Cache) attach(ctx context.Context, key string, generate Generate) (s *stream, r *reader, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	often := c.ask(key)
	s, found := c.streams[key]
	if !found {
		s = c.start(ctx, key, generate)
	}
	if c.o.Observer != nil {
		c.o.Observer.Lookup(found)
	}
	s.keep = s.keep || often
	if s.place != nil {
		c.use(s)
	}
	s.holders++
	return s, s.join(), !found
}

// ask counts the key and reports whether it was asked for often enough to be kept.
func (c *Cache) ask(key string) bool {
	now := time.Now()
	if len(c.seen) >= maxSeen {
		for k, a := range c.seen {
			if now.After(a.until) {
				delete(c.seen, k)
			}
		}
		if len(c.seen) >= maxSeen {
			clear(c.seen)
		}
	}
	a := c.seen[key]
	if now.After(a.until) {
		a.count = 0
	}
	a = askCount{count: a.count + 1, until: now.Add(c.o.MaxAge)}
	c.seen[key] = a
	return a.count > c.o.MinOccurrences
}

// start begins to make a stream. c.mu is held.
func (c *Cache) start(ctx context.Context, key string, generate Generate) *stream {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s := newStream(ctx, cancel, c, key)
	f, err := c.create()
	if err != nil {
		c.o.Log.WarnContext(ctx, "stream is not cached", slog.Any("error", err))
		s.direct = true
	} else {
		s.file = f
		c.streams[key] = s
	}
	s.holders++
	c.work.Go(func() {
		defer cancel(nil)
		c.finish(s, s.run(generate))
	})
	return s
}

// finish keeps or forgets a stream that has come to its end.
func (c *Cache) finish(s *stream, err error) {
	c.mu.Lock() // first: who sees a failed stream's end must not find the stream again
	defer c.mu.Unlock()
	size, whole := s.finish(err)
	if c.o.Observer != nil {
		c.o.Observer.Generated(size)
	}
	if c.streams[s.key] == s {
		if whole {
			c.keep(s)
		} else {
			delete(c.streams, s.key)
		}
	}
	c.release(s)
}

// leave takes a reader off. The last one of a stream in the making ends it, and
// returns when it has ended.
func (c *Cache) leave(s *stream, r *reader) {
	c.mu.Lock()
	abandoned := s.leave(r)
	if abandoned && c.streams[s.key] == s {
		delete(c.streams, s.key)
	}
	c.release(s)
	c.mu.Unlock()
	if abandoned {
		s.cancel(errAbandoned)
		<-s.finished
	}
}

// Close ends all streams. Nobody may be served any more.
func (c *Cache) Close() error {
	c.mu.Lock()
	for _, s := range c.streams {
		s.cancel(errAbandoned)
	}
	for c.kept.Len() > 0 {
		c.forget(c.kept.Front())
	}
	c.mu.Unlock()
	c.work.Wait()
	return nil
}
