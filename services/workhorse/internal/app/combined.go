package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"time"

	"gitsplit/kit/logging"
)

// combined writes access lines in the combined form of Apache's servers, and leaves
// the rest to another handler.
type combined struct {
	slog.Handler
	access io.Writer // takes a line with each Write
}

// Handle writes a line.
func (h combined) Handle(ctx context.Context, r slog.Record) error {
	if r.Message != logging.AccessMessage {
		return h.Handler.Handle(ctx, r)
	}
	_, err := io.WriteString(h.access, combinedLine(r))
	return err
}

// WithAttrs keeps the form.
func (h combined) WithAttrs(attrs []slog.Attr) slog.Handler {
	return combined{h.Handler.WithAttrs(attrs), h.access}
}

// WithGroup keeps the form.
func (h combined) WithGroup(name string) slog.Handler {
	return combined{h.Handler.WithGroup(name), h.access}
}

// combinedLine is: address, two unknown names, the time of the request's begin, its
// first line, status, bytes, referrer, client. What clients say is quoted and escaped.
func combinedLine(r slog.Record) string {
	a := map[string]string{}
	r.Attrs(func(attr slog.Attr) bool {
		a[attr.Key] = attr.Value.String()
		return true
	})
	began, err := time.Parse(time.RFC3339Nano, a[logging.KeyStartedAt])
	if err != nil {
		began = r.Time
	}
	address := a["remote_ip"]
	if peer, err := netip.ParseAddrPort(a[logging.KeyRemoteAddr]); err == nil { // refused before anybody looked closer
		address = cmp.Or(address, peer.Addr().String())
	}
	return fmt.Sprintf("%s - - [%s] %s %s %s %s %s\n", cmp.Or(address, "-"), began.Format("02/Jan/2006:15:04:05 -0700"),
		strconv.Quote(a[logging.KeyMethod]+" "+a["uri"]+" "+a["proto"]), a[logging.KeyStatus], cmp.Or(a["written_bytes"], "0"),
		strconv.Quote(cmp.Or(a["referrer"], "-")), strconv.Quote(cmp.Or(a["user_agent"], "-")))
}
