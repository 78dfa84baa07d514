// Package settings reads the environment variables that an operator sets for
// gitsplit (design.md §5) and checks them before anything is opened.
package settings

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Variables, as they are named in messages.
const (
	VarHome      = "GITSPLIT_HOME"
	VarHTTPPort  = "GITSPLIT_HTTP_PORT"
	VarHTTPSPort = "GITSPLIT_HTTPS_PORT"
	VarSSHPort   = "GITSPLIT_SSH_PORT"
	VarBind      = "GITSPLIT_BIND"
	VarURL       = "EXTERNAL_URL"
	VarPassword  = "GITSPLIT_ROOT_PASSWORD" //nolint:gosec // a variable's name
	VarVerbose   = "GITSPLIT_VERBOSE"
	VarObjects   = "GITSPLIT_OBJECT_STORAGE"
	VarConfig    = "GITSPLIT_CONFIG"
	VarTLSCert   = "GITSPLIT_TLS_CERT"
	VarTLSKey    = "GITSPLIT_TLS_KEY"
	VarACMEEmail = "GITSPLIT_ACME_EMAIL"
	VarACMEDir   = "GITSPLIT_ACME_DIRECTORY"
)

// Settings are the checked values.
type Settings struct {
	// Home is GITSPLIT_HOME as given; empty means the default.
	Home string
	// Bind is the address of all public ports.
	Bind netip.Addr
	// HTTPPort, HTTPSPort and SSHPort are the public ports.
	HTTPPort, HTTPSPort, SSHPort uint16
	// ExternalURL is the one public address, without a slash at its end.
	ExternalURL string
	// Host is ExternalURL's host name; the SSH address of clone URLs has it too.
	Host string
	// RootPassword seeds root's password at the first start; mostly empty.
	RootPassword string
	// Config is the directory of rails-api.yml when the services run without
	// `gitsplit up`, as in containers; empty: they run from the home.
	Config string
	// TLS says where the certificate of HTTPS comes from.
	TLS TLS
	// Verbose shows every log line on the terminal.
	Verbose bool
	// ObjectStorage is the address of a bucket, s3://…; empty means the home.
	ObjectStorage string
}

// Load reads the settings with lookup (as os.LookupEnv). The error names every
// variable that has a fault, not only the first. An empty value is an absent one.
func Load(lookup func(string) (string, bool)) (Settings, error) {
	get := func(name, def string) string {
		if value, ok := lookup(name); ok && value != "" {
			return value
		}
		return def
	}
	s := Settings{Home: get(VarHome, ""), RootPassword: get(VarPassword, ""), Config: get(VarConfig, "")}
	var faults [8]error
	s.HTTPPort, faults[0] = port(VarHTTPPort, get(VarHTTPPort, "8080"))
	s.SSHPort, faults[1] = port(VarSSHPort, get(VarSSHPort, "2222"))
	s.Bind, faults[2] = address(get(VarBind, "127.0.0.1"))
	s.ExternalURL, s.Host, faults[3] = external(get(VarURL, fmt.Sprintf("http://localhost:%d", s.HTTPPort)))
	s.Verbose, faults[4] = flag(VarVerbose, get(VarVerbose, "0"))
	s.HTTPSPort, faults[5] = port(VarHTTPSPort, get(VarHTTPSPort, "8443"))
	s.ObjectStorage, faults[6] = bucket(get(VarObjects, ""))
	s.TLS, faults[7] = certificate(get, s.Host)
	err := errors.Join(faults[:]...)
	if err == nil {
		err = s.distinctPorts()
	}
	return s, err
}

func (s Settings) distinctPorts() error {
	taken := map[uint16]string{}
	for _, p := range s.ports() {
		if other, ok := taken[p.number]; ok {
			return fmt.Errorf("%s and %s are both %d; they must differ", other, p.variable, p.number)
		}
		taken[p.number] = p.variable
	}
	return nil
}

// publicPort is one of the ports with the variable that sets it.
type publicPort struct {
	variable string
	number   uint16
}

func (s Settings) ports() []publicPort {
	return []publicPort{{VarHTTPPort, s.HTTPPort}, {VarHTTPSPort, s.HTTPSPort}, {VarSSHPort, s.SSHPort}}
}

// HTTPAddr is the address workhorse listens on for HTTP.
func (s Settings) HTTPAddr() string { return s.addr(s.HTTPPort) }

// HTTPSAddr is the address workhorse listens on for HTTPS.
func (s Settings) HTTPSAddr() string { return s.addr(s.HTTPSPort) }

// HTTPSURL is the public base of addresses over HTTPS: ExternalURL if that is one,
// else its host with our port.
func (s Settings) HTTPSURL() string {
	if strings.HasPrefix(s.ExternalURL, "https://") {
		return s.ExternalURL
	}
	return "https://" + net.JoinHostPort(s.Host, strconv.Itoa(int(s.HTTPSPort)))
}

// HTTPSNames are what the server is called in the certificate that it makes itself.
func (s Settings) HTTPSNames() []string {
	names := []string{s.Host}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", s.Bind.String()} {
		if !slices.Contains(names, name) && !(name == s.Bind.String() && s.Bind.IsUnspecified()) {
			names = append(names, name)
		}
	}
	return names
}

// SSHAddr is the address gitlab-sshd listens on.
func (s Settings) SSHAddr() string { return s.addr(s.SSHPort) }

func (s Settings) addr(port uint16) string { return netip.AddrPortFrom(s.Bind, port).String() }

// SSHURL is the public base of SSH clone addresses, ssh://git@host:port.
func (s Settings) SSHURL() string {
	host := s.Host
	if s.SSHPort != 22 {
		host = net.JoinHostPort(s.Host, strconv.Itoa(int(s.SSHPort)))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "ssh://git@" + host
}

func port(name, text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: %q is not a port from 1 to 65535", name, text)
	}
	return uint16(n), nil
}

func address(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s: %q is not an IP address such as 127.0.0.1 or 0.0.0.0", VarBind, text)
	}
	return addr, nil
}

// bucket checks the address of a bucket as far as needed here: it is written into a
// file and shown. What else is wrong with it, rails-api says.
func bucket(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || strings.ContainsAny(text, "\"\\") {
		return "", fmt.Errorf("%s: want s3://bucket?region=…&endpoint=…, with credentials in AWS_SHARED_CREDENTIALS_FILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", VarObjects)
	}
	return text, nil
}

func flag(name, text string) (bool, error) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s: %q is neither 1 nor 0", name, text)
	}
	return value, nil
}

// external checks a public address: scheme, host and port only. A path would be a
// relative URL root, which the services do not have yet.
func external(text string) (base, host string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%s: %q is not a URL", VarURL, text)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "", fmt.Errorf("%s: %q must begin with http:// or https://", VarURL, text)
	case !hostName(u.Hostname()):
		return "", "", fmt.Errorf("%s: %q has no valid host name", VarURL, text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", "", fmt.Errorf("%s: %q must be only scheme, host and port", VarURL, u.Redacted())
	}
	if p := u.Port(); p != "" {
		if _, err := port(VarURL, p); err != nil {
			return "", "", err
		}
	}
	return u.Scheme + "://" + u.Host, u.Hostname(), nil
}

func hostName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	odd := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '.' && r != '-' && r != '_'
	}
	return host != "" && host[0] != '-' && !strings.ContainsFunc(host, odd)
}
