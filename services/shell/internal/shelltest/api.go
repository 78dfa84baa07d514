package shelltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/correlation"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/netx"
)

// Secret is the key of the internal API's tokens.
const Secret = "0123456789abcdef0123456789abcdef"

// Hit is one request that the fake API got.
type Hit struct {
	Endpoint      string // below the prefix, "/allowed"
	Query         string
	Body          string
	CorrelationID string
	Token         string
	ForwardedFor  string
}

// API is an internal API on a Unix socket.
type API struct {
	// URL is for the client's configuration.
	URL string

	mu      sync.Mutex
	hits    []Hit
	answers map[string]http.HandlerFunc
}

// NewAPI starts an API that knows nothing: everything is 404 until answered.
func NewAPI(t *testing.T) *API {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	a := &API{URL: "http+unix://" + socket, answers: map[string]http.HandlerFunc{}}
	ln, err := netx.Listen("unix:" + socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(a)
	_ = srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return a
}

// Handle makes h the endpoint's handler.
func (a *API) Handle(endpoint string, h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[endpoint] = h
}

// Answer makes the endpoint answer with a status and a body: a string as it is,
// anything else as JSON.
func (a *API) Answer(endpoint string, code int, body any) {
	text, ok := body.(string)
	if !ok {
		raw, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		text = string(raw)
	}
	a.Handle(endpoint, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	})
}

// Hits returns the requests to an endpoint so far.
func (a *API) Hits(endpoint string) []Hit {
	a.mu.Lock()
	defer a.mu.Unlock()
	var hits []Hit
	for _, h := range a.hits {
		if h.Endpoint == endpoint {
			hits = append(hits, h)
		}
	}
	return hits
}

// ServeHTTP implements http.Handler; it checks the token as rails-api does.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	endpoint := r.URL.Path[min(len(internalapi.Prefix), len(r.URL.Path)):]
	token := r.Header.Get(apijwt.ShellHeader)
	a.mu.Lock()
	a.hits = append(a.hits, Hit{
		Endpoint: endpoint, Query: r.URL.RawQuery, Body: string(body),
		CorrelationID: r.Header.Get(correlation.Header), Token: token, ForwardedFor: r.Header.Get("X-Forwarded-For"),
	})
	answer := a.answers[endpoint]
	a.mu.Unlock()
	if err := apijwt.Verify([][]byte{[]byte(Secret)}, apijwt.ShellIssuer, token, time.Now()); err != nil {
		http.Error(w, `{"message":"401 Unauthorized"}`, http.StatusUnauthorized)
		return
	}
	if answer == nil {
		http.Error(w, `{"message":"404 Not Found"}`, http.StatusNotFound)
		return
	}
	answer(w, r)
}
