// Package logging sets up the services' logs: JSON lines through log/slog, each
// with the service's name and the correlation id of its context, secrets masked.
// It also writes the one access line per request that the call-chain test reads.
package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"gitsplit/kit/correlation"
)

// Attribute keys with one meaning in every service.
const (
	KeyService       = "service"
	KeyCorrelationID = "correlation_id"
	KeyStartedAt     = "started_at"  // RFC 3339 with nanoseconds, UTC
	KeyDurationMS    = "duration_ms" // float, milliseconds
	KeyError         = "error"
	KeyMethod        = "method"
	KeyRoute         = "route" // a template, never a path with names in it
	KeyPath          = "path"  // without the query
	KeyStatus        = "status"
	KeyRPC           = "rpc"
	KeyCode          = "code"
	KeyUser          = "user"
	KeyProject       = "project"
	KeyCommand       = "command"
	KeyExitStatus    = "exit_status"
	KeyRemoteAddr    = "remote_addr"
	KeyBytesIn       = "bytes_in"
	KeyBytesOut      = "bytes_out"
	KeyChanges       = "changes"
)

// AccessMessage is the message of access lines, and of nothing else.
const AccessMessage = "access"

// Options says who logs and how much.
type Options struct {
	Service string // value of the "service" attribute
	Level   string // debug, info, warn or error; "" is info
	Text    bool   // for people to read, instead of JSON
}

// New returns a logger that writes lines to w. A bad level is an error.
func New(w io.Writer, o Options) (*slog.Logger, error) {
	var level slog.Level
	if o.Level != "" {
		if err := level.UnmarshalText([]byte(o.Level)); err != nil {
			return nil, fmt.Errorf("log level %q: want debug, info, warn or error", o.Level)
		}
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	var h slog.Handler = slog.NewJSONHandler(w, options)
	if o.Text {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(contextHandler{h}).With(slog.String(KeyService, o.Service)), nil
}

// Discard returns a logger that drops everything.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// secretWords mark attribute keys whose values never reach a log
// (security-baseline.md L2).
var secretWords = []string{"authorization", "cookie", "token", "secret", "password", "private_key"}

func replace(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.TimeValue(a.Value.Time().UTC())
		return a
	}
	key := strings.ToLower(a.Key)
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return slog.String(a.Key, "[FILTERED]")
		}
	}
	return a
}

// contextHandler adds what the context knows. WithAttrs and WithGroup are
// overridden too, or the wrapper would be lost.
type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := correlation.ID(ctx); id != "" {
		r.AddAttrs(slog.String(KeyCorrelationID, id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

// Access writes the one access line of a request that began at started.
func Access(ctx context.Context, log *slog.Logger, started time.Time, attrs ...slog.Attr) {
	base := []slog.Attr{
		slog.String(KeyStartedAt, started.UTC().Format(time.RFC3339Nano)),
		slog.Float64(KeyDurationMS, Milliseconds(time.Since(started))),
	}
	log.LogAttrs(ctx, slog.LevelInfo, AccessMessage, append(base, attrs...)...)
}

// Milliseconds returns d in milliseconds with microsecond precision.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
