// Package header is the hygiene of HTTP headers between the public, rails-api
// and back (security-baseline.md H2): what a client may not send, what is for
// one connection only, what rails-api says to workhorse and to nobody else, and
// what workhorse says about the client.
//
// Sanitize does all of it once, at the front; everything behind it may copy the
// request's headers as they are.
package header

import (
	"net/http"
	"net/textproto"
	"strings"

	"gitsplit/kit/apijwt"
)

// hopByHop are the headers of one connection (RFC 9110 §7.6.1), and Expect,
// which workhorse answers itself.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
}

// RemoveHop deletes the headers of one connection: those named in Connection
// and the well-known ones.
func RemoveHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// spoofable tell rails-api who the client is, besides X-Forwarded-*.
var spoofable = []string{"forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-original-url", "x-rewrite-url"}

// fold lower-cases a name and equates '_' with '-', since some servers hand both
// to their applications as one.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// removeInternal deletes what only workhorse and its peers may send.
func removeInternal(h http.Header, keep func(name string) bool) {
	for name := range h {
		n := fold(name)
		internal := strings.HasPrefix(n, "gitlab-") || strings.HasPrefix(n, "x-sendfile") ||
			strings.HasPrefix(n, "x-forwarded-") || strings.HasPrefix(n, "x-accel-")
		for _, s := range spoofable {
			internal = internal || n == s
		}
		if internal && !keep(name) {
			delete(h, name)
		}
	}
}

func keepNone(string) bool { return false }

// keepShell keeps the token by which gitlab-shell and gitaly identify themselves.
func keepShell(name string) bool { return name == apijwt.ShellHeader }

// RemoveControl deletes from an answer of rails-api what it says to workhorse
// only. Names are compared without regard to case.
func RemoveControl(h http.Header) {
	for name := range h {
		n := fold(name)
		if strings.HasPrefix(n, "gitlab-") || strings.HasPrefix(n, "x-sendfile") || strings.HasPrefix(n, "x-accel-") {
			delete(h, name)
		}
	}
}
