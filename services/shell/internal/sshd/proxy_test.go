package sshd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	gossh "golang.org/x/crypto/ssh"

	"gitsplit/services/shell/internal/session"
	"gitsplit/services/shell/internal/sshd"
)

// headers that a proxy may send for a client at 192.0.2.7 port 4711.
func headers(t *testing.T) map[string]string {
	t.Helper()
	h := &proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, DestinationAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22},
	}
	v2, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"": "", "v1": "PROXY TCP4 192.0.2.7 192.0.2.1 4711 22\r\n", "v2": string(v2)}
}

// through logs in behind a header and returns the address that the session has.
func (s *server) through(header string, key gossh.Signer) (string, error) {
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	if _, err := nc.Write([]byte(header)); err != nil {
		return "", err
	}
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	conn, chans, reqs, err := gossh.NewClientConn(nc, s.addr, &gossh.ClientConfig{
		User: "git", Auth: []gossh.AuthMethod{gossh.PublicKeys(key)}, HostKeyCallback: gossh.FixedHostKey(s.hostKey),
	})
	if err != nil {
		return "", err
	}
	client := gossh.NewClient(conn, chans, reqs)
	defer client.Close()
	sess, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := sess.Output("")
	return string(out), err
}

func TestServer_proxy(t *testing.T) {
	t.Parallel()
	const client, peer, cut = "192.0.2.7", "127.0.0.1", "cut"
	loopback, other := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")
	for _, tc := range []struct {
		name  string
		proxy *sshd.Proxy
		want  map[string]string // by header
	}{
		{"off", nil, map[string]string{"": peer, "v1": peer}}, // a line before the version is passed over (RFC 4253 §4.2)
		{"use", &sshd.Proxy{Policy: "use"}, map[string]string{"": peer, "v1": client, "v2": client}},
		{"any other word", &sshd.Proxy{Policy: "often"}, map[string]string{"": peer, "v1": client, "v2": client}},
		{"require", &sshd.Proxy{Policy: "Require"}, map[string]string{"": cut, "v1": client, "v2": client}},
		{"ignore", &sshd.Proxy{Policy: "ignore"}, map[string]string{"": peer, "v1": peer, "v2": peer}},
		{"reject", &sshd.Proxy{Policy: "REJECT"}, map[string]string{"": peer, "v1": cut, "v2": cut}},
		{"from a trusted proxy", &sshd.Proxy{Policy: "reject", Allowed: []netip.Prefix{other, loopback}}, map[string]string{"": peer, "v1": client, "v2": client}},
		{"from anybody else", &sshd.Proxy{Policy: "use", Allowed: []netip.Prefix{other}}, map[string]string{"": peer, "v1": cut, "v2": cut}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			address := runnerFunc(func(_ context.Context, req session.Request) (int, error) {
				host, _, err := net.SplitHostPort(req.RemoteAddr)
				if err == nil {
					_, err = fmt.Fprint(req.Stdout, host)
				}
				return 0, err
			})
			s := start(t, address, func(o *sshd.Options) {
				if o.Proxy = tc.proxy; o.Proxy != nil {
					o.Proxy.HeaderTimeout = 5 * time.Second
				}
			})
			key := s.addKey(t, 7)
			for kind, header := range headers(t) {
				want, ok := tc.want[kind]
				if !ok {
					continue
				}
				got, err := s.through(header, key)
				if err != nil {
					got = cut
				}
				if got != want {
					t.Errorf("header %q: address %q (%v), want %q", kind, got, err, want)
				}
			}
		})
	}
}

// TestServer_proxyPartialHeader: a header that stops in the middle holds a connection
// no longer than a login may take.
func TestServer_proxyPartialHeader(t *testing.T) {
	t.Parallel()
	v2 := headers(t)["v2"]
	for _, policy := range []string{"use", "require", "ignore", "reject"} {
		for _, begun := range []string{"PROXY TCP4 192.0.2.7 192.0", "PROXY", v2[:13], v2[:len(v2)-1]} {
			t.Run(policy+fmt.Sprintf(" %q", begun), func(t *testing.T) {
				t.Parallel()
				s := start(t, runnerFunc(whoami), func(o *sshd.Options) {
					o.Proxy, o.LoginGrace = &sshd.Proxy{Policy: policy, HeaderTimeout: 50 * time.Millisecond}, 300*time.Millisecond
				})
				nc, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				if _, err := nc.Write([]byte(begun)); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { _, err := io.Copy(io.Discard, nc); ended <- err }()
				_ = await(t, "the end of the connection", ended)
			})
		}
	}
}

func TestParseAllowed(t *testing.T) {
	t.Parallel()
	got, err := sshd.ParseAllowed([]string{"192.0.2.1", "10.1.2.3/8", "2001:db8::/32", "::ffff:192.0.2.2"})
	if want := "[192.0.2.1/32 10.0.0.0/8 2001:db8::/32 192.0.2.2/32]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"", "example.org", "10.0.0.0/33", "1.2.3"} {
		if _, err := sshd.ParseAllowed([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzProxyHeader: whatever comes before SSH, the server neither panics nor takes a
// client for another than the header says.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 22\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x16"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\xff\xff"))
	f.Add([]byte("SSH-2.0-Test\r\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		client, server := net.Pipe()
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = client.Write(header) // the server may hang up
			_ = client.Close()
		}()
		got := sshd.ClientOf(&sshd.Proxy{Policy: "use", HeaderTimeout: time.Second}, server)
		_ = server.Close()
		<-written
		if got == "" {
			t.Errorf("no address after %q", header)
		}
	})
}
