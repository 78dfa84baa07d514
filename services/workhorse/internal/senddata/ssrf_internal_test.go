package senddata

import (
	"net/netip"
	"testing"
)

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450:4001::1": true, "127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1%eth0": false, "fd00::1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "255.255.255.255": false,
		"100.64.0.1": false, "::ffff:127.0.0.1": false, "::ffff:8.8.8.8": true, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false,
	} {
		if got := isPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	got := endpoints([]string{"https://Minio.example/bucket", "http://a.example", "b.example:9000", "http://[::1]:80", "%zz"})
	for _, want := range []string{"minio.example:443", "a.example:80", "b.example:9000", "[::1]:80"} {
		if !got[want] {
			t.Errorf("%s is missing in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("too many: %v", got)
	}
}
