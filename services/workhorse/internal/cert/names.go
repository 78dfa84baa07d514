package cert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// names are what a server is called.
type names struct {
	dns []string
	ips []netip.Addr
}

// parseNames sorts host names from addresses.
func parseNames(list []string) (names, error) {
	var n names
	if len(list) == 0 {
		return n, errors.New("no name of the server is given")
	}
	for _, name := range list {
		if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
			n.ips = append(n.ips, ip.Unmap())
			continue
		}
		if !hostName(name) {
			return n, fmt.Errorf("%q is neither a host name nor an IP address", name)
		}
		n.dns = append(n.dns, strings.ToLower(name))
	}
	return n, nil
}

// CheckNames reports the first of the names that no certificate could have.
func CheckNames(list []string) error {
	_, err := parseNames(list)
	return err
}

// hostName accepts what browsers and crypto/x509 take for one.
func hostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		odd := func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}
		if label == "" || len(label) > 63 || label[0] == '-' || strings.ContainsFunc(label, odd) {
			return false
		}
	}
	return true
}

// and returns the names of both, each once.
func (n names) and(m names) names {
	union := names{dns: slices.Concat(n.dns, m.dns), ips: slices.Concat(n.ips, m.ips)}
	slices.Sort(union.dns)
	slices.SortFunc(union.ips, netip.Addr.Compare)
	union.dns, union.ips = slices.Compact(union.dns), slices.Compact(union.ips)
	return union
}

// netIPs returns the addresses as crypto/x509 wants them.
func (n names) netIPs() []net.IP {
	list := make([]net.IP, 0, len(n.ips))
	for _, ip := range n.ips {
		list = append(list, ip.AsSlice())
	}
	return list
}

// matches reports whether the certificate is for every name.
func (n names) matches(leaf *x509.Certificate) bool {
	for _, name := range n.dns {
		if leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range n.ips {
		if leaf.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}
