package logging

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// Recorder watches a response that passes through it: for access lines and metrics,
// and for handlers that have to know whether anything went out. Like a
// ResponseWriter it is for one goroutine.
type Recorder struct {
	http.ResponseWriter
	status  int // 0 until the response has begun
	began   time.Time
	written int64
}

// NewRecorder returns a recorder in front of w.
func NewRecorder(w http.ResponseWriter) *Recorder { return &Recorder{ResponseWriter: w} }

// Status returns the status sent, 200 if the handler sent none.
func (r *Recorder) Status() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// Begun reports whether the response's head went out, or its connection was handed over.
func (r *Recorder) Begun() bool { return r.status != 0 }

// First returns when the head went out, zero if it did not.
func (r *Recorder) First() time.Time { return r.began }

// Written returns the bytes of the body so far.
func (r *Recorder) Written() int64 { return r.written }

// WriteHeader passes the head on; informational ones do not begin the response.
func (r *Recorder) WriteHeader(status int) {
	if status >= 200 {
		r.begin(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *Recorder) Write(p []byte) (int, error) {
	r.begin(http.StatusOK)
	n, err := r.ResponseWriter.Write(p)
	r.written += int64(n)
	return n, err
}

func (r *Recorder) begin(status int) {
	if r.status == 0 {
		r.status, r.began = status, time.Now()
	}
}

// Hijack hands the connection over, which ends the response: with 101, as far as
// HTTP is concerned.
func (r *Recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil && r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	return c, buf, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
