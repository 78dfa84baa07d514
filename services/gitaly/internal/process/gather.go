package process

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// git writes a pack in pieces of 8 KiB: who reads each as it comes wakes up for each, and
// passes small pieces on.
const (
	// gatherFrom is what no line of text reaches, and a program that has much to write.
	gatherFrom = 4 << 10
	// gatherPause is how long a reader lets more come: a moment for who waits for a pack,
	// and dozens of pieces for who writes it.
	gatherPause = 200 * time.Microsecond
	// gatherPipe holds what comes in the pause, so that the writer does not wait.
	gatherPipe = 256 << 10
)

// gatherer reads a pipe in few large pieces.
type gatherer struct {
	f   *os.File
	raw syscall.RawConn // nil if there is none
}

func newGatherer(f *os.File) *gatherer {
	raw, err := f.SyscallConn()
	if err != nil {
		return &gatherer{f: f}
	}
	_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, gatherPipe) }) // else it stays as it is
	return &gatherer{f: f, raw: raw}
}

// Read fills less than half of p only when there is little.
func (g *gatherer) Read(p []byte) (int, error) {
	n, err := g.f.Read(p)
	if err != nil || n < gatherFrom || n > len(p)/2 || g.raw == nil {
		return n, err
	}
	time.Sleep(gatherPause)
	_ = g.raw.Read(func(fd uintptr) bool {
		if more, err := unix.Read(int(fd), p[n:]); err == nil { //nolint:gosec // a descriptor
			n += more // the end, or that there is nothing yet, is for the next Read
		}
		return true
	})
	return n, nil
}
