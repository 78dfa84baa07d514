package gitcmd

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/process"
)

// What a client is told whose git was ended by a bound. Nothing is wrong with the
// repository then, though git says so.
const (
	ShortOfMemory = "the server is short of memory: try again later"
	ShortOfTime   = "the request takes more time to compute than the server allows"
)

// shortage turns the error of a process into an errs.Exhausted when it was one of our
// bounds, or the machine's memory, that ended it or a child of it.
func (f *Factory) shortage(err *Error, since time.Time) error {
	switch {
	case err.Code == died(syscall.SIGXCPU), strings.Contains(err.Stderr, "died of signal "+strconv.Itoa(int(syscall.SIGXCPU))):
		return errs.Wrap(errs.Exhausted, ShortOfTime, err)
	case outOfMemory(err.Stderr), f.killed(err) && f.ooms.since(since):
		return errs.Wrap(errs.Exhausted, ShortOfMemory, err)
	}
	return err
}

// killed reports whether SIGKILL ended git, or a child of which it says so.
func (f *Factory) killed(err *Error) bool {
	return process.Signalled(err.Err) && err.Code == died(syscall.SIGKILL) ||
		strings.Contains(err.Stderr, "died of signal "+strconv.Itoa(int(syscall.SIGKILL)))
}

// died is the exit code of a process that a signal ended.
func died(sig syscall.Signal) int { return 128 + int(sig) }

// outOfMemory knows git's words for an allocation or a mapping that failed.
func outOfMemory(stderr string) bool {
	return strings.Contains(stderr, "fatal: Out of memory") || strings.Contains(stderr, "Cannot allocate memory")
}

// Short reports whether a bound, or the machine's memory, ended git.
func Short(err error) bool {
	var e *Error
	return errs.KindOf(err) == errs.Exhausted && errors.As(err, &e)
}

// OutOfMemory reports whether the kernel has ended a process for want of memory since
// a time. It counts those of the whole machine: together with a git that was killed by
// nobody, one of them is the reason.
func (f *Factory) OutOfMemory(since time.Time) bool { return f.ooms.since(since) }

// oomWatch notices processes that the kernel ends for want of memory. Its counter is
// read only when there is a dead process to explain.
type oomWatch struct {
	file    string // of the kernel's counters
	mu      sync.Mutex
	seen    uint64
	changed time.Time // when seen was noticed to have grown
}

func newOOMWatch(file string) *oomWatch {
	w := &oomWatch{file: file}
	w.seen = w.read()
	return w
}

// since reports whether there was one since t, at the latest now.
func (w *oomWatch) since(t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.read(); n > w.seen {
		w.seen, w.changed = n, time.Now()
	}
	return !w.changed.Before(t)
}

// read returns the count, 0 where the kernel has none.
func (w *oomWatch) read() uint64 {
	raw, err := os.ReadFile(w.file)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(raw) {
		if value, found := bytes.CutPrefix(line, []byte("oom_kill ")); found {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64) // 0 is none
			return n
		}
	}
	return 0
}
