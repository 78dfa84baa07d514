package streamcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gitsplit/kit/logging"
)

// newCache is a cache that keeps from the second request on.
func newCache(t *testing.T, alter ...func(*Options)) *Cache {
	t.Helper()
	o := Options{
		Dir: filepath.Join(t.TempDir(), "cache"), MaxAge: time.Minute, MaxBytes: 1 << 30, MinOccurrences: 1, Backpressure: true, Log: logging.Discard(),
	}
	for _, a := range alter {
		a(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		if streams, size := c.Usage(); streams != 0 || size != 0 {
			t.Errorf("%d streams and %d bytes are left", streams, size)
		}
	})
	return c
}

// counted makes a stream of the text and counts how often it is made.
func counted(n *atomic.Int32, text string) Generate {
	return func(_ context.Context, w io.Writer) error {
		n.Add(1)
		_, err := io.WriteString(w, text)
		return err
	}
}

func get(t *testing.T, c *Cache, key string, g Generate) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := c.Serve(t.Context(), key, &out, g); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func serve(ctx context.Context, c *Cache, g Generate) error {
	_, err := c.Serve(ctx, "k", io.Discard, g)
	return err
}

func TestCache_admission(t *testing.T) {
	t.Parallel()
	for occurrences, want := range map[int][]int32{0: {1, 1, 1, 1}, 1: {1, 2, 2, 2}, 2: {1, 2, 3, 3}} {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, func(o *Options) { o.MinOccurrences = occurrences })
			var made atomic.Int32
			for i, n := range want {
				if got := get(t, c, "k", counted(&made, "text")); got != "text" || made.Load() != n {
					t.Errorf("min_occurrences %d, request %d: %q, made %d times, want %d", occurrences, i+1, got, made.Load(), n)
				}
				time.Sleep(2 * linger) // of the bubble's clock
			}
			if get(t, c, "other", counted(&made, "x")) != "x" {
				t.Error("another key gets the same stream")
			}
		})
	}
}

// TestCache_late: who asks at the same time, but comes when the stream is complete,
// gets it all the same, and makes it stay.
func TestCache_late(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		var made atomic.Int32
		for _, pause := range []time.Duration{0, linger / 2, time.Minute - time.Second} {
			time.Sleep(pause) // of the bubble's clock
			get(t, c, "k", counted(&made, "text"))
		}
		if made.Load() != 1 {
			t.Errorf("made %d times", made.Load())
		}
	})
}

func TestCache_expiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(o *Options) { o.MinOccurrences = 0 })
		var made atomic.Int32
		get(t, c, "k", counted(&made, "text"))
		time.Sleep(time.Minute - time.Second) // of the bubble's clock
		get(t, c, "k", counted(&made, "text"))
		if made.Load() != 1 {
			t.Errorf("made %d times before its age", made.Load())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if streams, size := c.Usage(); streams != 0 || size != 0 {
			t.Errorf("after its age: %d streams, %d bytes", streams, size)
		}
		get(t, c, "k", counted(&made, "text"))
		if made.Load() != 2 {
			t.Errorf("made %d times", made.Load())
		}
	})
}

// TestCache_shared: many readers of one stream in the making, of which some leave,
// get the same bytes from one run.
func TestCache_shared(t *testing.T) {
	t.Parallel()
	content := make([]byte, 5<<20+7)
	for i := range content {
		content[i] = byte(rand.Uint32()) //nolint:gosec // any bytes
	}
	for name, alter := range map[string]func(*Options){
		"file": func(*Options) {}, "no backpressure": func(o *Options) { o.Backpressure = false },
		"half of it fits": func(o *Options) { o.MaxBytes = int64(len(content) / 2) },
		"disk is full":    func(o *Options) { o.MinFree = 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const readers = 12
			var made atomic.Int32
			var joined, all sync.WaitGroup
			joined.Add(readers)
			c := newCache(t, alter, func(o *Options) { o.Observer = observer(func(bool) { joined.Done() }) })
			generate := func(_ context.Context, w io.Writer) error {
				made.Add(1)
				joined.Wait()
				rest := content
				for len(rest) > 0 {
					n := min(len(rest), 1+rand.IntN(200<<10)) //nolint:gosec // any length
					if _, err := w.Write(rest[:n]); err != nil {
						return err
					}
					rest = rest[n:]
				}
				return nil
			}
			for i := range readers {
				all.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var out bytes.Buffer
					w := io.Writer(&out)
					if i%4 == 3 {
						w = writerFunc(func(p []byte) (int, error) {
							cancel()
							return len(p), nil
						})
					}
					_, err := c.Serve(ctx, "k", w, generate)
					if i%4 == 3 && !errors.Is(err, context.Canceled) || i%4 != 3 && (err != nil || !bytes.Equal(out.Bytes(), content)) {
						t.Errorf("reader %d: %d bytes, %v", i, out.Len(), err)
					}
				})
			}
			all.Wait()
			if n := made.Load(); n != 1 {
				t.Errorf("made %d times", n)
			}
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCache_abandoned: a stream goes on without the caller who began it, and ends
// with its last reader, before Serve returns.
func TestCache_abandoned(t *testing.T) {
	t.Parallel()
	began, ended, hit := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := newCache(t, atHit(hit))
	ctx, leave := context.WithCancel(t.Context())
	first, second := make(chan error), make(chan error)
	go func() {
		first <- serve(ctx, c, func(ctx context.Context, _ io.Writer) error {
			close(began)
			<-ctx.Done()
			close(ended)
			return ctx.Err()
		})
	}()
	<-began
	ctxToo, leaveToo := context.WithCancel(t.Context())
	go func() {
		second <- serve(ctxToo, c, func(context.Context, io.Writer) error { return errors.New("made again") })
	}()
	<-hit
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	select {
	case <-ended:
		t.Error("ended with its first reader")
	default:
	}
	leaveToo()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("second: %v", err)
	}
	select {
	case <-ended:
	default:
		t.Error("goes on without readers")
	}
}

// observer is called at each lookup.
type observer func(hit bool)

func (o observer) Lookup(hit bool) { o(hit) }
func (observer) Generated(int64)   {}
func (observer) Served(int64)      {}

// atHit closes the channel at the first hit.
func atHit(c chan struct{}) func(*Options) {
	return func(o *Options) {
		o.Observer = observer(func(hit bool) {
			if hit {
				close(c)
			}
		})
	}
}

// TestCache_failure: a failed stream is not kept, and its readers learn why.
func TestCache_failure(t *testing.T) {
	t.Parallel()
	c := newCache(t, func(o *Options) { o.MinOccurrences = 0 })
	for _, cause := range []error{errors.New("broken"), io.EOF} {
		err := serve(t.Context(), c, func(_ context.Context, w io.Writer) error {
			_, _ = io.WriteString(w, "half")
			return cause
		})
		if !errors.Is(err, cause) {
			t.Errorf("err = %v, want %v", err, cause)
		}
	}
	err := serve(t.Context(), c, func(context.Context, io.Writer) error { panic("at the disco") })
	if err == nil || err.Error() != "make stream: panic: at the disco" {
		t.Errorf("err = %v", err)
	}
	var made atomic.Int32
	if got := get(t, c, "k", counted(&made, "whole")); got != "whole" || made.Load() != 1 {
		t.Errorf("after failures: %q", got)
	}
}

// TestCache_joinedFailure: who only joined a run that fails at once makes its own.
func TestCache_joinedFailure(t *testing.T) {
	t.Parallel()
	began, fail, hit := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := newCache(t, atHit(hit))
	first := make(chan error, 1)
	go func() {
		first <- serve(t.Context(), c, func(context.Context, io.Writer) error {
			close(began)
			<-fail
			return errors.New("limit of the first")
		})
	}()
	<-began
	go func() {
		<-hit
		close(fail)
	}()
	var made atomic.Int32
	if got := get(t, c, "k", counted(&made, "text")); got != "text" || made.Load() != 1 {
		t.Errorf("got %q, made %d", got, made.Load())
	}
	if err := <-first; err == nil || err.Error() != "limit of the first" {
		t.Errorf("first: %v", err)
	}
}

// TestCache_size: what was used longest ago makes room.
func TestCache_size(t *testing.T) {
	t.Parallel()
	c := newCache(t, func(o *Options) { o.MaxBytes, o.MinOccurrences = 10, 0 })
	var made atomic.Int32
	for _, step := range []struct {
		key  string
		made int32
	}{{"a", 1}, {"b", 2}, {"a", 2}, {"c", 3}, {"a", 3}, {"b", 4}, {"c", 5}} { // four bytes each: two fit
		if get(t, c, step.key, counted(&made, "four")); made.Load() != step.made {
			t.Errorf("%s: made %d, want %d", step.key, made.Load(), step.made)
		}
	}
	if got := get(t, c, "big", counted(&made, "more than ten bytes")); got != "more than ten bytes" {
		t.Errorf("got %q", got)
	}
	if _, size := c.Usage(); size > 10 {
		t.Errorf("%d bytes", size)
	}
}

// TestCache_diskFull: a disk that takes nothing, and one that breaks half-way.
func TestCache_diskFull(t *testing.T) {
	t.Parallel()
	for name, create := range map[string]func() (file, error){
		"no file":  func() (file, error) { return nil, os.ErrPermission },
		"full":     func() (file, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) },
		"half-way": func() (file, error) { return &smallFile{room: 100_001}, nil },
	} {
		c := newCache(t, func(o *Options) { o.MinOccurrences = 0 })
		c.create = create
		text := bytes.Repeat([]byte("0123456789"), 50_000)
		for range 2 {
			got := get(t, c, "k", func(_ context.Context, w io.Writer) error {
				_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(text)}, make([]byte, 30_000))
				return err
			})
			if got != string(text) {
				t.Errorf("%s: %d bytes differ", name, len(got))
			}
		}
	}
}

// smallFile takes so much and no more.
type smallFile struct {
	bytes.Buffer
	mu   sync.Mutex
	room int
}

func (f *smallFile) WriteAt(p []byte, _ int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _ := f.Write(p[:min(len(p), f.room)])
	if f.room -= n; n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (f *smallFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return copy(p, f.Bytes()[off:]), nil
}

func (f *smallFile) Close() error { return nil }

func TestNew_sweeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, others := filepath.Join(dir, prefix+"1"), filepath.Join(dir, "notes.txt")
	if err := errors.Join(os.WriteFile(ours, nil, 0o600), os.WriteFile(others, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c := newCache(t, func(o *Options) { o.Dir = dir })
	get(t, c, "k", counted(new(atomic.Int32), "x"))
	entries, err := os.ReadDir(dir)
	if err != nil || fmt.Sprint(entries) != "[- notes.txt]" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestCache_manyKeys(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	for i := range maxSeen + 10 {
		c.ask(fmt.Sprint(i))
	}
	if len(c.seen) > maxSeen {
		t.Errorf("remembers %d keys", len(c.seen))
	}
}
