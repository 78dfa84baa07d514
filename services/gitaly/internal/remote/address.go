package remote

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"gitsplit/kit/errs"
)

// Policy says which addresses git may connect to.
type Policy struct {
	// AllowLocal permits addresses that are not public: this host, private networks,
	// the metadata service of a cloud.
	AllowLocal bool
	// Resolver looks hosts up; nil is the system's.
	Resolver interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
}

// reserved are the networks that no public server is in, besides those that netip
// knows (RFC 6890 and the IANA registries), and those that carry an IPv4 address
// of any kind inside.
var reserved = []netip.Prefix{ //nolint:gochecknoglobals // a constant
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("fec0::/10"),
}

// public reports whether an address belongs to the public internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// maxAddresses is how many addresses of one host are tried.
const maxAddresses = 8

// resolve returns the addresses of host that may be connected to. given, if not
// "", is an address that the caller has found already; it is checked like any. A
// host that does not resolve is errs.FailedPrecondition, one with none but
// forbidden addresses errs.Denied.
func (p Policy) resolve(ctx context.Context, host, given string) ([]netip.Addr, error) {
	found, err := p.lookup(ctx, host, given)
	if err != nil {
		return nil, err
	}
	var allowed []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); a.Zone() == "" && (p.AllowLocal || public(a)) && len(allowed) < maxAddresses {
			allowed = append(allowed, a)
		}
	}
	if len(allowed) == 0 {
		return nil, errs.New(errs.Denied, "the address of the remote is not a public one")
	}
	return allowed, nil
}

func (p Policy) lookup(ctx context.Context, host, given string) ([]netip.Addr, error) {
	literal, noLiteral := netip.ParseAddr(host)
	if given != "" {
		a, err := netip.ParseAddr(given)
		if err != nil || noLiteral == nil && a.Unmap() != literal.Unmap() { // git would connect to the literal
			return nil, errs.New(errs.Invalid, "invalid resolved address")
		}
		return []netip.Addr{a}, nil
	}
	if noLiteral == nil {
		return []netip.Addr{literal}, nil
	}
	resolver := p.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	found, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil && ctx.Err() == nil {
		return nil, errs.Wrap(errs.FailedPrecondition, "the host of the remote could not be resolved", err)
	}
	return found, err
}
