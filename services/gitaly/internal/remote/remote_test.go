package remote_test

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/remote"
)

// names is a name service with one answer for every host.
type names []string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "none.example.com" {
		return nil, errors.New("no such host")
	}
	var found []netip.Addr
	for _, a := range n {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, nil
}

func TestPolicy_Check_addresses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		url      string
		resolved string
		answers  names
		kind     errs.Kind // Internal is none
		local    bool
	}{
		{name: "public", url: "https://example.com/x.git", answers: names{"93.184.216.34"}},
		{name: "public, IPv6", url: "https://example.com/x.git", answers: names{"2606:2800:220:1::1"}},
		{name: "public literal", url: "https://93.184.216.34/x.git"},
		{name: "given", url: "https://example.com/x.git", resolved: "93.184.216.34"},
		{name: "one of them public", url: "https://example.com/x.git", answers: names{"10.0.0.1", "93.184.216.34"}},
		{name: "name of a private address", url: "https://example.com/x.git", answers: names{"10.0.0.1", "fd00::1"}, kind: errs.Denied},
		{name: "given private", url: "https://example.com/x.git", resolved: "192.168.1.1", answers: names{"93.184.216.34"}, kind: errs.Denied},
		{name: "private, allowed", url: "https://example.com/x.git", answers: names{"10.0.0.1"}, local: true},
		{name: "metadata service", url: "http://169.254.169.254/", kind: errs.Denied},
		{name: "carrier", url: "https://100.64.0.1/", kind: errs.Denied},
		{name: "this network", url: "https://0.1.2.3/", kind: errs.Denied},
		{name: "multicast", url: "https://224.0.0.1/", kind: errs.Denied},
		{name: "broadcast", url: "https://255.255.255.255/", kind: errs.Denied},
		{name: "benchmark", url: "https://198.18.0.1/", kind: errs.Denied},
		{name: "IPv6 unspecified", url: "https://[::]/", kind: errs.Denied},
		{name: "IPv4 in IPv6", url: "https://[::ffff:127.0.0.1]/", kind: errs.Denied},
		{name: "IPv4 behind NAT64", url: "https://[64:ff9b::a00:1]/", kind: errs.Denied},
		{name: "6to4", url: "https://[2002:7f00:1::]/", kind: errs.Denied},
		{name: "Teredo", url: "https://[2001::1]/", kind: errs.Denied},
		{name: "site local", url: "https://[fec0::1]/", kind: errs.Denied},
		{name: "zone", url: "https://example.com/", resolved: "fe80::1%eth0", local: true, kind: errs.Denied},
		{name: "no address", url: "https://example.com/", kind: errs.Denied},
		{name: "unknown host", url: "https://none.example.com/", kind: errs.FailedPrecondition},
		{name: "a literal and another address", url: "https://10.0.0.1/", resolved: "93.184.216.34", kind: errs.Invalid},
		{name: "a literal and itself", url: "https://93.184.216.34/", resolved: "::ffff:93.184.216.34"},
		{name: "no address given", url: "https://example.com/", resolved: "example.org", kind: errs.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := remote.Policy{AllowLocal: tc.local, Resolver: tc.answers}
			_, err := p.Check(t.Context(), remote.Target{URL: tc.url, Resolved: tc.resolved})
			if errs.KindOf(err) != tc.kind || (err == nil) != (tc.kind == errs.Internal) {
				t.Errorf("err = %v, want %v", err, tc.kind)
			}
		})
	}
}

func TestEndpoint_Conceal(t *testing.T) {
	t.Parallel()
	p := remote.Policy{Resolver: names{"93.184.216.34"}}
	for _, target := range []remote.Target{
		{URL: "https://ada:pass%20word@example.com/x.git"},
		{URL: "https://example.com/x.git", Authorization: "Basic YWRhOnBhc3Mgd29yZA=="},
	} {
		e, err := p.Check(t.Context(), target)
		if err != nil || e.URL != "https://example.com/x.git" || e.Authorization != "Basic YWRhOnBhc3Mgd29yZA==" {
			t.Fatalf("%+v, %v", e, err)
		}
		got := e.Conceal("said: Basic YWRhOnBhc3Mgd29yZA== or YWRhOnBhc3Mgd29yZA==, ada:pass word, pass word at https://example.com/x.git")
		if strings.Contains(got, "YWRh") || strings.Contains(got, "pass") || !strings.Contains(got, "https://example.com/x.git") {
			t.Errorf("Conceal: %s", got)
		}
	}
}

// FuzzPolicy_Check: what passes means one host to everybody, and its credentials are
// gone from the URL.
func FuzzPolicy_Check(f *testing.F) {
	for _, s := range []string{
		"https://example.com/a.git", "https://u:p@example.com:8443/a/b.git", "http://[::1]/x", "https://0x7f.1/x", "ext::sh -c id",
		"https://a@b@example.com/", "https://example.com\\@evil/", "HTTPS://EXAMPLE.COM/%2e%2e/x", "https://example.com./x", "-https://x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p := remote.Policy{Resolver: names{"93.184.216.34"}, AllowLocal: true}
		e, err := p.Check(t.Context(), remote.Target{URL: raw})
		if err != nil {
			return
		}
		u, err := url.Parse(e.URL)
		if err != nil || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" ||
			strings.ContainsAny(e.URL, "\x00\r\n \\") || strings.HasPrefix(e.URL, "-") {
			t.Errorf("%q became %q", raw, e.URL)
		}
	})
}

func FuzzCheckRefspec(f *testing.F) {
	for _, s := range []string{"refs/*:refs/*", "+refs/heads/a:refs/x/a", "^refs/x", "--upload-pack=x", "refs/a:", ":refs/a", "refs/a\x00:refs/b", "+^refs/a:refs/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		if remote.CheckRefspec(spec) != nil {
			return
		}
		if spec == "" || spec[0] == '-' || strings.ContainsAny(spec, "\x00\n ~?[\\") || strings.Contains(spec, "..") || !strings.Contains(spec, "refs/") {
			t.Errorf("%q passed", spec)
		}
	})
}

func TestOpenBundle(t *testing.T) {
	t.Parallel()
	for content, ok := range map[string]bool{
		"# v2 git bundle\nx": true, "# v3 git bundle\n": true, "": false, "# v2 git bundle": false, "gitdir: /elsewhere/repo.git\n": false, "# v9 git bundle\n": false,
	} {
		path := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := remote.OpenBundle(path); (err == nil) != ok || err != nil && errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", content, err)
		}
	}
}
