package app

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"

	"gitsplit/services/workhorse/internal/header"
)

// proxyHeaderTimeout bounds the wait for a PROXY header, which a proxy sends first
// of all.
const proxyHeaderTimeout = 5 * time.Second

// expectProxies makes the connections of the public TCP listeners tell the address
// in their PROXY header. One without a header, or from somebody who may not send
// one, is closed.
func (a *App) expectProxies() error {
	if !a.config.ProxyProtocol {
		return nil
	}
	allowed, err := header.ParseCIDRs(a.config.ProxyAllowed)
	if err != nil {
		return err
	}
	for i, l := range a.config.publicListeners() {
		if l.Network == "unix" {
			continue
		}
		a.public[i] = proxied{&proxyproto.Listener{
			Listener: a.public[i], ReadHeaderTimeout: proxyHeaderTimeout,
			ConnPolicy: func(c proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
				if len(allowed) > 0 && !within(allowed, c.Upstream) {
					return proxyproto.REJECT, proxyproto.ErrInvalidUpstream // closed at once
				}
				return proxyproto.REQUIRE, nil
			},
		}}
	}
	return nil
}

func within(networks []netip.Prefix, peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	return ok && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(tcp.AddrPort().Addr().Unmap()) })
}

// proxied keeps net/http's way to end one half of a connection.
type proxied struct{ net.Listener }

func (l proxied) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if p, ok := c.(*proxyproto.Conn); ok && err == nil {
		return halfConn{p}, nil
	}
	return c, err
}

type halfConn struct{ *proxyproto.Conn }

func (c halfConn) CloseWrite() error {
	if tcp, ok := c.TCPConn(); ok {
		return tcp.CloseWrite()
	}
	return nil
}
