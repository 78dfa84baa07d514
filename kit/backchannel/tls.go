package backchannel

import (
	"context"
	"crypto/tls"
	"net"
	"slices"

	"google.golang.org/grpc/credentials"
)

// NewTLS is TLS as gitaly speaks it (wire/gitaly.md §1.1): at least 1.2, and ALPN is offered or selected for the
// peers that insist on it but never asked for, since gitaly itself has none. grpc-go's own TLS credentials refuse
// such peers. It serves either side; a client takes the server's name from the address unless cfg names one.
func NewTLS(cfg *tls.Config) credentials.TransportCredentials {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if !slices.Contains(cfg.NextProtos, "h2") {
		cfg.NextProtos = append(slices.Clone(cfg.NextProtos), "h2")
	}
	return tlsCreds{config: cfg}
}

type tlsCreds struct{ config *tls.Config }

func (c tlsCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg := c.config.Clone()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(authority)
		if err != nil {
			host = authority // without a port
		}
		cfg.ServerName = host
	}
	return handshake(ctx, tls.Client(raw, cfg))
}

// ServerHandshake is bounded by the deadline on raw.
func (c tlsCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return handshake(context.Background(), tls.Server(raw, c.config))
}

func handshake(ctx context.Context, conn *tls.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	info := credentials.TLSInfo{
		State:          conn.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}
	return conn, info, nil
}

func (c tlsCreds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (c tlsCreds) Clone() credentials.TransportCredentials { return tlsCreds{config: c.config.Clone()} }

// OverrideServerName is not supported: gRPC has deprecated it.
func (tlsCreds) OverrideServerName(string) error { return errNoServerNameOverride }
