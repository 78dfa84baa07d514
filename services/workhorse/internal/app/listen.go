package app

import (
	"context"
	"errors"
	"fmt"
	"net"

	"gitsplit/kit/netx"
	"gitsplit/services/workhorse/internal/framing"
	"gitsplit/services/workhorse/internal/secure"
)

func (a *App) listen(ctx context.Context) (err error) {
	c := a.config
	certs, err := c.certificates(ctx, a.log)
	if err != nil {
		return err
	}
	public := append([]Listener{c.flagListener()}, c.Listeners...)
	for _, l := range public {
		ln, err := a.open(ctx, l, certs)
		if err != nil {
			return err
		}
		a.public = append(a.public, ln)
	}
	if c.Internal != (Listener{}) {
		if a.internal, err = a.open(ctx, c.Internal, certs); err != nil {
			return fmt.Errorf("internal_listener: %w", err)
		}
	}
	if c.PrometheusListenAddr != "" {
		if a.metrics, err = netx.Listen(c.PrometheusListenAddr); err != nil {
			return fmt.Errorf("prometheus_listen_addr: %w", err)
		}
	}
	return nil
}

// open opens a listener that is guarded against ambiguous requests, with TLS if it
// is one of HTTPS.
func (a *App) open(ctx context.Context, l Listener, certs *certificates) (net.Listener, error) {
	ln, err := l.listen(ctx)
	if err != nil {
		return nil, err
	}
	if l.TLS == (ListenerTLS{}) {
		return framing.Listen(ln), nil
	}
	o, err := certs.options(l.TLS, a.log)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return secure.Listen(ln, o), nil
}

// listen opens the listener. The mode of a Unix socket is 0600.
func (l Listener) listen(ctx context.Context) (net.Listener, error) {
	if l.Network == "unix" {
		return netx.Listen("unix:" + l.Addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, l.Network, l.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Addr, err)
	}
	return ln, nil
}
