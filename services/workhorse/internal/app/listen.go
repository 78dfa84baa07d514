package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"gitsplit/kit/netx"
	"gitsplit/services/workhorse/internal/framing"
	"gitsplit/services/workhorse/internal/secure"
)

func (a *App) listen(ctx context.Context) error {
	c := a.config
	mode, err := c.socketMode()
	if err != nil {
		return err
	}
	for _, l := range c.publicListeners() {
		ln, err := l.listen(ctx, mode)
		if err != nil {
			return err
		}
		a.public = append(a.public, ln)
	}
	if c.Internal != (Listener{}) {
		if a.internal, err = c.Internal.listen(ctx, mode); err != nil {
			return fmt.Errorf("internal_listener: %w", err)
		}
	}
	if c.PrometheusListenAddr != "" {
		if a.metrics, err = netx.Listen(c.PrometheusListenAddr); err != nil {
			return fmt.Errorf("prometheus_listen_addr: %w", err)
		}
	}
	if c.Metrics != (Listener{}) {
		if a.metrics, err = c.Metrics.listen(ctx, mode); err != nil {
			return fmt.Errorf("metrics_listener: %w", err)
		}
	}
	if err := a.expectProxies(); err != nil {
		return err
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
		if a.internal, err = a.guarded(a.internal, a.config.Internal.TLS); err != nil {
			return err
		}
	}
	if a.metrics != nil {
		a.metrics, err = a.guarded(a.metrics, a.config.Metrics.TLS)
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

// listen opens the listener; mode is that of a Unix socket, which gets it last.
func (l Listener) listen(ctx context.Context, mode fs.FileMode) (net.Listener, error) {
	if l.Network == "unix" {
		ln, err := netx.Listen("unix:" + l.Addr)
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(l.Addr, mode); err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		return netx.LastCall(ln), nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, l.Network, l.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Addr, err)
	}
	return netx.LastCall(ln), nil
}
