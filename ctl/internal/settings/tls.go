package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// TLS is a certificate of one's own, one from an authority that speaks ACME, or,
// with nothing set, one from the authority that workhorse makes.
type TLS struct {
	// Cert and Key are absolute paths of PEM files; both or none.
	Cert, Key string
	// ACMEEmail is the contact for a public certificate; empty asks for none.
	ACMEEmail string
	// ACMEDirectory is the authority's URL; empty is Let's Encrypt.
	ACMEDirectory string
}

// certificate reads the settings of HTTPS. A public authority vouches for names,
// so ACME wants one in EXTERNAL_URL.
func certificate(get func(name, def string) string, host string) (t TLS, err error) {
	t = TLS{Cert: get(VarTLSCert, ""), Key: get(VarTLSKey, ""), ACMEEmail: get(VarACMEEmail, ""), ACMEDirectory: get(VarACMEDir, "")}
	if (t.Cert == "") != (t.Key == "") {
		return t, fmt.Errorf("%s and %s go together", VarTLSCert, VarTLSKey)
	}
	if t.Cert != "" && t.ACMEEmail != "" {
		return t, fmt.Errorf("%s and %s exclude each other", VarTLSCert, VarACMEEmail)
	}
	if t.ACMEDirectory != "" && t.ACMEEmail == "" {
		return t, fmt.Errorf("%s wants %s too", VarACMEDir, VarACMEEmail)
	}
	if _, addr := netip.ParseAddr(host); t.ACMEEmail != "" && (addr == nil || !strings.Contains(host, ".")) {
		return t, fmt.Errorf("%s: a public authority gives certificates for names such as git.example.com; set %s to one", VarACMEEmail, VarURL)
	}
	var faults []error
	for name, value := range map[string]*string{VarTLSCert: &t.Cert, VarTLSKey: &t.Key} {
		if *value == "" {
			continue
		}
		path, err := filepath.Abs(*value)
		if err == nil {
			*value = path
		}
		faults = append(faults, err, plain(name, path))
	}
	faults = append(faults, plain(VarACMEEmail, t.ACMEEmail), plain(VarACMEDir, t.ACMEDirectory))
	return t, errors.Join(faults...)
}

// plain refuses what could not be written unchanged between quotes.
func plain(name, value string) error {
	if strings.ContainsAny(value, "\"\\") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s: %q has quotes, backslashes or control characters", name, value)
	}
	return nil
}
