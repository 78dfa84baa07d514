package githttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"golang.org/x/crypto/bcrypt"

	"gitsplit/kit/apijwt"
	"gitsplit/services/rails-api/internal/githttp"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/notice"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	secret   = "workhorse-secret-of-32-bytes-000"
	denied   = "HTTP Basic: Access denied. "
	notFound = "The project you were looking for could not be found or you don't have permission to view it."
	noPull   = "You are not allowed to download code from this project."
	noPush   = "You are not allowed to push code to this project."
)

type bench struct {
	*railstest.Bench
	http    http.Handler
	creator user.User // of deploy tokens
}

func setup(tb testing.TB) *bench {
	tb.Helper()
	return setupWith(tb, 0)
}

// setupWith bans after so many failed sign-ins.
func setupWith(tb testing.TB, failures int64) *bench {
	tb.Helper()
	b := &bench{Bench: railstest.New(tb)}
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	githttp.Routes(r, githttp.Deps{
		Access: b.Access, Auth: b.Auth(failures), Gitaly: b.Gitaly, Notices: notice.New(b.Redis, b.Site), Site: b.Site,
		Secrets: [][]byte{[]byte(secret)}, ReceiveOptions: []string{"receive.maxInputSize=7"}, Log: b.Log, Now: b.Now,
	})
	b.http = r
	return b
}

// caller is who sends a request.
type caller struct {
	name, password string // basic credentials, none when both are empty
	jwt            string // "" is a good one
}

func (b *bench) send(c caller, method, url string) *httptest.ResponseRecorder {
	b.TB.Helper()
	r := httptest.NewRequestWithContext(b.TB.Context(), method, url, nil)
	r.Header.Set("X-Forwarded-For", "198.51.100.4, 10.0.0.1")
	if c.name != "" || c.password != "" {
		r.SetBasicAuth(c.name, c.password)
	}
	if c.jwt == "" {
		var err error
		c.jwt, err = apijwt.Sign([]byte(secret), apijwt.WorkhorseIssuer, b.Now())
		b.Must(err)
	}
	r.Header.Set(apijwt.WorkhorseHeader, c.jwt)
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, r)
	return w
}

// token makes a personal access token.
func (b *bench) token(u user.User, scopes ...string) string {
	b.TB.Helper()
	_, plain, err := token.New(b.DB).Create(b.TB.Context(), token.NewToken{UserID: u.ID, Name: "t", Scopes: scopes})
	b.Must(err)
	return plain
}

func check(t *testing.T, name string, got *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	if got.Code != status || !strings.HasPrefix(got.Body.String(), text) {
		t.Errorf("%s: %d %s\nwant %d %s", name, got.Code, got.Body, status, text)
	}
	kind, challenge := got.Header().Get("Content-Type"), got.Header().Get("WWW-Authenticate")
	if wantKind := map[bool]string{true: "application/vnd.gitlab-workhorse+json", false: "text/plain; charset=utf-8"}[status == 200]; kind != wantKind {
		t.Errorf("%s: Content-Type %q, want %q", name, kind, wantKind)
	}
	if (challenge == `Basic realm="GitLab"`) != (status == 401) {
		t.Errorf("%s: WWW-Authenticate %q with %d", name, challenge, status)
	}
}

const (
	pull = "info/refs?service=git-upload-pack"
	push = "info/refs?service=git-receive-pack"
)

func TestServe_answer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Public)
	got := b.send(caller{name: "whatever", password: b.token(ada, "write_repository")}, http.MethodPost, "/ada/p.git/git-receive-pack")
	check(t, "push", got, 200, "{")
	storage, err := b.Gitaly.Storage("default")
	b.Must(err)
	id := fmt.Sprintf("user-%d", ada.ID)
	want := map[string]any{
		"GL_ID": id, "GL_USERNAME": "ada", "GL_REPOSITORY": p.GLRepository(), "ShowAllRefs": false, "NeedAudit": false,
		"ProjectID": float64(p.ID), "RootNamespaceID": float64(ada.NamespaceID), "GitConfigOptions": []any{"receive.maxInputSize=7"},
		"Repository": map[string]any{
			"storage_name": "default", "relative_path": project.HashedPath(p.ID), "git_object_directory": "",
			"git_alternate_object_directories": []any{}, "gl_repository": p.GLRepository(), "gl_project_path": "ada/p",
		},
		"GitalyServer": map[string]any{
			"address": storage.Address, "token": "gitaly-token",
			"call_metadata": map[string]any{"user_id": id, "username": "ada", "remote_ip": "198.51.100.4"},
		},
	}
	var have map[string]any
	b.Must(json.Unmarshal(got.Body.Bytes(), &have))
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	anonymous := b.send(caller{}, http.MethodPost, "/ada/p.git/git-upload-pack")
	check(t, "anonymous", anonymous, 200, "{")
	if body := anonymous.Body.String(); !strings.Contains(body, `"GL_ID":""`) || strings.Contains(body, "user_id") {
		t.Errorf("anonymous: %s", body)
	}
}

// TestServe_rights: the table of wire/workhorse.md §10.3.
func TestServe_rights(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.Group("team", visibility.Public)
	b.Project(g.ID, "public", visibility.Public)
	b.Project(g.ID, "internal", visibility.Internal)
	private := b.Project(g.ID, "private", visibility.Private)
	people := map[string]caller{"anonymous": {}, "wrong": {name: "stranger", password: "wrong-password"}}
	for name, level := range map[string]member.Level{"stranger": -1, "guest": member.Guest, "reporter": member.Reporter, "developer": member.Developer, "blocked": member.Developer} {
		u := b.User(name)
		people[name] = caller{name: name, password: b.token(u, "api")}
		if level >= 0 {
			b.Member(member.OfProject(private.ID), u, level)
		}
		if name == "blocked" {
			b.Must(user.New(b.DB).SetState(t.Context(), u.ID, user.Blocked))
		}
	}
	for _, tc := range []struct {
		who, path        string
		pull, push       int
		pullText, pshTxt string
	}{
		{"anonymous", "team/public", 200, 401, "{", denied},
		{"anonymous", "team/internal", 401, 401, denied, denied},
		{"anonymous", "team/private", 401, 401, denied, denied},
		{"anonymous", "team/absent", 401, 401, denied, denied},
		{"anonymous", "absent", 401, 401, denied, denied},
		{"stranger", "team/public", 200, 403, "{", noPush},
		{"stranger", "team/internal", 200, 403, "{", noPush},
		{"stranger", "team/private", 404, 404, notFound, notFound},
		{"stranger", "team/absent", 404, 404, notFound, notFound},
		{"stranger", "absent", 404, 404, "The namespace you were looking for could not be found.", "The namespace you were looking for could not be found."},
		{"stranger", "team/p_blic", 404, 404, notFound, notFound},
		{"stranger", "team/%25", 404, 404, notFound, notFound},
		{"stranger", "team/%E6%97%A5", 404, 404, notFound, notFound},
		{"guest", "team/private", 403, 403, noPull, noPush},
		{"reporter", "team/private", 200, 403, "{", noPush},
		{"developer", "team/private", 200, 200, "{", "{"},
		{"developer", "TEAM/Private", 200, 200, "{", "{"},
		{"blocked", "team/public", 401, 401, denied, denied},
		{"wrong", "team/public", 401, 401, denied, denied},
	} {
		for _, endpoint := range []struct{ method, pull, push string }{
			{http.MethodGet, pull, push}, {http.MethodPost, "git-upload-pack", "git-receive-pack"},
		} {
			url := "/" + tc.path + ".git/"
			check(t, tc.who+" "+endpoint.pull+" "+tc.path, b.send(people[tc.who], endpoint.method, url+endpoint.pull), tc.pull, tc.pullText)
			check(t, tc.who+" "+endpoint.push+" "+tc.path, b.send(people[tc.who], endpoint.method, url+endpoint.push), tc.push, tc.pshTxt)
		}
	}
}

// statusOf is the status that goes with a text, for those who may know the project.
func statusOf(text string) int {
	if status, ok := map[string]int{"{": 200, denied: 401}[text]; ok {
		return status
	}
	return http.StatusForbidden
}

func TestServe_credentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost) // the real cost is tested in package auth
	b.Must(err)
	digest, ada := string(hash), b.User("ada")
	_, err = user.New(b.DB).Update(t.Context(), ada.ID, user.Changes{PasswordDigest: &digest})
	b.Must(err)
	b.Project(ada.NamespaceID, "p", visibility.Private)
	yesterday := b.Time.AddDate(0, 0, -1)
	_, expired, err := token.New(b.DB).Create(t.Context(), token.NewToken{UserID: ada.ID, Name: "t", Scopes: []string{"api"}, ExpiresAt: &yesterday})
	b.Must(err)
	old, revoked, err := token.New(b.DB).Create(t.Context(), token.NewToken{UserID: ada.ID, Name: "t", Scopes: []string{"api"}})
	b.Must(err)
	b.Must(token.New(b.DB).Revoke(t.Context(), old.ID))
	const (
		download = "You are not allowed to download code."
		upload   = "You are not allowed to upload code."
	)
	for _, tc := range []struct {
		name, login, password string
		pull, push            string
	}{
		{"password", "ada", "correct horse", "{", "{"},
		{"password again", "ada", "correct horse", "{", "{"},
		{"e-mail", "ADA@example.org", "correct horse", "{", "{"},
		{"wrong password", "ada", "wrong horse", denied, denied},
		{"empty password", "ada", "", denied, denied},
		{"empty name", "", "correct horse", denied, denied},
		{"unknown user", "eve", "correct horse", denied, denied},
		{"user name with NUL", "a\x00a", "correct horse", denied, denied},
		{"long password", "ada", strings.Repeat("correct horse", 100), denied, denied},
		{"api", "x", b.token(ada, "api"), "{", "{"},
		{"read_api", "x", b.token(ada, "read_api"), "{", upload},
		{"read_repository", "oauth2", b.token(ada, "read_repository"), "{", upload},
		{"write_repository", "ada", b.token(ada, "write_repository"), "{", "{"},
		{"read_user", "ada", b.token(ada, "read_user"), download, upload},
		{"expired", "ada", expired, denied, denied},
		{"revoked", "ada", revoked, denied, denied},
		{"unknown token", "ada", token.Generate(), denied, denied},
		{"token without a name", "", b.token(ada, "api"), denied, denied},
	} {
		check(t, tc.name, b.send(caller{name: tc.login, password: tc.password}, http.MethodGet, "/ada/p.git/"+pull), statusOf(tc.pull), tc.pull)
		check(t, tc.name, b.send(caller{name: tc.login, password: tc.password}, http.MethodGet, "/ada/p.git/"+push), statusOf(tc.push), tc.push)
	}
}

// TestServe_untrusted: only workhorse gets a positive answer.
func TestServe_untrusted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Public)
	plain := b.token(ada, "api")
	sign := func(key, issuer string, at time.Time) string {
		token, err := apijwt.Sign([]byte(key), issuer, at)
		b.Must(err)
		return token
	}
	for name, jwt := range map[string]string{
		"garbage": "x", "alg none": "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJnaXRsYWItd29ya2hvcnNlIn0.",
		"shell issuer": sign(secret, apijwt.ShellIssuer, b.Time), "other secret": sign("x"+secret[1:], apijwt.WorkhorseIssuer, b.Time),
		"old": sign(secret, apijwt.WorkhorseIssuer, b.Time.Add(-5*time.Minute)),
	} {
		check(t, name, b.send(caller{name: "ada", password: plain, jwt: jwt}, http.MethodGet, "/ada/p.git/"+pull), 403, "Nil JSON web token")
		check(t, name, b.send(caller{jwt: jwt}, http.MethodGet, "/ada/p.git/"+pull), 403, "Nil JSON web token")
		check(t, name, b.send(caller{jwt: jwt}, http.MethodGet, "/ada/q.git/"+pull), 401, denied)
	}
}

func TestServe_infoRefs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Public)
	me := caller{name: "ada", password: b.token(ada, "api")}
	const refused = "The command you're trying to execute is not allowed."
	for _, query := range []string{"", "?service=", "?service=git-upload-archive", "?service=rm", "?service=git-upload-pack&service=git-receive-pack"} {
		check(t, "signed in "+query, b.send(me, http.MethodGet, "/ada/p.git/info/refs"+query), 403, refused)
		check(t, "anonymous "+query, b.send(caller{}, http.MethodGet, "/ada/p.git/info/refs"+query), 401, denied)
	}
	if got := b.send(me, http.MethodHead, "/ada/p.git/"+pull); got.Code != 403 || got.Body.Len() != 0 {
		t.Errorf("HEAD: %d %q", got.Code, got.Body)
	}
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for url, want := range map[string]string{
		"/team/tool/info/refs":                                      "/team/tool.git/info/refs",
		"/team/sub/tool/" + pull:                                    "/team/sub/tool.git/" + pull,
		"/team/tool/" + push:                                        "/team/tool.git/" + push,
		"/team/tool/info/refs?service=git-upload-pack&x=1":          "",
		"/team/tool/info/refs?x=1":                                  "",
		"/tool/info/refs":                                           "",
		"//evil.example/tool/info/refs":                             "",
		"/%2Fevil.example/x/info/refs":                              "",
		"/team/to%0Aol/info/refs":                                   "",
		"/team/../tool/info/refs":                                   "",
		"/team/-x/info/refs":                                        "",
		"/" + strings.Repeat("a", 300) + "/tool/info/refs":          "",
		"/team/tool.git/git-upload-pack/info/refs":                  "",
		"/team/tool/info/refs?service=git-upload-pack%0d%0aX-A:%20": "",
	} {
		got := b.send(caller{}, http.MethodGet, url)
		if location := got.Header().Get("Location"); location != want || (want != "") != (got.Code == http.StatusMovedPermanently) {
			t.Errorf("%s: %d %q, want %q", url, got.Code, location, want)
		}
	}
	if got := b.send(caller{}, http.MethodPost, "/team/tool/git-upload-pack"); got.Code != http.StatusNotFound {
		t.Errorf("POST: %d", got.Code)
	}
}

func TestServe_create(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	read, write := caller{name: "ada", password: b.token(ada, "read_repository")}, caller{name: "ada", password: b.token(ada, "write_repository")}
	check(t, "no ability", b.send(read, http.MethodGet, "/ada/made.git/"+push), 403, "You are not allowed to upload code.")
	check(t, "fetch", b.send(write, http.MethodGet, "/ada/made.git/"+pull), 404, notFound)
	check(t, "bad name", b.send(write, http.MethodGet, "/ada/-made.git/"+push), 422, "Could not create project: Path can contain only")
	check(t, "push", b.send(write, http.MethodGet, "/ada/made.git/"+push), 200, "{")
	check(t, "fetch", b.send(read, http.MethodGet, "/ada/made.git/"+pull), 200, "{")
	check(t, "anonymous", b.send(caller{}, http.MethodGet, "/ada/other.git/"+push), 401, denied)
	p, _, err := project.New(b.DB).ByPath(t.Context(), "ada/made")
	b.Must(err)
	texts, err := notice.New(b.Redis, b.Site).Take(t.Context(), ada.ID, p.GLRepository())
	want := "\nThe private project ada/made was successfully created.\n\nTo configure the remote, run:\n" +
		"  git remote add origin https://git.example.test/ada/made.git\n\nTo view the project, visit:\n  https://git.example.test/ada/made\n"
	if err != nil || len(texts) != 1 || texts[0] != want {
		t.Errorf("notices %q, %v", texts, err)
	}
}

// TestServe_moving: git shows why a push is refused before it begins. After that it shows the hooks' reason alone, so that it may go on to them.
func TestServe_moving(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	_, err := project.New(b.DB).HoldPushes(t.Context(), p, time.Minute)
	b.Must(err)
	c := caller{name: "ada", password: b.token(ada, "write_repository")}
	check(t, "begun", b.send(c, http.MethodGet, "/ada/p.git/"+push), http.StatusForbidden, "The repository is temporarily read-only. Please try again later.")
	check(t, "sent", b.send(c, http.MethodPost, "/ada/p.git/git-receive-pack"), http.StatusOK, "{")
}

func TestServe_down(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Public)
	me := caller{name: "ada", password: b.token(ada, "api")}
	b.Must(b.Redis.Close())
	check(t, "redis down", b.send(me, http.MethodGet, "/ADA/p.git/"+push), 200, "{")
	b.Server.Stop()
	check(t, "gitaly down", b.send(me, http.MethodGet, "/ada/later.git/"+push), 503, "The git server, Gitaly, is not available at this time. Please contact your administrator.")
	check(t, "gitaly down, workhorse will see", b.send(me, http.MethodGet, "/ada/p.git/"+push), 200, "{")
	_, err := b.DB.Exec(t.Context(), "ALTER TABLE users RENAME TO lost")
	b.Must(err)
	check(t, "schema broken", b.send(me, http.MethodGet, "/ada/p.git/"+pull), 500, "Internal error, please tell your administrator the id ")
	check(t, "schema broken, anonymous", b.send(caller{}, http.MethodGet, "/ada/p.git/"+pull), 500, "Internal error")
}
