package githttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// hold keeps what gitaly answers while the request is still being read, and lets
// it through afterwards: a client that writes everything before it reads would
// otherwise wait for us while we wait for it (wire/workhorse.md §3.3). A little is
// kept in memory, more in a temporary file without a name.
type hold struct {
	dst     io.Writer
	tempDir string
	limit   int64 // 0 is none

	mu     sync.Mutex
	open   bool
	kept   int64
	memory bytes.Buffer
	file   *os.File
	err    error
}

const keptInMemory = 64 << 10

var errHoldFull = errors.New("too much of the answer came before the request was read")

// Write passes p on, or keeps it.
func (h *hold) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err != nil:
		return 0, h.err
	case h.open:
		return h.dst.Write(p)
	}
	n, err := h.keep(p)
	h.kept += int64(n)
	return n, err
}

func (h *hold) keep(p []byte) (int, error) {
	if h.limit > 0 && h.kept+int64(len(p)) > h.limit {
		return 0, errHoldFull
	}
	if h.file == nil && h.memory.Len()+len(p) <= keptInMemory {
		return h.memory.Write(p)
	}
	if h.file == nil {
		f, err := unnamedFile(h.tempDir)
		if err != nil {
			return 0, err
		}
		h.file = f
	}
	return h.file.Write(p)
}

func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "gitlab-workhorse-answer")
	if err != nil {
		return nil, fmt.Errorf("keep an early answer: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("keep an early answer: %w", err), f.Close())
	}
	return f, nil
}

// release passes on what was kept, and from now on everything. It may be called
// more than once; the error of the first call is kept for the writes to come.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open {
		return
	}
	h.open = true
	if h.memory.Len() > 0 {
		_, h.err = h.memory.WriteTo(h.dst)
	}
	if h.file != nil && h.err == nil {
		h.err = h.copyFile()
	}
	h.memory = bytes.Buffer{}
}

func (h *hold) copyFile() error {
	if _, err := h.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(h.dst, h.file)
	return err
}

// close frees the file.
func (h *hold) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}
