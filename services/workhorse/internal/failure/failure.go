// Package failure is what requests that went wrong have in common.
package failure

import (
	"context"
	"log/slog"

	"gitsplit/kit/logging"
)

// ClientLeft is the status of a request whose client did not wait; only the log and
// the metrics see it.
const ClientLeft = 499

// Log tells why a request failed. That its client left is no failure of ours, whatever
// came of it. about says what the request was for.
func Log(ctx context.Context, log *slog.Logger, message string, about slog.Attr, err error) {
	level := slog.LevelError
	if ctx.Err() != nil {
		level, message = slog.LevelInfo, "client left"
	}
	log.LogAttrs(ctx, level, message, about, slog.Any(logging.KeyError, err))
}
