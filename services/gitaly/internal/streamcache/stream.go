package streamcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"gitsplit/kit/pktline"
)

// errAbandoned ends a stream that nobody reads.
var errAbandoned = errors.New("nobody reads the stream any more")

// generateError marks an error of the stream's maker.
type generateError struct{ err error }

func (e *generateError) Error() string { return e.err.Error() }
func (e *generateError) Unwrap() error { return e.err }

// ahead is how far a stream may be ahead of its fastest reader.
const ahead = 4 << 20

// stream is one stream of bytes, in the making or complete. It is the writer of its
// maker.
type stream struct {
	ctx      context.Context //nolint:containedctx // of the making, which outlives the call that began it
	cancel   context.CancelCauseFunc
	cache    *Cache
	key      string
	file     file          // nil if there is none
	finished chan struct{} // closed when nothing is written any more
	progress chan struct{} // wakes the writer: a reader went on or left
	writing  sync.Mutex    // held for one Write

	// Guarded by Cache.mu.
	keep    bool  // asked for often enough
	holders int   // of the file: the maker, readers, the cache
	held    int64 // bytes that are counted for the file
	place   *list.Element
	expiry  *time.Timer
	until   time.Time
	aged    bool // its whole age has begun

	mu      sync.Mutex
	grown   chan struct{} // closed, and made anew, when there is more to read
	size    int64         // bytes in the file; changed by Write alone
	direct  bool          // what follows does not go to the file
	chunk   []byte        // the bytes behind start, while Write waits for all readers
	start   int64
	done    bool
	err     error
	readers map[*reader]struct{}
}

// reader is somebody's place in a stream.
type reader struct{ off int64 }

func newStream(ctx context.Context, cancel context.CancelCauseFunc, c *Cache, key string) *stream {
	return &stream{
		ctx: ctx, cancel: cancel, cache: c, key: key, finished: make(chan struct{}), progress: make(chan struct{}, 1),
		grown: make(chan struct{}), readers: map[*reader]struct{}{},
	}
}

// run makes the stream.
func (s *stream) run(generate Generate) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cache.o.Log.ErrorContext(s.ctx, "panic while making a stream", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("make stream: panic: %v", p)
		}
	}()
	return generate(s.ctx, s)
}

// finish notes the end. It returns how much was made and whether the file has it all.
func (s *stream) finish(err error) (size int64, whole bool) {
	defer close(s.finished)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = &generateError{err}
	}
	s.done = true
	s.wake()
	return max(s.size, s.start+int64(len(s.chunk))), err == nil && !s.direct
}

// wake tells readers that something changed. s.mu is held.
func (s *stream) wake() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// Write appends to the stream and waits for readers: with backpressure for the
// fastest, without a file for all. It may be called concurrently.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n := s.toFile(p)
	if n < len(p) {
		if err := s.toReaders(p[n:]); err != nil {
			return n, err
		}
		return len(p), nil
	}
	if !s.cache.o.Backpressure {
		return n, context.Cause(s.ctx)
	}
	return n, s.await(func() bool { return s.fastest() >= s.size-ahead })
}

// toFile writes as much of p as there is room for.
func (s *stream) toFile(p []byte) int {
	if s.direct || len(p) == 0 {
		return 0
	}
	n := 0
	var err error
	if s.cache.grow(s, int64(len(p))) {
		n, err = s.file.WriteAt(p, s.size)
	}
	s.mu.Lock()
	s.size += int64(n)
	s.direct = n < len(p)
	s.wake()
	s.mu.Unlock()
	if s.direct {
		s.cache.o.Log.WarnContext(s.ctx, "stream is not cached: no room", slog.Int64("bytes", s.size), slog.Any("error", err))
		s.cache.pass(s)
	}
	return n
}

// toReaders hands p to each reader, and returns when all of them have it.
func (s *stream) toReaders(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	s.mu.Lock()
	s.start = max(s.size, s.start+int64(len(s.chunk)))
	s.chunk = p
	end := s.start + int64(len(p))
	s.wake()
	s.mu.Unlock()
	err := s.await(func() bool { return s.slowest(end) >= end })
	s.mu.Lock()
	s.start, s.chunk = end, nil
	s.mu.Unlock()
	return err
}

// await waits for a state of the readers.
func (s *stream) await(ready func() bool) error {
	for {
		s.mu.Lock()
		ok := ready()
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-s.progress:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

func (s *stream) fastest() int64 {
	var off int64
	for r := range s.readers {
		off = max(off, r.off)
	}
	return off
}

func (s *stream) slowest(end int64) int64 {
	off := end
	for r := range s.readers {
		off = min(off, r.off)
	}
	return off
}

// join adds a reader at the start.
func (s *stream) join() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &reader{}
	s.readers[r] = struct{}{}
	return r
}

// leave takes a reader off; it reports whether the stream, still in the making, has
// none now.
func (s *stream) leave(r *reader) (abandoned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
	s.nudge()
	return len(s.readers) == 0 && !s.done
}

func (s *stream) nudge() {
	select {
	case s.progress <- struct{}{}:
	default: // it will look anyway
	}
}

// copySize is what a side-band packet holds: over SSH a pack travels in such. Larger
// pieces would make other streams of the connection wait for longer.
const copySize = pktline.MaxBandData

// buffers are what readers copy through.
var buffers = sync.Pool{New: func() any { b := make([]byte, copySize); return &b }} //nolint:gochecknoglobals // a cache, not state

// copy writes the stream to w, as it comes, and returns how many bytes w took.
func (s *stream) copy(ctx context.Context, r *reader, w io.Writer) (int64, error) {
	buf, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		piece, err := s.next(ctx, r, *buf)
		if err != nil || len(piece) == 0 {
			return r.off, err
		}
		n, err := w.Write(piece)
		s.mu.Lock()
		r.off += int64(n)
		s.nudge()
		s.mu.Unlock()
		if err != nil {
			return r.off, err
		}
	}
}

// next waits for bytes behind the reader's place; none are the end. They are in buf,
// or in the chunk that Write holds on to until the reader goes on.
func (s *stream) next(ctx context.Context, r *reader, buf []byte) ([]byte, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		s.mu.Lock()
		size, grown := s.size, s.grown
		behind := r.off - s.start
		switch {
		case r.off < size:
			s.mu.Unlock()
			piece := buf[:min(int64(len(buf)), size-r.off)]
			if _, err := s.file.ReadAt(piece, r.off); err != nil {
				return nil, fmt.Errorf("read cache file: %w", err)
			}
			return piece, nil
		case behind >= 0 && behind < int64(len(s.chunk)):
			piece := s.chunk[behind:]
			s.mu.Unlock()
			return piece, nil
		case s.done:
			defer s.mu.Unlock()
			return nil, s.err
		}
		s.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}
