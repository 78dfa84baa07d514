package backchannel_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gitsplit/kit/backchannel"
	"gitsplit/kit/sidechannel"
)

func TestSidechannels_manyOnOneConnection(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, plainText(), upper), plainText())
	var wg sync.WaitGroup
	for i := range 16 { // more, and a busy machine needs longer than the handshake may take
		wg.Go(func() {
			stdin := strings.Repeat("x"+strconv.Itoa(i), 30_000)
			var answer string
			out, err := call(t, conn, "in", sidechannel.With(exchange(stdin, &answer)))
			if err != nil || out != "in" || answer != strings.ToUpper(stdin) {
				t.Errorf("call %d: %q, %v, answer of %d bytes", i, out, err, len(answer))
			}
		})
	}
	wg.Wait()
}

func TestServer_plainClient(t *testing.T) {
	t.Parallel()
	addr := serve(t, plainText(), func(ctx context.Context, in string) (string, error) {
		_, err := sidechannel.Open(ctx)
		return in, err
	})
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(plainText()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // test
	_, err = call(t, conn, "in")
	const want = "sidechannel: fail to extract mux session: non-multiplexed connection"
	if status.Convert(err).Message() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestServer_noID(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, plainText(), upper), plainText())
	_, err := call(t, conn, "in")
	const want = "sidechannel: sidechannel-id not found in incoming metadata"
	if status.Convert(err).Message() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestClient_callbackNotRun(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, plainText(), func(_ context.Context, in string) (string, error) { return in, nil }), plainText())
	_, err := call(t, conn, "in", sidechannel.With(func(*sidechannel.ClientConn) error { return nil }))
	if err == nil || err.Error() != "sidechannel: callback de-registered without having run" {
		t.Errorf("got %v", err)
	}
}

func TestClient_errors(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, plainText(), func(ctx context.Context, in string) (string, error) {
		c, err := sidechannel.Open(ctx)
		if err != nil {
			return "", err
		}
		defer c.Close() //nolint:errcheck // test
		if in == "fail" {
			return "", status.Error(codes.Internal, "of the rpc")
		}
		return in, nil
	}), plainText())
	errCallback := errors.New("of the callback")
	waitsForever := func(c *sidechannel.ClientConn) error { <-c.Done(); return errCallback }
	fails := func(*sidechannel.ClientConn) error { return errCallback }
	if _, err := call(t, conn, "fail", sidechannel.With(waitsForever)); status.Convert(err).Message() != "of the rpc" {
		t.Errorf("both fail: got %v", err)
	}
	if _, err := call(t, conn, "good", sidechannel.With(fails)); !errors.Is(err, errCallback) {
		t.Errorf("the callback fails: got %v", err)
	}
	_, err := call(t, conn, "good", sidechannel.With(func(*sidechannel.ClientConn) error { panic("in the callback") }))
	if err == nil || !strings.Contains(err.Error(), "in the callback") {
		t.Errorf("the callback panics: got %v", err)
	}
}

// readStdin fails unless the client ends its stdin as it should. The client may be gone before Open returns.
func readStdin(ctx context.Context) error {
	c, err := sidechannel.Open(ctx)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // test
	_, err = io.ReadAll(c)
	return err
}

// The client cancels while the handler waits for its stdin: both ends must come free.
func TestClient_cancel(t *testing.T) {
	t.Parallel()
	handlerErr := make(chan error, 1)
	conn := dial(t, serve(t, plainText(), func(ctx context.Context, in string) (string, error) {
		handlerErr <- readStdin(ctx)
		return in, nil
	}), plainText())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out wrapperspb.StringValue
	err := conn.Invoke(ctx, method, wrapperspb.String("in"), &out, sidechannel.With(func(c *sidechannel.ClientConn) error {
		cancel()
		_, err := io.ReadAll(c)
		return err
	}))
	if status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if err := <-handlerErr; err == nil {
		t.Error("the handler read a complete stdin")
	}
}

// A client that goes away in the middle of stdin has not sent a complete one.
func TestClient_connectionLost(t *testing.T) {
	t.Parallel()
	handlerErr := make(chan error, 1)
	conn := dial(t, serve(t, plainText(), func(ctx context.Context, in string) (string, error) {
		handlerErr <- readStdin(ctx)
		return in, nil
	}), plainText())
	_, err := call(t, conn, "in", sidechannel.With(func(c *sidechannel.ClientConn) error {
		if _, err := io.WriteString(c, "part"); err != nil {
			return err
		}
		return conn.Close()
	}))
	if err == nil {
		t.Error("the call succeeded")
	}
	if err := <-handlerErr; err == nil {
		t.Error("the handler read a complete stdin")
	}
}

// Connections that say nothing, garbage, or only the magic bytes hold up nobody.
func TestServer_slowAndGarbageClients(t *testing.T) {
	t.Parallel()
	addr := serve(t, plainText(), upper)
	for _, greeting := range []string{"", "back", "backchannel", "GET / HTTP/1.1\r\n\r\n", "backchannel" + strings.Repeat("\xff", 64)} {
		raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close() //nolint:errcheck // test
		if _, err := io.WriteString(raw, greeting); err != nil {
			t.Fatal(err)
		}
	}
	var answer string
	if _, err := call(t, dial(t, addr, plainText()), "in", sidechannel.With(exchange("x", &answer))); err != nil || answer != "X" {
		t.Errorf("a good client got %q, %v", answer, err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	inner := backchannel.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	addr := serve(t, inner, func(ctx context.Context, in string) (string, error) {
		p, _ := peer.FromContext(ctx)
		mux, ok := p.AuthInfo.(*backchannel.Info)
		if !ok {
			return upper(ctx, in)
		}
		if _, ok := mux.AuthInfo.(credentials.TLSInfo); !ok || mux.GetCommonAuthInfo().SecurityLevel != credentials.PrivacyAndIntegrity {
			t.Errorf("auth info of the inner handshake is %T", mux.AuthInfo)
		}
		return upper(ctx, in)
	})
	conn := dial(t, addr, backchannel.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	var answer string
	if _, err := call(t, conn, "in", sidechannel.With(exchange("x", &answer))); err != nil || answer != "X" {
		t.Errorf("multiplexing client: %q, %v", answer, err)
	}
	stock, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer stock.Close() //nolint:errcheck // test
	if _, err := call(t, stock, "in"); !strings.Contains(err.Error(), "non-multiplexed") {
		t.Errorf("stock client, which insists on ALPN: %v", err)
	}
	stranger := dial(t, addr, backchannel.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}))
	if _, err := call(t, stranger, "in"); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client that does not know the certificate: %v", err)
	}
}

// noALPN is TLS as newer gitaly has it: nothing offered, nothing selected.
type noALPN struct {
	credentials.TransportCredentials
	cfg *tls.Config
}

func (c noALPN) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := tls.Client(raw, c.cfg)
	return conn, credentials.TLSInfo{}, conn.Handshake() //nolint:noctx // test
}

func (c noALPN) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := tls.Server(raw, c.cfg)
	return conn, credentials.TLSInfo{}, conn.Handshake() //nolint:noctx // test
}

func (c noALPN) Clone() credentials.TransportCredentials { return c }

func TestTLS_withoutALPN(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	serverCfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	clientCfg := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	tests := map[string]struct {
		server, client credentials.TransportCredentials
	}{
		"client offers none":  {backchannel.NewTLS(serverCfg), noALPN{plainText(), clientCfg}},
		"server selects none": {noALPN{plainText(), serverCfg}, backchannel.NewTLS(clientCfg)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var answer string
			_, err := call(t, dial(t, serve(t, tc.server, upper), tc.client), "in", sidechannel.With(exchange("x", &answer)))
			if err != nil || answer != "X" {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestCredentials_contract(t *testing.T) {
	t.Parallel()
	inner := backchannel.NewTLS(&tls.Config{ServerName: "gitaly", MinVersion: tls.VersionTLS12})
	for _, c := range []credentials.TransportCredentials{
		inner, backchannel.ServerCredentials(inner), backchannel.TransportCredentials(inner, sidechannel.NewRegistry()),
	} {
		if i := c.Clone().Info(); i.SecurityProtocol != "tls" {
			t.Errorf("%T: info %+v", c, i)
		}
		if err := c.OverrideServerName("x"); err == nil { //nolint:staticcheck // part of the interface
			t.Errorf("%T: server name overridden", c)
		}
	}
}
