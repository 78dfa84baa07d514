package netx_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/kit/netx"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, network, address string }{
		{"127.0.0.1:80", "tcp", "127.0.0.1:80"},
		{"tcp://[::1]:80", "tcp", "[::1]:80"},
		{"unix:/run/x.sock", "unix", "/run/x.sock"},
		{"unix:///run/x.sock", "unix", "/run/x.sock"},
		{"unix:", "", ""},
		{"unix:/" + strings.Repeat("d", 108), "", ""},
		{"localhost", "", ""},
		{"", "", ""},
	} {
		network, address, err := netx.Split(tc.in)
		if network != tc.network || address != tc.address || (err == nil) != (tc.network != "") {
			t.Errorf("Split(%q) = %q, %q, %v", tc.in, network, address, err)
		}
	}
}

func TestListen_unix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.sock")
	ln, err := netx.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := netx.Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second listener: %v, want in use", err)
	}
	c, err := netx.Dialer("unix:" + path)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()

	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as if the process had been killed
	_ = ln.Close()
	again, err := netx.Listen("unix:" + path)
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	_ = again.Close()
}

func TestListen_refuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"unix:" + path, "nonsense", "192.0.2.1:1"} {
		if ln, err := netx.Listen(addr); err == nil {
			_ = ln.Close()
			t.Errorf("Listen(%q) succeeds", addr)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("a plain file in the socket's place was removed")
	}
	if _, err := netx.Dialer("nonsense")(context.Background()); err == nil {
		t.Error("Dialer accepts nonsense")
	}
}
