package lfshttp_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/lfshttp"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/user"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	mediaType = "application/vnd.git-lfs+json"
	help      = `,"documentation_url":"https://git.example.test/help"}`
	forbidden = `{"message":"Access forbidden. Check your access level."` + help
	notFound  = `{"message":"Not found."` + help
	denied    = "HTTP Basic: Access denied. "
)

var secret = []byte("workhorse-secret-of-32-bytes-000")

type bench struct {
	*railstest.Bench
	tokens *lfstoken.Signer
	http   http.Handler
}

func setup(tb testing.TB, change ...func(*access.Deps)) *bench {
	tb.Helper()
	b := &bench{Bench: railstest.New(tb)}
	deps := b.Deps()
	for _, c := range change {
		c(&deps)
	}
	var err error
	b.tokens, err = lfstoken.New(b.Box, b.Now)
	b.Must(err)
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	lfshttp.Routes(r, lfshttp.Deps{
		DB: b.DB, Access: access.New(deps), Auth: b.Auth(0), Tokens: b.tokens, Storage: b.Files,
		Uploads: uploaded.New([][]byte{secret}, b.Now, b.Files.TempDir()), Site: b.Site, Log: b.Log, Now: b.Now,
	})
	b.http = r
	return b
}

// caller is who sends a request: basic credentials, none when both are empty.
type caller struct{ name, password string }

func (c caller) header() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.name+":"+c.password))
}

// person returns a user's personal access token as credentials.
func (b *bench) person(u user.User, scopes ...string) caller {
	b.TB.Helper()
	if len(scopes) == 0 {
		scopes = []string{"api"}
	}
	_, plain, err := token.New(b.DB).Create(b.TB.Context(), token.NewToken{UserID: u.ID, Name: "t", Scopes: scopes})
	b.Must(err)
	return caller{"any", plain}
}

// lfs returns an LFS token as credentials; owner is nil for a deploy key.
func (b *bench) lfs(name string, g lfstoken.Grant, owner *user.User) caller {
	b.TB.Helper()
	plain, err := b.tokens.Sign(g, owner)
	b.Must(err)
	return caller{name, plain}
}

func (b *bench) do(c caller, r *http.Request) answer {
	b.TB.Helper()
	r.Header.Set("X-Forwarded-For", "198.51.100.4")
	if c != (caller{}) {
		r.SetBasicAuth(c.name, c.password)
	}
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, r)
	return answer{b.TB, w}
}

func (b *bench) send(c caller, method, url, body string) answer {
	b.TB.Helper()
	r := httptest.NewRequestWithContext(b.TB.Context(), method, url, strings.NewReader(body))
	r.Header.Set("Content-Type", mediaType+"; charset=utf-8")
	return b.do(c, r)
}

type answer struct {
	tb testing.TB
	*httptest.ResponseRecorder
}

// want compares status and body; a body that ends with "…" is a beginning.
func (a answer) want(name string, status int, body string) {
	a.tb.Helper()
	got := a.Body.String()
	begins, open := strings.CutSuffix(body, "…")
	if a.Code != status || (got != body && (!open || !strings.HasPrefix(got, begins))) {
		a.tb.Errorf("%s: %d %s\nwant %d %s", name, a.Code, got, status, body)
	}
	kind := mediaType
	if status == http.StatusUnauthorized {
		kind = "text/plain; charset=utf-8"
	}
	if h := a.Header(); h.Get("Content-Type") != kind || (h.Get("WWW-Authenticate") == `Basic realm="GitLab"`) != (status == http.StatusUnauthorized) {
		a.tb.Errorf("%s: headers %v", name, h)
	}
}

type object struct {
	OID           string
	Size          int64
	Authenticated bool
	Actions       map[string]struct {
		Href      string
		Header    map[string]string
		ExpiresIn int64 `json:"expires_in"`
	}
	Error *struct {
		Code    int
		Message string
	}
}

// objects reads the answer to a batch.
func (a answer) objects() []object {
	a.tb.Helper()
	var out struct{ Objects []object }
	if err := json.Unmarshal(a.Body.Bytes(), &out); err != nil || a.Code != http.StatusOK {
		a.tb.Fatalf("%d %s: %v", a.Code, a.Body, err)
	}
	return out.Objects
}
