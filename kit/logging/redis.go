package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// Redis returns what go-redis logs through (redis.SetLogger), which by itself
// writes plain text to stderr: lines of the service. It tells of failures only.
func Redis(w io.Writer, service string) RedisLogger {
	log, _ := New(w, Options{Service: service}) // only a bad level is an error
	return RedisLogger{log}
}

// RedisLogger writes warnings.
type RedisLogger struct{ log *slog.Logger }

// Printf writes one.
func (l RedisLogger) Printf(ctx context.Context, format string, v ...any) {
	l.log.WarnContext(ctx, "redis client", slog.String(KeyError, fmt.Sprintf(format, v...)))
}
