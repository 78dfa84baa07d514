// Package senddata gives the answers that rails-api leaves to workhorse: rails-api
// says in a header of its answer what is to be sent, and workhorse sends it
// (wire/workhorse.md §5). Only headers of rails-api's answers count; the front
// removes those that a client sends.
package senddata

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/failure"
	"gitsplit/services/workhorse/internal/gitaly"
)

// The headers by which rails-api delegates.
const (
	fileHeader = "X-Sendfile"                 // the answer is a file
	dataHeader = "Gitlab-Workhorse-Send-Data" // "<prefix>:<parameters>"
)

// Options of a Sender.
type Options struct {
	Gitalys  gitaly.Servers
	Archives *Archives // nil keeps no archives
	Metrics  *Metrics
	Log      *slog.Logger
}

// Sender gives answers in rails-api's place. It is safe for concurrent use.
type Sender struct {
	Options
	kinds   map[string]kind
	lookUps chan struct{} // holds one per list of an archive in memory
}

// kind gives one kind of answer from its parameters, as they came. What it returns
// becomes an answer if nothing has been sent yet, and else ends the connection.
type kind func(w http.ResponseWriter, r *http.Request, params string) error

// New returns a Sender.
func New(o Options) *Sender {
	s := &Sender{Options: o, lookUps: make(chan struct{}, maxLookUps)}
	s.kinds = map[string]kind{
		"artifacts-entry":  s.entry,
		"git-archive":      s.archive,
		"git-blob":         s.blob,
		"git-diff":         s.diff,
		"git-format-patch": s.patch,
		"git-snapshot":     s.snapshot,
		"send-url":         s.url,
	}
	return s
}

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
	values := res.Header.Values(dataHeader)
	if len(values) == 0 {
		return nil
	}
	prefix, params, _ := strings.Cut(values[0], ":")
	send, known := s.kinds[prefix]
	switch {
	case len(values) > 1:
		return s.handler("data", func(http.ResponseWriter, *http.Request, string) error { return errTwice }, "")
	case !known:
		return nil
	}
	return s.handler(prefix, send, params)
}

var errTwice = errors.New("rails-api said twice what to send")

// handler runs one kind of answer, counts it and deals with its failure.
func (s *Sender) handler(name string, send kind, params string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := logging.NewRecorder(w)
		defer func() { s.Metrics.sent(name, out.Written()) }()
		err := send(out, r, params)
		switch {
		case err == nil:
		case out.Begun(): // a cut that the client sees: the end of the data must not look like one
			s.log(r.Context(), name, err)
			panic(http.ErrAbortHandler)
		default:
			s.fail(r.Context(), w, name, err)
		}
	})
}

// fail answers for what failed before its first byte.
func (s *Sender) fail(ctx context.Context, w http.ResponseWriter, name string, err error) {
	s.log(ctx, name, err)
	switch refusal, ok := errors.AsType[*refusal](err); {
	case ctx.Err() != nil: // the client left; the status is for the log
		w.WriteHeader(failure.ClientLeft)
	case ok:
		refuse(w, refusal.status, refusal.text)
	default:
		refuse(w, http.StatusInternalServerError, "Internal Server Error")
	}
}

func (s *Sender) log(ctx context.Context, name string, err error) {
	failure.Log(ctx, s.Log, "sending data failed", slog.String("send_data", name), err)
}

// refusal is a failure with an answer of its own.
type refusal struct {
	status int
	text   string
	cause  error
}

func (r *refusal) Error() string { return r.text + ": " + r.cause.Error() }
func (r *refusal) Unwrap() error { return r.cause }

// refuse answers with an error in place of what rails-api has described.
func refuse(w http.ResponseWriter, status int, text string) {
	for _, name := range []string{"Content-Disposition", "Content-Transfer-Encoding", "Content-Range"} {
		w.Header().Del(name)
	}
	http.Error(w, text, status)
}
