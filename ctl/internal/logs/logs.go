// Package logs takes the output of the services apart into lines: every line goes
// to a file of bounded size, and what a person should see goes to the terminal
// with the name of its service in front.
package logs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// MaxFile is the size at which a log file is renamed to <name>.1, replacing the
// one before, and a new one begun; a service's logs stay under twice this.
const MaxFile = 10 << 20

// File is a log file that begins anew when it is full. Safe for concurrent use.
type File struct {
	path string
	max  int64

	mu   sync.Mutex
	f    *os.File
	size int64
}

// OpenFile opens the log file at path for appending, mode 0600.
func OpenFile(path string, maxSize int64) (*File, error) {
	l := &File{path: path, max: maxSize}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *File) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write appends one line. It is never split over two files.
func (l *File) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(line)) > l.max {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.Write(line)
	l.size += int64(n)
	return n, err
}

func (l *File) rotate() error {
	if err := errors.Join(l.f.Close(), os.Rename(l.path, l.path+".1")); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	return l.open()
}

// Close closes the file.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}
