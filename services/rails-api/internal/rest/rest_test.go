package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"golang.org/x/crypto/bcrypt"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/rest"
	"gitsplit/services/rails-api/internal/sealed"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/storage"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/twofactor"
	"gitsplit/services/rails-api/internal/uploaded"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is the API on a database of its own, with a fake gitaly behind it.
type bench struct {
	tb     testing.TB
	db     *pgxpool.Pool
	gitaly *fakeGitaly
	http   http.Handler
	now    time.Time
	log    *bytes.Buffer
	people *auth.Authenticator
	files  *storage.Store
	root   person // an administrator
}

// person is a user with a token of scope api.
type person struct {
	user.User
	token string
}

// noJobs takes jobs and forgets them.
type noJobs struct{}

func (noJobs) InsertTx(context.Context, pgx.Tx, river.JobArgs, *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	return &rivertype.JobInsertResult{}, nil
}

func setup(tb testing.TB, change ...func(*rest.Deps)) *bench {
	tb.Helper()
	return setupOn(tb, pgtest.New(tb), change...)
}

func setupOn(tb testing.TB, db *pgxpool.Pool, change ...func(*rest.Deps)) *bench {
	tb.Helper()
	b := &bench{tb: tb, db: db, gitaly: newFakeGitaly(tb), now: time.Now().UTC().Truncate(time.Second), log: &bytes.Buffer{}}
	external, err := url.Parse("https://git.example")
	b.must(err)
	log := slog.New(slog.NewJSONHandler(b.log, nil))
	now := func() time.Time { return b.now }
	git, err := gitaly.New(b.gitaly, []gitaly.Storage{{Name: "default", Address: "unix:/none", Weight: 1}}, func(int) int { return 0 })
	b.must(err)
	repositories := projectrepo.New(b.db, git, noJobs{}, log, now)
	place := site.Site{External: external, SSHHost: "git.example", SSHPort: 2222, SSHUser: "git"}
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	box, err := sealed.New(make([]byte, sealed.MinKey))
	b.must(err)
	guard := auth.NewGuard(ratelimit.NewBans(nil, "login", ratelimit.Rule{}), nil, log) // no rule: no Redis
	b.people = auth.New(auth.Deps{DB: b.db, Guard: guard, Passwords: auth.NewPasswords(bcrypt.MinCost), Log: log, Now: now})
	files, err := storage.Open(tb.Context(), "file://"+tb.TempDir())
	b.must(err)
	b.files = files
	deps := rest.Deps{
		DB:           b.db,
		Access:       access.New(access.Deps{DB: b.db, Repositories: git, Creator: repositories, Site: place, Log: log, Now: now}),
		Auth:         b.people,
		TwoFactor:    twofactor.New(b.db, box, "git.example", now),
		Gitaly:       git,
		Repositories: repositories,
		ExternalURL:  external,
		Downloads:    "/downloads",
		SSHHost:      "git.example",
		SSHPort:      2222,
		SSHUser:      "git",
		Version:      "1.2.3",
		Revision:     "abc",
		Files:        files,
		Uploads:      uploaded.New([][]byte{workhorseKey()}, time.Now, files.TempDir()),

		MaxAttachment: 1000,
		Log:           log,
		Now:           now,
	}
	for _, c := range change {
		c(&deps)
	}
	rest.Routes(router, deps)
	b.http = router
	b.root = b.person("root", true)
	return b
}

func (b *bench) must(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
}

// person makes a user and a token for everything.
func (b *bench) person(username string, admin ...bool) person {
	b.tb.Helper()
	u, err := user.New(b.db).Create(b.tb.Context(), user.NewUser{
		Username: username, Name: "Name of " + username, Email: username + "@example.org", Admin: len(admin) > 0 && admin[0],
	})
	b.must(err)
	return person{User: u, token: b.token(u.ID, "api")}
}

// token makes a token with the scopes and returns its secret.
func (b *bench) token(userID int64, scopes ...string) string {
	b.tb.Helper()
	expires := b.now.AddDate(0, 1, 0)
	_, plain, err := token.New(b.db).Create(b.tb.Context(), token.NewToken{UserID: userID, Name: "t", Scopes: scopes, ExpiresAt: &expires})
	b.must(err)
	return plain
}

// group makes a group that p owns.
func (b *bench) group(p person, path string, level visibility.Level) namespace.Namespace {
	b.tb.Helper()
	g, err := namespace.New(b.db).Create(b.tb.Context(), namespace.NewNamespace{Kind: namespace.Group, Path: path, Name: path, Visibility: level})
	b.must(err)
	b.join(member.OfNamespace(g.ID), p, member.Owner)
	return g
}

func (b *bench) join(src member.Source, p person, level member.Level) {
	b.tb.Helper()
	_, err := member.New(b.db).Add(b.tb.Context(), member.NewMember{Source: src, UserID: p.ID, Level: level})
	b.must(err)
}

// project makes a project through the API, as p.
func (b *bench) project(p person, body map[string]any) project.Project {
	b.tb.Helper()
	var made struct{ ID int64 }
	b.as(p).post("projects", body).want(http.StatusCreated).into(&made)
	found, err := project.New(b.db).ByID(b.tb.Context(), made.ID)
	b.must(err)
	return found
}

// client sends requests with a token.
type client struct {
	b     *bench
	token string
}

func (b *bench) as(p person) client                 { return client{b, p.token} }
func (b *bench) with(token string) client           { return client{b, token} }
func (b *bench) anonymous() client                  { return client{b, ""} }
func (c client) get(path string) *answer            { return c.send(http.MethodGet, path, nil) }
func (c client) delete(path string) *answer         { return c.send(http.MethodDelete, path, nil) }
func (c client) post(path string, body any) *answer { return c.send(http.MethodPost, path, body) }
func (c client) put(path string, body any) *answer  { return c.send(http.MethodPut, path, body) }

// send makes a request below /api/v4/ with a JSON body, or a form when body is url.Values.
func (c client) send(method, path string, body any) *answer {
	c.b.tb.Helper()
	var text io.Reader = http.NoBody
	contentType := ""
	switch v := body.(type) {
	case nil:
	case url.Values:
		text, contentType = strings.NewReader(v.Encode()), "application/x-www-form-urlencoded"
	default:
		encoded, err := json.Marshal(v)
		c.b.must(err)
		text, contentType = bytes.NewReader(encoded), "application/json"
	}
	r := httptest.NewRequestWithContext(c.b.tb.Context(), method, "/api/v4/"+path, text)
	r.Host = "internal.invalid"
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		r.Header.Set("Private-Token", c.token)
	}
	return c.b.serve(r)
}

func (b *bench) serve(r *http.Request) *answer {
	b.tb.Helper()
	rec := httptest.NewRecorder()
	b.http.ServeHTTP(rec, r)
	return &answer{tb: b.tb, request: r.Method + " " + r.URL.String(), ResponseRecorder: rec}
}

// answer is a response with its checks; they chain.
type answer struct {
	*httptest.ResponseRecorder
	tb      testing.TB
	request string
}

func (a *answer) want(status int) *answer {
	a.tb.Helper()
	if a.Code != status {
		a.tb.Fatalf("%s: got %d %s, want %d", a.request, a.Code, a.Body.String(), status)
	}
	return a
}

// text checks status and the exact body.
func (a *answer) text(status int, body string) *answer {
	a.tb.Helper()
	if got := a.want(status).Body.String(); got != body {
		a.tb.Errorf("%s\ngot  %s\nwant %s", a.request, got, body)
	}
	return a
}

func (a *answer) header(name, want string) *answer {
	a.tb.Helper()
	if got := a.Header().Get(name); got != want {
		a.tb.Errorf("%s: %s\ngot  %q\nwant %q", a.request, name, got, want)
	}
	return a
}

// into decodes the body; fields that the target does not have are ignored.
func (a *answer) into(v any) *answer {
	a.tb.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), v); err != nil {
		a.tb.Fatalf("%s: decode %s: %v", a.request, a.Body.String(), err)
	}
	return a
}

// list decodes the body as a list of objects, which must not be null.
func (a *answer) list() []map[string]any {
	a.tb.Helper()
	var list []map[string]any
	a.want(http.StatusOK).into(&list)
	if list == nil {
		a.tb.Fatalf("%s: the list is %s", a.request, a.Body.String())
	}
	return list
}

// names returns one field of every element of a list.
func (a *answer) names(field string) string {
	a.tb.Helper()
	var names []string
	for _, e := range a.list() {
		s, _ := e[field].(string)
		names = append(names, s)
	}
	return strings.Join(names, " ")
}
