package sshd

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
)

// Proxy are the rules for connections that a proxy passes on with a PROXY header,
// version 1 or 2, before the first byte of SSH (wire/gitlab-shell.md §9 and §14).
type Proxy struct {
	// Policy is use (the header may be there), require, ignore (it is skipped) or
	// reject, in any case; any other value is use.
	Policy string
	// Allowed are the addresses of the proxies. If there are any they replace the
	// policy: those may send a header, and nobody else.
	Allowed []netip.Prefix
	// HeaderTimeout bounds the wait for the header.
	HeaderTimeout time.Duration
}

// ParseAllowed reads addresses and networks in CIDR notation.
func ParseAllowed(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		if addr, err := netip.ParseAddr(text); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", text)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// listen makes the connections of ln tell the address in their header. The header
// is read by who first asks a connection for its address or its bytes.
func (p *Proxy) listen(ln net.Listener) net.Listener {
	return &proxyproto.Listener{Listener: ln, ConnPolicy: p.policy, ReadHeaderTimeout: p.HeaderTimeout}
}

func (p *Proxy) policy(conn proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
	if len(p.Allowed) > 0 {
		if p.trusts(conn.Upstream) {
			return proxyproto.USE, nil
		}
		return proxyproto.REJECT, nil
	}
	switch strings.ToLower(p.Policy) {
	case "require":
		return proxyproto.REQUIRE, nil
	case "ignore":
		return proxyproto.IGNORE, nil
	case "reject":
		return proxyproto.REJECT, nil
	default:
		return proxyproto.USE, nil
	}
}

func (p *Proxy) trusts(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap()
	for _, prefix := range p.Allowed {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// peer returns the address that is at the other end of the socket, a proxy's if
// there is one between.
func peer(nc net.Conn) string {
	if proxied, ok := nc.(*proxyproto.Conn); ok {
		nc = proxied.Raw()
	}
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}
