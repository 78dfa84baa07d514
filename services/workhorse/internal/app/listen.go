package app

import (
	"context"
	"fmt"
	"net"

	"gitsplit/kit/netx"
	"gitsplit/services/workhorse/internal/framing"
	"gitsplit/services/workhorse/internal/secure"
)

func (a *App) listen(ctx context.Context) (err error) {
	c := a.config
	for _, l := range c.publicListeners() {
		ln, err := l.listen(ctx)
		if err != nil {
			return err
		}
		a.public = append(a.public, ln)
	}
	if c.Internal != (Listener{}) {
		if a.internal, err = c.Internal.listen(ctx); err != nil {
			return fmt.Errorf("internal_listener: %w", err)
		}
	}
	if c.PrometheusListenAddr != "" {
		if a.metrics, err = netx.Listen(c.PrometheusListenAddr); err != nil {
			return fmt.Errorf("prometheus_listen_addr: %w", err)
		}
	}
	return a.guard(ctx)
}

// guard puts TLS and the guard against ambiguous requests in front of the open
// listeners.
func (a *App) guard(ctx context.Context) (err error) {
	if a.certs, err = a.certificates(ctx, a.public); err != nil {
		return err
	}
	if a.certs.acme != nil {
		a.publicDoor = a.certs.acme.Challenges(a.publicDoor)
	}
	for i, l := range a.config.publicListeners() {
		if a.public[i], err = a.guarded(a.public[i], l.TLS); err != nil {
			return err
		}
	}
	if a.internal != nil {
		a.internal, err = a.guarded(a.internal, a.config.Internal.TLS)
	}
	return err
}

// guarded returns ln itself with an error.
func (a *App) guarded(ln net.Listener, t ListenerTLS) (net.Listener, error) {
	if t == (ListenerTLS{}) {
		return framing.Listen(ln), nil
	}
	o, err := a.certs.options(t, a.log)
	if err != nil {
		return ln, err
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
