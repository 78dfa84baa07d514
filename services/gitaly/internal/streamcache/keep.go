package streamcache

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// file holds the bytes of a stream.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// tempFile makes a file and takes its name away.
func (c *Cache) tempFile() (file, error) {
	f, err := os.CreateTemp(c.o.Dir, prefix)
	if err != nil {
		return nil, fmt.Errorf("cache file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("cache file: %w", err), f.Close())
	}
	return f, nil
}

// keep makes a complete stream stay. c.mu is held, as for all below.
func (c *Cache) keep(s *stream) {
	s.holders++
	s.place = c.kept.PushBack(s)
	age := min(linger, c.o.MaxAge)
	s.until = time.Now().Add(age)
	s.expiry = time.AfterFunc(age, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.place != nil && !time.Now().Before(s.until) {
			c.forget(s.place)
		}
	})
	c.use(s)
	for c.kept.Len() > maxKept {
		c.forget(c.kept.Back())
	}
}

// use notes that somebody wants a stream that stays: if that was often enough, it
// stays for its whole age, and what nobody asked for again goes before it.
func (c *Cache) use(s *stream) {
	if !s.keep {
		return
	}
	c.kept.MoveToFront(s.place)
	if !s.aged {
		s.aged = true
		s.until = time.Now().Add(c.o.MaxAge)
		s.expiry.Reset(c.o.MaxAge)
	}
}

// forget lets go of a kept stream; those who read it read on.
func (c *Cache) forget(place *list.Element) {
	s, _ := c.kept.Remove(place).(*stream)
	s.place = nil
	s.expiry.Stop()
	delete(c.streams, s.key)
	c.release(s)
}

// release takes one holder off; the last one closes the file.
func (c *Cache) release(s *stream) {
	if s.holders--; s.holders > 0 || s.file == nil {
		return
	}
	_ = s.file.Close() // nothing was promised about its content
	c.bytes -= s.held
}

// statfsEvery is how many bytes a stream grows between two looks at the disk.
const statfsEvery = 16 << 20

// grow makes room for n more bytes of the stream, at the cost of kept ones that were
// not used for the longest time. It reports whether there is any.
func (c *Cache) grow(s *stream, n int64) bool {
	if s.size/statfsEvery != (s.size+n)/statfsEvery || s.size == 0 {
		if free, err := c.free(); err != nil || free-n < c.o.MinFree {
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for place := c.kept.Back(); c.bytes+n > c.o.MaxBytes && place != nil; {
		candidate, _ := place.Value.(*stream)
		place = place.Prev()
		if candidate.holders == 1 { // else its readers hold the file all the same
			c.forget(candidate.place)
		}
	}
	if c.bytes+n > c.o.MaxBytes {
		return false
	}
	c.bytes += n
	s.held += n
	return true
}

// free is the space on the disk.
func (c *Cache) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(c.o.Dir, &st); err != nil {
		return 0, fmt.Errorf("cache directory: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // sizes of real disks
}

// pass takes a stream out that goes on without its file: nobody can join it any more.
func (c *Cache) pass(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.key] == s {
		delete(c.streams, s.key)
	}
}

// Usage returns how many streams are there and the bytes of all files.
func (c *Cache) Usage() (streams int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams), c.bytes
}
