package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// certify writes a certificate of its own authority for 127.0.0.1, and its key, and
// returns what trusts it.
func certify(t *testing.T, dir, name string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: rawKey}, "cert.pem": {Type: "CERTIFICATE", Bytes: der}} {
		if err := writeFile(filepath.Join(dir, file), string(pem.EncodeToMemory(block))); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

// freeAddr is an address on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func dial(t *testing.T, addr string, creds credentials.TransportCredentials, o ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, append(o, grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(gitalyauth.Credentials(secretText)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func serverInfo(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	_, err := gitalypb.NewServerServiceClient(conn).ServerInfo(t.Context(), &gitalypb.ServerInfoRequest{})
	return err
}

// TestListeners_clients: with and without TLS, with and without multiplexing, with and
// without ALPN, all on their listener's one port.
func TestListeners_clients(t *testing.T) {
	t.Parallel()
	dir, tcp, secure := short(t), freeAddr(t), freeAddr(t)
	trust := certify(t, dir, "one")
	b := setup(t, func(c *app.Config) {
		c.ListenAddr, c.TLSListenAddr = tcp, secure
		c.TLS = app.TLS{CertificatePath: dir + "/cert.pem", KeyPath: dir + "/key.pem"}
	})
	b.create(t, rel)
	if err := serverInfo(t, dial(t, secure, credentials.NewTLS(trust))); err != nil { // insists on ALPN
		t.Errorf("plain gRPC with TLS: %v", err)
	}
	if err := serverInfo(t, dial(t, tcp, insecure.NewCredentials())); err != nil {
		t.Errorf("plain gRPC: %v", err)
	}
	if err := serverInfo(t, dial(t, secure, insecure.NewCredentials())); status.Code(err) != codes.Unavailable {
		t.Errorf("no TLS on the TLS port: %v", err)
	}
	for name, l := range map[string]struct {
		addr  string
		creds credentials.TransportCredentials
	}{"TCP": {tcp, insecure.NewCredentials()}, "TLS": {secure, backchannel.NewTLS(trust)}} {
		reg := sidechannel.NewRegistry()
		conn := dial(t, l.addr, backchannel.TransportCredentials(l.creds, reg), grpc.WithUnaryInterceptor(sidechannel.UnaryInterceptor(reg)))
		err := gitalyclient.SSHUploadPack(t.Context(), conn, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)},
			strings.NewReader("0000"), io.Discard, io.Discard)
		if err != nil {
			t.Errorf("sidechannel over %s: %v", name, err)
		}
	}
	raw, err := (&tls.Dialer{Config: trust}).DialContext(t.Context(), "tcp", secure) // offers no ALPN
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = io.WriteString(raw, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	frame := make([]byte, 9)
	if _, err := io.ReadFull(raw, frame); err != nil || frame[3] != 4 { // SETTINGS
		t.Errorf("without ALPN: %x, %v", frame, err)
	}
}

// TestListeners_certificate: a changed certificate serves new connections at once, a
// broken one none.
func TestListeners_certificate(t *testing.T) {
	t.Parallel()
	dir, secure := short(t), freeAddr(t)
	old := certify(t, dir, "one")
	b := setup(t, func(c *app.Config) {
		c.TLSListenAddr = secure
		c.TLS = app.TLS{CertificatePath: dir + "/cert.pem", KeyPath: dir + "/key.pem", MinVersion: "TLS 1.3"}
	})
	handshake := func(cfg *tls.Config) error {
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", secure)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := handshake(old); err != nil {
		t.Errorf("first certificate: %v", err)
	}
	older := old.Clone()
	older.MaxVersion = tls.VersionTLS12
	if err := handshake(older); err == nil {
		t.Error("TLS 1.2 is accepted although 1.3 is asked for")
	}
	renewed := certify(t, dir, "the second one")
	if err := handshake(renewed); err != nil {
		t.Errorf("renewed certificate: %v", err)
	}
	if err := handshake(old); err == nil {
		t.Error("the old certificate still serves")
	}
	if err := os.WriteFile(dir+"/cert.pem", []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := handshake(renewed); err != nil {
		t.Errorf("after a broken change: %v", err)
	}
	if !strings.Contains(b.log.String(), "changed certificate cannot be used") {
		t.Error("the log does not say that the certificate is broken")
	}
}

// TestReflection: there for those with a token, where it is asked for.
func TestReflection(t *testing.T) {
	t.Parallel()
	for on, want := range map[bool]codes.Code{true: codes.Unauthenticated, false: codes.Unimplemented} {
		b := setup(t, func(c *app.Config) { c.Reflection = on })
		list := func(conn *grpc.ClientConn) (string, error) {
			stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
			if err != nil {
				return "", err
			}
			err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
			if err != nil && !errors.Is(err, io.EOF) { // EOF: refused already, and Recv tells why
				return "", err
			}
			resp, err := stream.Recv()
			_ = stream.CloseSend()
			return resp.String(), err
		}
		services, err := list(b.conn)
		if on && (err != nil || !strings.Contains(services, "gitaly.SSHService")) || !on && status.Code(err) != codes.Unimplemented {
			t.Errorf("on: %v: %v", on, err)
		}
		pool := gitalyclient.NewPool(gitalyclient.Options{})
		t.Cleanup(func() { _ = pool.Close() })
		stranger, err := pool.Conn(b.address, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := list(stranger); status.Code(err) != want {
			t.Errorf("without a token: %v", err)
		}
	}
}
