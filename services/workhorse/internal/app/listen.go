package app

import (
	"context"
	"errors"
	"fmt"
	"net"

	"gitsplit/kit/netx"
	"gitsplit/services/workhorse/internal/framing"
)

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

// listenAll opens all of them or none, guarded against ambiguous requests.
func listenAll(ctx context.Context, all []Listener) (_ []net.Listener, err error) {
	var open []net.Listener
	for _, l := range all {
		ln, err := l.listen(ctx)
		if err != nil {
			return nil, errors.Join(err, closeAll(open))
		}
		open = append(open, framing.Listen(ln))
	}
	return open, nil
}

func closeAll(listeners []net.Listener) error {
	var faults []error
	for _, ln := range listeners {
		faults = append(faults, ln.Close())
	}
	return errors.Join(faults...)
}
