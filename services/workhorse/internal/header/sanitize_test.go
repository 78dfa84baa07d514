package header

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/correlation"
)

func mustPolicy(t *testing.T, internal bool, cidrs ...string) Policy {
	t.Helper()
	trusted, err := ParseCIDRs(cidrs)
	if err != nil {
		t.Fatalf("ParseCIDRs(%q): %v", cidrs, err)
	}
	return Policy{Internal: internal, Trusted: trusted}
}

// sanitized returns the headers that reach the next handler.
func sanitized(t *testing.T, p Policy, peer string, in http.Header) (http.Header, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://git.example/", nil)
	r.RemoteAddr, r.Header = peer, in
	r = r.WithContext(correlation.With(r.Context(), "ID1"))
	var got http.Header
	var ip string
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, ip = r.Header, RemoteIP(r.Context())
	})
	p.Sanitize(next).ServeHTTP(httptest.NewRecorder(), r)
	return got, ip
}

// forwarded is what workhorse itself adds.
func forwarded(ip string) http.Header {
	return http.Header{
		"X-Forwarded-For": {ip}, "X-Forwarded-Host": {"git.example"}, "X-Forwarded-Proto": {"http"},
		"X-Request-Id": {"ID1"},
	}
}

func with(h http.Header, pairs ...string) http.Header {
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

func TestPolicy_Sanitize(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		policy Policy
		peer   string
		in     http.Header
		want   http.Header
	}{
		{
			name: "internal headers of a client", peer: "203.0.113.9:4000",
			in: http.Header{
				"Gitlab-Workhorse": {"x"}, "Gitlab-Workhorse-Api-Request": {"x"}, "Gitlab-Workhorse-Multipart-Fields": {"x"},
				"Gitlab-Workhorse-Send-Data": {"x"}, "Gitlab-Shell-Api-Request": {"x"}, "Gitlab-Workhorse-Proxy-Start": {"1"},
				"X-Sendfile": {"/etc/passwd"}, "X-Sendfile-Type": {"X-Sendfile"}, "X-Accel-Redirect": {"x"},
				"Gitlab_workhorse_api_request": {"x"}, "GITLAB-WORKHORSE": {"x"}, "X_forwarded_for": {"6.6.6.6"},
				"Private-Token": {"keep"},
			},
			want: with(forwarded("203.0.113.9"), "Private-Token", "keep"),
		},
		{
			name: "client address claimed by anyone", peer: "203.0.113.9:4000",
			in: http.Header{
				"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"},
				"X-Forwarded-Port": {"1"}, "X-Forwarded-Ssl": {"on"}, "Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"},
				"True-Client-Ip": {"6.6.6.6"},
			},
			want: forwarded("203.0.113.9"),
		},
		{
			name: "trusted proxy", policy: mustPolicy(t, false, "10.0.0.0/8"), peer: "10.1.1.1:4000",
			in: http.Header{
				"X-Forwarded-For": {"6.6.6.6, 198.51.100.7", "10.2.2.2"}, "X-Forwarded-Host": {"public.example"},
				"X-Forwarded-Proto": {"HTTPS"}, "X-Forwarded-Port": {"443"}, "X-Real-Ip": {"6.6.6.6"},
			},
			want: http.Header{"X-Forwarded-For": {"198.51.100.7"}, "X-Forwarded-Host": {"public.example"},
				"X-Forwarded-Proto": {"https"}, "X-Request-Id": {"ID1"}},
		},
		{
			name: "trusted proxy with nonsense", policy: mustPolicy(t, false, "10.0.0.0/8"), peer: "10.1.1.1:4000",
			in: http.Header{"X-Forwarded-For": {"6.6.6.6, what, 10.3.3.3"}, "X-Forwarded-Host": {"a, b"},
				"X-Forwarded-Proto": {"gopher"}},
			want: forwarded("10.3.3.3"),
		},
		{
			name: "headers named by connection", peer: "203.0.113.9:4000",
			in: http.Header{
				"Connection": {"X-Forwarded-For, X-Request-Id", "close, X-Custom,, "}, "X-Custom": {"hop"}, "X-Request-Id": {"ID0"},
				"Keep-Alive": {"1"}, "Te": {"trailers"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"x"}, "Trailer": {"X"},
				"Expect": {"100-continue"}, "Proxy-Connection": {"close"}, "Authorization": {"Basic eA=="},
			},
			want: with(forwarded("203.0.113.9"), "Authorization", "Basic eA=="),
		},
		{
			name: "unix peer", peer: "@", in: http.Header{"X-Forwarded-For": {"6.6.6.6"}}, want: forwarded("127.0.0.1"),
		},
		{
			name: "internal listener keeps the shell token and the address", policy: mustPolicy(t, true), peer: "",
			in: http.Header{"Gitlab-Shell-Api-Request": {"jwt"}, "Gitlab-Workhorse-Api-Request": {"forged"},
				"X-Forwarded-For": {"[2001:db8::1]:99"}},
			want: with(forwarded("2001:db8::1"), "Gitlab-Shell-Api-Request", "jwt"),
		},
		{name: "internal listener without an address", policy: mustPolicy(t, true), peer: "@", in: http.Header{}, want: forwarded("127.0.0.1")},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ip := sanitized(t, tc.policy, tc.peer, tc.in)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if ip != tc.want.Get("X-Forwarded-For") {
				t.Errorf("RemoteIP = %q, want %q", ip, tc.want.Get("X-Forwarded-For"))
			}
		})
	}
}

func TestPolicy_TrustID(t *testing.T) {
	t.Parallel()
	cidrs, err := ParseCIDRs([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		policy Policy
		peer   string
		want   bool
	}{
		{"public", Policy{}, "10.0.0.1:1", false},
		{"internal", Policy{Internal: true}, "@", true},
		{"propagation from anyone", Policy{Propagate: true}, "203.0.113.9:1", true},
		{"propagation from a listed peer", Policy{Propagate: true, PropagateFrom: cidrs}, "10.0.0.1:1", true},
		{"propagation from another peer", Policy{Propagate: true, PropagateFrom: cidrs}, "203.0.113.9:1", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tc.peer
			if got := tc.policy.TrustID(r); got != tc.want {
				t.Errorf("TrustID = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRemoveControl(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Gitlab-Workhorse-Send-Data": {"git-blob:x"}, "gitlab-lb": {"x"}, "X-SENDFILE": {"/x"}, "X-Sendfile-Type": {"x"},
		"Gitlab-Workhorse-Detect-Content-Type": {"true"}, "X-Gitlab-Meta": {"{}"}, "Etag": {"x"},
	}
	RemoveControl(h)
	want := http.Header{"X-Gitlab-Meta": {"{}"}, "Etag": {"x"}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestParseCIDRs_bad(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "10.0.0.0/40", "everyone", "::/x"} {
		if _, err := ParseCIDRs([]string{s}); err == nil {
			t.Errorf("ParseCIDRs(%q) accepted it", s)
		}
	}
}
