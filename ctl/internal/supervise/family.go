package supervise

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// family tells the processes that we started from those that we inherited: with
// adopt on, the kernel makes this process the parent of whatever a dead service
// leaves running (a git, a database backend), and sweep ends them.
type family struct {
	adopt bool
	mu    sync.Mutex
	own   map[int]bool
}

func newFamily(adopt bool) (*family, error) {
	if adopt {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("become the parent of orphans: %w", err)
		}
	}
	return &family{adopt: adopt, own: map[int]bool{}}, nil
}

// add calls start and notes the pid it returns; no sweep happens in between.
func (f *family) add(start func() (int, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	pid, err := start()
	if err == nil {
		f.own[pid] = true
	}
	return err
}

func (f *family) remove(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.own, pid)
}

// sweep kills and reaps every adopted process. Killing one may hand us its
// children, so it goes on until none is left.
func (f *family) sweep() {
	if !f.adopt {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		adopted := f.adopted()
		if len(adopted) == 0 {
			return
		}
		for _, pid := range adopted {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// reap collects adopted processes that have ended, and leaves the others alone.
func (f *family) reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pid := range f.adopted() {
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

func (f *family) adopted() []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list) //nolint:gosec // a thread may have ended; it has no children then
		for word := range bytes.FieldsSeq(text) {
			if pid, err := strconv.Atoi(string(word)); err == nil && !f.own[pid] {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
