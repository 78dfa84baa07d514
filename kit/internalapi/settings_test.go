package internalapi_test

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"gitsplit/kit/internalapi"
)

func TestClient_headers(t *testing.T) {
	t.Parallel()
	plain := context.Background()
	for _, tc := range []struct {
		name           string
		cfg            internalapi.Config
		ctx            context.Context
		authorization  string
		xForwardedFor  string
		forwardedCount int
	}{
		{"neither", internalapi.Config{}, plain, "", "", 0},
		{"basic authentication", internalapi.Config{User: "u", Password: "p"}, plain, "Basic dTpw", "", 0},
		{"user alone", internalapi.Config{User: "u"}, plain, "", "", 0},
		{"password alone", internalapi.Config{Password: "p"}, plain, "", "", 0},
		{"behind a proxy", internalapi.Config{}, internalapi.WithForwardedFor(plain, "192.0.2.1"), "", "192.0.2.1", 1},
		{"behind a proxy without an address", internalapi.Config{}, internalapi.WithForwardedFor(plain, ""), "", "", 0},
	} {
		var got http.Header
		c := newClient(t, tc.cfg, func(w http.ResponseWriter, r *http.Request) {
			got = r.Header
			_, _ = io.WriteString(w, `{}`)
		})
		if _, err := c.Check(tc.ctx); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if got.Get("Authorization") != tc.authorization || got.Get("X-Forwarded-For") != tc.xForwardedFor || len(got["X-Forwarded-For"]) != tc.forwardedCount {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// TestClient_authorities: https of a server whose authority the system does not know.
func TestClient_authorities(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"redis":true}`) }))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "no-file"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg     internalapi.Config
		trusted bool
	}{
		"none":      {internalapi.Config{}, false},
		"file":      {internalapi.Config{CAFile: file}, true},
		"directory": {internalapi.Config{CAPath: dir}, true},
		"other":     {internalapi.Config{CAPath: t.TempDir()}, false},
	} {
		tc.cfg.URL = srv.URL
		state, err := newClient(t, tc.cfg, nil).Check(t.Context())
		if (err == nil) != tc.trusted || state.Redis != tc.trusted {
			t.Errorf("%s: %+v, %v", name, state, err)
		}
	}
	absent := filepath.Join(dir, "absent")
	if _, err := internalapi.New(internalapi.Config{URL: srv.URL, Secret: key, CAFile: absent}); err == nil || err.Error() != "cannot find cafile '"+absent+"'" {
		t.Errorf("absent file: %v", err)
	}
	if _, err := internalapi.New(internalapi.Config{URL: srv.URL, Secret: key, CAPath: absent}); err == nil {
		t.Error("absent directory was taken")
	}
}
