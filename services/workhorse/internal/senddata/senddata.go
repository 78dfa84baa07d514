// Package senddata gives the answers that rails-api leaves to workhorse: rails-api
// says in a header of its answer what is to be sent, and workhorse sends it
// (wire/workhorse.md §5). Only headers of rails-api's answers count; the front
// removes those that a client sends.
package senddata

import (
	"context"
	"log/slog"
	"net/http"

	"gitsplit/kit/logging"
)

// fileHeader names a file that is the answer.
const fileHeader = "X-Sendfile"

// Options of a Sender.
type Options struct {
	Metrics *Metrics
	Log     *slog.Logger
}

// Sender gives answers in rails-api's place. It is safe for concurrent use.
type Sender struct{ Options }

// New returns a Sender.
func New(o Options) *Sender { return &Sender{Options: o} }

// Take returns what gives the answer in rails-api's place, nil if rails-api gives
// it itself. The headers of res, cleaned, must be in the writer's before the
// handler is called; its body is not needed.
func (s *Sender) Take(res *http.Response) http.Handler {
	if res.StatusCode != http.StatusOK {
		return nil
	}
	if paths := res.Header.Values(fileHeader); len(paths) > 0 {
		return s.file(paths)
	}
	return nil
}

// fail answers for something that should not have happened.
func (s *Sender) fail(ctx context.Context, w http.ResponseWriter, what string, err error) {
	if ctx.Err() != nil { // the client left; the status is for the log
		w.WriteHeader(clientLeft)
		return
	}
	s.Log.ErrorContext(ctx, "send "+what, slog.Any(logging.KeyError, err))
	refuse(w, http.StatusInternalServerError, "Internal Server Error")
}

// clientLeft is the status of a request whose client did not wait.
const clientLeft = 499

// refuse answers with an error in place of what rails-api has described.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Del("Content-Disposition")
	w.Header().Del("Content-Transfer-Encoding")
	http.Error(w, text, status)
}
