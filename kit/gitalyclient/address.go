package gitalyclient

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"gitsplit/kit/backchannel"
)

// target is a parsed address.
type target struct {
	uri  string // for grpc.NewClient
	tls  bool
	unix bool
}

// parseAddress reads the forms of wire/gitaly.md §1.1: unix:PATH, tcp://host:port, tls://host:port, and dns: or
// dns+tls: with host:port, behind nothing, "///" or "//nameserver/". Anything else is
// `invalid connection string: "<raw>"`.
func parseAddress(raw string) (target, error) {
	bad := fmt.Errorf("invalid connection string: %q", raw)
	scheme, rest, found := strings.Cut(raw, ":")
	if !found || rest == "" {
		return target{}, bad
	}
	switch scheme {
	case "unix":
		if !unixPath(rest) {
			return target{}, bad
		}
		return target{uri: raw, unix: true}, nil
	case "tcp", "tls":
		host, ok := hostPort(raw)
		if !ok {
			return target{}, bad
		}
		return target{uri: "passthrough:///" + host, tls: scheme == "tls"}, nil
	case "dns", "dns+tls":
		if strings.Trim(rest, "/") == "" || strings.HasSuffix(rest, "/") {
			return target{}, bad
		}
		return target{uri: "dns:" + rest, tls: scheme == "dns+tls"}, nil
	}
	return target{}, bad
}

// unixPath accepts what gRPC does: unix:path, unix:/path and unix:///path; a host is not possible.
func unixPath(rest string) bool {
	if path, ok := strings.CutPrefix(rest, "//"); ok {
		return len(path) > 1 && path[0] == '/'
	}
	return rest != "/"
}

// hostPort takes scheme://host:port and nothing more.
func hostPort(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", false
	}
	host, port, err := net.SplitHostPort(u.Host)
	return u.Host, err == nil && host != "" && port != ""
}

// credentials of the transport; TLS trusts the system's roots (SSL_CERT_FILE and SSL_CERT_DIR are honoured).
func (t target) credentials() credentials.TransportCredentials {
	if t.tls {
		return backchannel.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	return insecure.NewCredentials()
}
