package pack

import (
	"context"
	"io"
	"time"

	"gitsplit/kit/errs"
)

// errIdle ends a transfer in which neither side has moved a byte for too long.
var errIdle = errs.New(errs.Timeout, "transfer was idle for too long")

// idle watches the streams of a transfer: packs may take as long as they take, but
// not stand still. git itself sends keep-alives while it works.
type idle struct {
	timer *time.Timer
	after time.Duration
}

// watchIdle cancels with errIdle unless bytes move. It returns the streams to use,
// and what ends the watch.
func watchIdle(cancel context.CancelCauseFunc, after time.Duration, s Streams) (Streams, func()) {
	if after <= 0 {
		return s, func() {}
	}
	w := &idle{timer: time.AfterFunc(after, func() { cancel(errIdle) }), after: after}
	s.Stdin, s.Stdout = idleReader{w, s.Stdin}, idleWriter{w, s.Stdout}
	if s.Stderr != nil {
		s.Stderr = idleWriter{w, s.Stderr}
	}
	return s, func() { w.timer.Stop() }
}

type idleReader struct {
	*idle
	r io.Reader
}

func (i idleReader) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if n > 0 {
		i.timer.Reset(i.after)
	}
	return n, err
}

type idleWriter struct {
	*idle
	w io.Writer
}

func (i idleWriter) Write(p []byte) (int, error) {
	n, err := i.w.Write(p)
	if n > 0 {
		i.timer.Reset(i.after)
	}
	return n, err
}
