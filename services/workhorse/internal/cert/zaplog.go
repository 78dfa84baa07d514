package cert

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// zapCore writes what certmagic logs to our log.
type zapCore struct {
	log *slog.Logger
	ctx context.Context //nolint:containedctx // zap has none to pass
}

// Enabled reports whether our log takes the level.
func (c zapCore) Enabled(l zapcore.Level) bool { return c.log.Enabled(c.ctx, slogLevel(l)) }

// With returns a core that adds the fields to every line.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{log: slog.New(c.log.Handler().WithAttrs(attrs(fields))), ctx: c.ctx}
}

// Check adds the core to those that write the entry.
func (c zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write writes one line.
func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.LogAttrs(c.ctx, slogLevel(e.Level), "certificates: "+e.Message, attrs(fields)...)
	return nil
}

// Sync has nothing to do: lines are written at once.
func (zapCore) Sync() error { return nil }

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return slog.LevelDebug
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

func attrs(fields []zapcore.Field) []slog.Attr {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	list := make([]slog.Attr, 0, len(m.Fields))
	for key, value := range m.Fields {
		list = append(list, slog.Any(key, value))
	}
	return list
}
