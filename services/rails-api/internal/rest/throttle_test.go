package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/redistest"
	"gitsplit/services/rails-api/internal/rest"
)

// TestThrottle: users have a limit of their own, everybody else that of their address.
func TestThrottle(t *testing.T) {
	t.Parallel()
	limit := func(d *rest.Deps) { d.Limits.Users, d.Limits.Addresses = 2, 1 }
	r := redistest.New(t)
	b := setup(t, limit, func(d *rest.Deps) { d.Redis = r })
	b.now = b.now.Truncate(time.Minute).Add(17 * time.Second)
	send := func(token, address string) *answer {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v4/projects", nil)
		r.Header.Set("X-Forwarded-For", address)
		if token != "" {
			r.Header.Set("Private-Token", token)
		}
		return b.serve(r)
	}
	ann := b.person("ann")
	send("", "192.0.2.1").want(200)
	send("", "192.0.2.1").text(429, `{"message":"Retry later"}`).
		header("Retry-After", "43").header("RateLimit-Reset", strconv.FormatInt(b.now.Truncate(time.Minute).Unix()+60, 10))
	send("", "192.0.2.2").want(200)
	for range 2 {
		send(ann.token, "192.0.2.1").want(200)
	}
	send(ann.token, "192.0.2.3").want(429)
	send(b.root.token, "192.0.2.1").want(200)
	b.now = b.now.Add(time.Minute)
	send(ann.token, "192.0.2.1").want(200)

	down := setup(t, limit, func(d *rest.Deps) { d.Redis = redistest.Down(t) })
	for range 3 {
		down.as(down.root).get("user").want(200)
	}
	if !strings.Contains(down.log.String(), "not counted") {
		t.Error("nothing in the log")
	}
}
