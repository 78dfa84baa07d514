package header

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// loopback is the address of a peer on a Unix socket (wire/workhorse.md §1.6).
var loopback = netip.MustParseAddr("127.0.0.1")

// ParseCIDRs parses a list of networks; a bare address is a network of one.
func ParseCIDRs(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		if addr, err := netip.ParseAddr(s); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", s)
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}

// contains reports whether addr lies in one of the networks.
func contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// client is what workhorse tells rails-api about the client of a request.
type client struct {
	addr  netip.Addr
	host  string
	proto string
}

// peerAddr returns the address at the other end of the connection.
func peerAddr(r *http.Request) netip.Addr { return hostAddr(r.RemoteAddr) }

// hostAddr parses "ip" or "ip:port"; anything else, such as the name of a Unix
// socket, is the loopback address.
func hostAddr(s string) netip.Addr {
	if addr, ok := parseAddr(s); ok {
		return addr
	}
	return loopback
}

func parseAddr(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}

// clientOf finds the client behind the trusted peers: from the right, the first
// address of X-Forwarded-For that is not itself trusted. A trusted peer's word on
// host and protocol is taken too.
func (p Policy) clientOf(r *http.Request) client {
	c := client{addr: peerAddr(r), host: r.Host, proto: "http"}
	if r.TLS != nil {
		c.proto = "https"
	}
	if !p.trusts(c.addr) {
		return c
	}
	c.addr = p.forwardedFor(r.Header.Values("X-Forwarded-For"), c.addr)
	if host := r.Header.Get("X-Forwarded-Host"); host != "" && !strings.ContainsAny(host, ", \t/@") {
		c.host = host
	}
	if proto := strings.ToLower(r.Header.Get("X-Forwarded-Proto")); proto == "http" || proto == "https" {
		c.proto = proto
	}
	return c
}

func (p Policy) trusts(addr netip.Addr) bool { return p.Internal || contains(p.Trusted, addr) }

func (p Policy) forwardedFor(lines []string, peer netip.Addr) netip.Addr {
	hops := strings.Split(strings.Join(lines, ","), ",")
	found := peer
	for i := len(hops) - 1; i >= 0; i-- {
		addr, ok := parseAddr(hops[i])
		if !ok { // a chain is believed as far as it can be read
			return found
		}
		found = addr
		if !contains(p.Trusted, addr) {
			return found
		}
	}
	return found
}
