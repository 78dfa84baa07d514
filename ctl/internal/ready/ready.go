// Package ready asks a service of ours whether it is ready.
package ready

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"gitsplit/kit/netx"
)

// ErrNot says what a readiness answer was, when it was not the good one.
var ErrNot = errors.New("not ready")

// Ask asks the probe listener at addr, unix:/path or host:port, and returns nil if
// it answers that the service is ready.
func Ask(ctx context.Context, addr string) (err error) {
	dial := netx.Dialer(addr)
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://probe/-/readiness", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	why, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrNot, strings.Join(strings.Fields(string(why)), " "))
}
