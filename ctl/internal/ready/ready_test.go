package ready_test

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"gitsplit/ctl/internal/ready"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	socket := "unix:" + filepath.Join(t.TempDir(), "p.sock")
	if err := ready.Ask(t.Context(), socket); err == nil {
		t.Error("nobody listens, but ready")
	}
	ln, err := net.Listen("unix", socket[len("unix:"):])
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan bool, 2)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // a test
		if r.URL.Path != "/-/readiness" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if !<-answers {
			http.Error(w, "database:\n gone", http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	answers <- false
	if err := ready.Ask(t.Context(), socket); !errors.Is(err, ready.ErrNot) || err.Error() != "not ready: database: gone" {
		t.Errorf("Ask: %v", err)
	}
	answers <- true
	if err := ready.Ask(t.Context(), socket); err != nil {
		t.Errorf("Ask: %v", err)
	}
}
