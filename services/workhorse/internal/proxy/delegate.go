package proxy

import (
	"maps"
	"net/http"
)

// Delegates knows which answers rails-api leaves to workhorse; senddata.Sender is
// one.
type Delegates interface {
	// Take returns what gives the answer in rails-api's place, or nil.
	Take(res *http.Response) http.Handler
}

// delegated ends the relay of an answer that workhorse gives itself. It travels as
// an error, which is how httputil.ReverseProxy lets go of an answer.
type delegated struct {
	header http.Header // rails-api's, cleaned
	next   http.Handler
}

func (*delegated) Error() string { return "rails-api left the answer to workhorse" }

// serve gives the answer, under rails-api's headers but those about its own body.
func (d *delegated) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	maps.Copy(h, d.header)
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	d.next.ServeHTTP(w, r)
}
