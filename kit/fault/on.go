//go:build faults

package fault

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"gitsplit/kit/correlation"
)

// Enabled says whether this build has points.
const Enabled = true

// Armed reports whether somebody listens at the points.
func Armed() bool { return os.Getenv(EnvSocket) != "" }

// Mutated reports whether the mutation is asked for.
func Mutated(name string) bool {
	return slices.Contains(strings.Split(os.Getenv(EnvMutation), ","), name)
}

// Environ is what a child needs to have points too, as items of an environment.
func Environ() []string {
	if !Armed() {
		return nil
	}
	return []string{EnvSocket + "=" + os.Getenv(EnvSocket)}
}

// Point tells who listens that the process has come here with the subject, and
// returns when it may go on: the end of ctx, which real code would not notice here
// either, does not matter. Nobody there is a permission too.
func Point(ctx context.Context, name, subject string) {
	if !Armed() {
		return
	}
	var d net.Dialer
	conn, err := d.DialContext(context.WithoutCancel(ctx), "unix", os.Getenv(EnvSocket))
	if err != nil {
		return
	}
	defer conn.Close()
	id := correlation.ID(ctx)
	if id == "" {
		id = os.Getenv(correlation.EnvKey)
	}
	if json.NewEncoder(conn).Encode(Reached{Point: name, Subject: subject, CorrelationID: id, PID: os.Getpid()}) == nil {
		_, _ = conn.Read(make([]byte, 1))
	}
}

// Reader is r with a point once n bytes have been read from it.
func Reader(ctx context.Context, name, subject string, r io.Reader, n int64) io.Reader {
	if !Armed() {
		return r
	}
	return &reader{r: r, at: &at{left: n, reached: func() { Point(ctx, name, subject) }}}
}

// Writer is w with a point once n bytes have been written to it.
func Writer(ctx context.Context, name, subject string, w io.Writer, n int64) io.Writer {
	if !Armed() {
		return w
	}
	return &writer{w: w, at: &at{left: n, reached: func() { Point(ctx, name, subject) }}}
}

type at struct {
	left    int64
	reached func()
}

func (a *at) moved(n int) {
	if a.left > 0 {
		if a.left -= int64(n); a.left <= 0 {
			a.reached()
		}
	}
}

type reader struct {
	r io.Reader
	*at
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.moved(n)
	return n, err
}

type writer struct {
	w io.Writer
	*at
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.moved(n)
	return n, err
}
