package front

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// methods are those that are let in (wire/workhorse.md §1.4).
var methods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true,
	http.MethodPatch: true, http.MethodDelete: true, http.MethodConnect: true,
	http.MethodOptions: true, http.MethodTrace: true,
}

// refuse answers in plain text and ends the connection, whose next bytes may be
// the body of the refused request.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// check refuses what needs no route to be refused (wire/workhorse.md §1.4), and
// on public listeners the internal API. Past it, the request's URL holds the
// clean path only.
func (f *Front) check(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accel-Buffering", "no")
		switch {
		case !methods[r.Method]:
			f.unknownMethods.Inc()
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		case r.RequestURI == "*":
			refuse(w, http.StatusBadRequest, "Connection upgrade not allowed")
			return
		case r.Method == http.MethodConnect:
			refuse(w, http.StatusBadRequest, "CONNECT not allowed")
			return
		case !f.internal && f.reachesInternal(r):
			refuse(w, http.StatusNotFound, "Not Found")
			return
		case r.URL.Opaque != "":
			refuse(w, http.StatusBadRequest, "Bad Request")
			return
		}
		clean, err := cleanPath(r.URL.EscapedPath())
		if err != nil {
			refuse(w, http.StatusBadRequest, "Bad Request")
			return
		}
		if !underRoot(clean, f.root) {
			refuse(w, http.StatusNotFound, fmt.Sprintf("Not found %q", clean))
			return
		}
		r = withPath(r, clean)
		if upgradesToWebSocket(r.Header) {
			if !f.takesWebSocket(r) {
				refuse(w, http.StatusBadRequest, "websocket upgrade not allowed")
				return
			}
			r = markWebSocket(r)
		}
		next.ServeHTTP(w, r)
	})
}

// reachesInternal looks at everything a request target can carry: its path, the
// opaque form of "http:path", and the target as it was sent.
func (f *Front) reachesInternal(r *http.Request) bool {
	target, _, _ := strings.Cut(r.RequestURI, "?")
	return namesInternal(r.URL.EscapedPath(), f.root) ||
		namesInternal("/"+r.URL.Opaque, f.root) ||
		namesInternal(target, f.root)
}

func underRoot(clean, root string) bool {
	return root == "" || clean == root || strings.HasPrefix(clean, root+"/")
}

// withPath returns r with the clean path and the query it came with, and nothing
// else in its URL.
func withPath(r *http.Request, clean string) *http.Request {
	plain, err := url.PathUnescape(clean)
	if err != nil { // cleanPath has decoded it
		plain = clean
	}
	r2 := r.WithContext(r.Context())
	r2.URL = &url.URL{Path: plain, RawPath: clean, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	return r2
}

// takesWebSocket reports whether the request's route is one of web sockets.
func (f *Front) takesWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && f.path(r) == cablePath
}

func upgradesToWebSocket(h http.Header) bool {
	return hasToken(h, "Connection", "upgrade") && hasToken(h, "Upgrade", "websocket")
}

func hasToken(h http.Header, name, want string) bool {
	for _, line := range h.Values(name) {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), want) {
				return true
			}
		}
	}
	return false
}
