package sshd

import (
	"net"
	"net/netip"
	"sync"
)

// limiter bounds the open connections, in total and per client network: an IPv4
// address, or the /64 that one IPv6 site owns.
type limiter struct {
	total, perClient int

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]int
}

func newLimiter(total, perClient int) *limiter {
	return &limiter{total: total, perClient: perClient, clients: map[netip.Prefix]int{}}
}

// admit takes a place for a connection; if it reports true, release gives the
// place back and must be called once.
func (l *limiter) admit(addr net.Addr) (release func(), ok bool) {
	client := network(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total || l.clients[client] >= l.perClient {
		return nil, false
	}
	l.open++
	l.clients[client]++
	return func() { l.release(client) }, true
}

func (l *limiter) release(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	l.clients[client]--
	if l.clients[client] == 0 {
		delete(l.clients, client)
	}
}

// network returns what counts as one client. Connections without an IP address
// share one place.
func network(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // in range by construction
	return prefix
}
