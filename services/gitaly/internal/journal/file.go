package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"gitsplit/kit/durable"
)

// compactFrom is how much must have been written before the file is written anew,
// without what is done with.
const compactFrom = 1 << 20

// errClosed is the error of a file that may be another gitaly's by now.
var errClosed = errors.New("journal is closed")

// file is the journal of one storage: lines are appended, and written anew from time
// to time. A line that begins a push is synced, and all before it; the others need not
// be: what is lost of them is found out again.
type file struct {
	path string
	sync func(*os.File) error // os.(*File).Sync but for tests

	mu      sync.Mutex
	f       *os.File
	written int64
	renewed int64 // how much of that was written when the file was made anew
	broken  error // the last write or sync failed: nothing is appended any more
	closed  bool  // for good

	syncing sync.Mutex // before mu
	synced  int64
}

// openFile opens or makes the journal in dir and returns its lines. What is left of
// half a line at the end goes; damaged lines before it are told by bad.
func openFile(dir string, sync func(*os.File) error) (_ *file, lines []line, bad int, err error) {
	if err := makeDir(dir); err != nil {
		return nil, nil, 0, err
	}
	j := &file{path: filepath.Join(dir, "log"), sync: sync}
	if err := os.Remove(j.temporary()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, fmt.Errorf("journal: %w", err)
	}
	_, err = os.Stat(j.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if j.f, err = os.OpenFile(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return nil, nil, 0, fmt.Errorf("journal: %w", err)
	}
	if lines, bad, err = j.read(); err == nil && fresh {
		err = durable.SyncDir(dir)
	}
	if err != nil {
		return nil, nil, 0, errors.Join(err, j.f.Close())
	}
	return j, lines, bad, nil
}

// makeDir makes the directory, below one that is there, and its name durable.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return durable.SyncDir(filepath.Dir(dir))
}

func (j *file) temporary() string { return j.path + ".new" }

// read reads all lines and cuts off half a line at the end.
func (j *file) read() (lines []line, bad int, err error) {
	for r := bufio.NewReader(j.f); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read journal: %w", err)
		}
		j.written += int64(len(text))
		l, err := decode(bytes.TrimSuffix(text, []byte("\n")))
		if err != nil {
			bad++
			continue
		}
		lines = append(lines, l)
	}
	if err := j.f.Truncate(j.written); err != nil {
		return nil, 0, fmt.Errorf("read journal: %w", err)
	}
	return lines, bad, nil
}

// append adds a line. live returns what the file must still hold when it is written
// anew, without the line.
func (j *file) append(l line, live func() []line) error {
	raw, err := l.encode()
	if err != nil {
		return err
	}
	end, err := j.write(raw, live)
	if err != nil || l.Begin == nil {
		return err
	}
	return j.syncTo(end)
}

// write writes an encoded line and returns where it ends.
func (j *file) write(raw []byte, live func() []line) (end int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil { // what could not be written or synced is not tried again in this file
		cause := j.broken
		j.mu.Unlock()
		err := j.renew(func() bool { return j.broken != nil }, live)
		j.mu.Lock()
		if err != nil {
			return 0, errors.Join(err, cause)
		}
	}
	if j.closed {
		return 0, errClosed
	}
	if _, err := j.f.Write(raw); err != nil {
		j.broken = fmt.Errorf("write journal: %w", err)
		return 0, j.broken
	}
	j.written += int64(len(raw))
	return j.written, nil
}

// syncTo makes the file durable at least to the given size. Those who wait meanwhile
// share one sync.
func (j *file) syncTo(end int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= end {
		return nil
	}
	j.mu.Lock()
	f, written, broken := j.f, j.written, j.broken
	j.mu.Unlock()
	if broken != nil { // since we wrote: nobody knows whether our line is on the disk
		return broken
	}
	if err := j.sync(f); err != nil {
		err = fmt.Errorf("sync journal: %w", err)
		j.mu.Lock()
		j.broken = err
		j.mu.Unlock()
		return err
	}
	j.synced = written
	return nil
}

// compact writes the file anew if most of it is done with, and so much has come since
// the last time that the work is worth it however much is not: liveSize is about that.
func (j *file) compact(liveSize int64, live func() []line) error {
	due := func() bool { return j.written > 2*liveSize && j.written-j.renewed > max(compactFrom, liveSize) }
	j.mu.Lock()
	now := due()
	j.mu.Unlock()
	if !now {
		return nil
	}
	return j.renew(due, live)
}

// renew replaces the file by one with the lines of live, durably, if that is still due
// when its turn has come.
func (j *file) renew(due func() bool, live func() []line) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errClosed
	}
	if !due() {
		return nil
	}
	f, size, err := j.aside(live())
	if err != nil {
		return fmt.Errorf("renew journal: %w", err)
	}
	_ = j.f.Close() // it has no name any more
	j.f, j.written, j.synced, j.renewed = f, size, size, size
	j.broken = durable.SyncDir(filepath.Dir(j.path))
	return j.broken
}

// aside writes a new file and puts it into the place of the present one.
func (j *file) aside(lines []line) (_ *os.File, size int64, err error) {
	f, err := os.OpenFile(j.temporary(), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(j.temporary()))
		}
	}()
	for _, l := range lines {
		raw, err := l.encode()
		if err != nil {
			return nil, 0, err
		}
		if _, err := f.Write(raw); err != nil {
			return nil, 0, err
		}
		size += int64(len(raw))
	}
	if err := j.sync(f); err != nil {
		return nil, 0, err
	}
	return f, size, os.Rename(j.temporary(), j.path)
}

// close ends the writing: what comes later is errClosed.
func (j *file) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return j.f.Close()
}
