package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"gitsplit/kit/secret"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// backdate forgives clients whose clock is behind.
	backdate = time.Hour
)

// always are the names that every authority may sign for. There is one of each
// kind: a constraint without names of a kind would leave that kind free.
var always = names{
	dns: []string{"localhost"},
	ips: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
}

// authority is a certificate that signs others, with its key.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// newAuthority makes one that can sign for the names only (RFC 5280 §4.2.1.10).
// The key is returned in PEM too.
func newAuthority(n names, now time.Time) (*authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	n = n.and(always)
	template := &x509.Certificate{
		SerialNumber: serial,
		// Two authorities of one name would confuse clients that trusted the first.
		Subject:                     pkix.Name{Organization: []string{"gitsplit"}, CommonName: "gitsplit local authority " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(authorityLife),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         n.dns,
		PermittedIPRanges:           hosts(n.ips),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	text, err := encodeKey(key)
	return &authority{ca, key}, text, err
}

// hosts returns networks of one address each.
func hosts(ips []netip.Addr) []*net.IPNet {
	list := make([]*net.IPNet, 0, len(ips))
	for _, ip := range ips {
		list = append(list, &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())})
	}
	return list
}

// loadAuthority reads one.
func loadAuthority(certificateFile, keyFile string) (*authority, error) {
	certificate, err := os.ReadFile(certificateFile) //nolint:gosec // of the configured directory
	if err != nil {
		return nil, err
	}
	key, err := secret.Read(keyFile, 1)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", certificateFile, keyFile, err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is not the certificate of an authority", certificateFile)
	}
	return &authority{pair.Leaf, signer}, nil
}

// permitted returns the names that the authority may sign for.
func (a *authority) permitted() names {
	n := names{dns: a.certificate.PermittedDNSDomains}
	for _, host := range a.certificate.PermittedIPRanges {
		if ip, ok := netip.AddrFromSlice(host.IP); ok {
			n.ips = append(n.ips, ip.Unmap())
		}
	}
	return n
}

// permits reports whether the authority may sign for all the names. An authority
// of the operator's own, without constraints, may.
func (a *authority) permits(n names) bool {
	p := a.permitted()
	if len(p.dns)+len(p.ips) == 0 {
		return true
	}
	under := func(name string) bool {
		return slices.ContainsFunc(p.dns, func(domain string) bool {
			return name == domain || strings.HasSuffix(name, "."+domain)
		})
	}
	for _, name := range n.dns {
		if !under(name) {
			return false
		}
	}
	for _, ip := range n.ips {
		if !slices.Contains(p.ips, ip) {
			return false
		}
	}
	return true
}

// issue makes a server's certificate: PEM of it and its key.
func (a *authority) issue(n names, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"gitsplit"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     n.dns,
		IPAddresses:  n.netIPs(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	return append(encodeCertificate(leaf), text...), err
}

// vouchesFor reports whether the file holds a young certificate of this authority
// for all the names, and its key.
func (a *authority) vouchesFor(file string, n names, now time.Time) bool {
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return false // absent or broken: it is made anew
	}
	return pair.Leaf.CheckSignatureFrom(a.certificate) == nil && n.matches(pair.Leaf) && !ageing(pair.Leaf, now)
}

// newSerial returns 127 random bits, the first of them set.
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 126)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return nil, err
	}
	return n.Add(n, limit), nil
}

func encodeCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}
