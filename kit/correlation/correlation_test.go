package correlation_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gitsplit/kit/correlation"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id := correlation.NewID()
		if len(id) != 26 || !correlation.Valid(id) || seen[id] {
			t.Fatalf("NewID = %q: not 26 valid and unique characters", id)
		}
		seen[id] = true
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"01ABC-x_y.z":              true,
		"":                         false,
		"has space":                false,
		"line\nbreak":              false,
		"ümlaut":                   false,
		strings.Repeat("a", 128):   true,
		strings.Repeat("a", 129):   false,
		`"}{"injected":"log line"`: false,
	} {
		if got := correlation.Valid(id); got != want {
			t.Errorf("Valid(%q) = %v, want %v", id, got, want)
		}
	}
}

func TestEnsureID(t *testing.T) {
	t.Parallel()
	ctx := correlation.EnsureID(context.Background())
	if correlation.ID(ctx) == "" || correlation.EnsureID(ctx) != ctx {
		t.Error("EnsureID gives no id or replaces one")
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, sent string
		trust      bool
		adopted    bool
	}{
		{"trusted peer", "abc", true, true},
		{"stranger", "abc", false, false},
		{"trusted peer with a bad id", "a b", true, false},
		{"nothing sent", "", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var inside string
			h := correlation.Middleware(func(*http.Request) bool { return tc.trust })(http.HandlerFunc(
				func(_ http.ResponseWriter, r *http.Request) { inside = correlation.ID(r.Context()) }))
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set(correlation.Header, tc.sent)
			h.ServeHTTP(w, r)
			if (inside == tc.sent) != tc.adopted || !correlation.Valid(inside) {
				t.Errorf("id inside = %q, sent %q, want adopted %v", inside, tc.sent, tc.adopted)
			}
			if got := w.Header().Get(correlation.Header); got != inside {
				t.Errorf("answered id = %q, want %q", got, inside)
			}
		})
	}
}
