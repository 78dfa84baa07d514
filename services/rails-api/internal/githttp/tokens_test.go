package githttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/bot"
	"gitsplit/services/rails-api/internal/deploytoken"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/visibility"
)

// deployToken makes a deploy token and returns it as a caller.
func (b *bench) deployToken(src member.Source, username string, ends time.Time, scopes ...string) (deploytoken.Token, caller) {
	b.TB.Helper()
	t, plain, err := deploytoken.New(b.DB).Create(b.TB.Context(), deploytoken.NewToken{
		Source: src, CreatorID: b.creator.ID, Name: "t", Username: username, Scopes: scopes, ExpiresAt: ends,
	})
	b.Must(err)
	return t, caller{name: t.Username, password: plain}
}

// TestServe_deployTokens: row 6 of wire/workhorse.md §10.2. A token is no credential where it does not belong, and never pushes.
func TestServe_deployTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.creator = b.User("ada")
	g := b.Group("team", visibility.Public)
	sub := b.Group("sub", visibility.Public, g)
	p := b.Project(g.ID, "private", visibility.Private)
	b.Project(g.ID, "other", visibility.Private)
	b.Project(sub.ID, "deep", visibility.Private)
	b.Project(g.ID, "public", visibility.Public)
	outside := b.Project(b.creator.NamespaceID, "outside", visibility.Private)
	later := b.Time.Add(time.Hour)
	const upload = "You are not allowed to upload code."
	made, ofProject := b.deployToken(member.OfProject(p.ID), "", later, "read_repository", "read_registry")
	if want := fmt.Sprintf("gitlab+deploy-token-%d", made.ID); made.Username != want {
		t.Errorf("user name %q, want %q", made.Username, want)
	}
	_, ofGroup := b.deployToken(member.OfNamespace(g.ID), "robot", later, "read_repository")
	_, registry := b.deployToken(member.OfProject(p.ID), "robot", later, "read_registry")
	_, expired := b.deployToken(member.OfProject(p.ID), "robot", b.Time, "read_repository")
	gone, removed := b.deployToken(member.OfProject(outside.ID), "robot", later, "read_repository")
	b.Must(deploytoken.New(b.DB).Remove(t.Context(), gone.Source, gone.ID))
	for _, tc := range []struct {
		name       string
		who        caller
		path       string
		pull, push string
	}{
		{"of the project", ofProject, "team/private", "{", upload},
		{"of another project", ofProject, "team/other", denied, upload},
		{"of another project", ofProject, "team/public", denied, upload},
		{"an absent project", ofProject, "team/absent", denied, upload},
		{"an absent namespace", ofProject, "absent", denied, upload},
		{"of the group", ofGroup, "team/private", "{", upload},
		{"of the group above", ofGroup, "team/sub/deep", "{", upload},
		{"outside the group", ofGroup, "ada/outside", denied, upload},
		{"without the scope", registry, "team/private", "You are not allowed to download code.", upload},
		{"another user name", caller{name: "robot", password: ofProject.password}, "team/private", denied, denied},
		{"no user name", caller{password: ofProject.password}, "team/private", denied, denied},
		{"a wrong secret", caller{name: ofProject.name, password: "gldt-x"}, "team/private", denied, denied},
		{"expired", expired, "team/private", denied, denied},
		{"removed", removed, "ada/outside", denied, denied},
	} {
		url := "/" + tc.path + ".git/"
		check(t, tc.name, b.send(tc.who, http.MethodGet, url+pull), statusOf(tc.pull), tc.pull)
		check(t, tc.name, b.send(tc.who, http.MethodGet, url+push), statusOf(tc.push), tc.push)
	}
	var answer struct {
		ID       string `json:"GL_ID"`
		Username string `json:"GL_USERNAME"`
	}
	b.Must(json.Unmarshal(b.send(ofProject, http.MethodPost, "/team/private.git/git-upload-pack").Body.Bytes(), &answer))
	if answer.ID != fmt.Sprintf("deploy-token-%d", made.ID) || answer.Username != made.Username {
		t.Errorf("actor %+v", answer)
	}
}

// TestServe_bots: row 5 of wire/workhorse.md §10.2 for the tokens of projects and groups, at their level and within their scopes.
func TestServe_bots(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.Group("team", visibility.Public)
	p := b.Project(g.ID, "private", visibility.Private)
	b.Project(g.ID, "other", visibility.Private)
	b.Project(g.ID, "public", visibility.Public)
	ada := b.User("ada")
	make := func(src member.Source, level member.Level, scope string) (bot.Token, caller) {
		made, plain, err := bot.New(b.DB).Create(t.Context(), bot.NewToken{
			Source: src, Level: level, CreatorID: ada.ID, Host: "git.example.test", Token: token.NewToken{Name: "robot", Scopes: []string{scope}},
		})
		b.Must(err)
		return made, caller{name: "anything", password: plain}
	}
	made, developer := make(member.OfProject(p.ID), member.Developer, "write_repository")
	_, reader := make(member.OfProject(p.ID), member.Maintainer, "read_repository")
	_, guest := make(member.OfProject(p.ID), member.Guest, "api")
	_, ofGroup := make(member.OfNamespace(g.ID), member.Developer, "api")
	ended, removed := make(member.OfProject(p.ID), member.Developer, "api")
	_, err := bot.New(b.DB).Remove(t.Context(), ended.UserID)
	b.Must(err)
	for _, tc := range []struct {
		name       string
		who        caller
		path       string
		pull, push string
	}{
		{"developer", developer, "team/private", "{", "{"},
		{"developer of another project", developer, "team/other", denied, denied},
		{"developer of another project", developer, "team/public", "{", noPush},
		{"an absent project", developer, "team/absent", denied, denied},
		{"an absent namespace", developer, "absent", denied, denied},
		{"reader", reader, "team/private", "{", "You are not allowed to upload code."},
		{"guest", guest, "team/private", noPull, noPush},
		{"of the group", ofGroup, "team/other", "{", "{"},
		{"of the group, absent", ofGroup, "team/absent", denied, "{"}, // made by the push, as for any developer
		{"no user name", caller{password: developer.password}, "team/private", denied, denied},
		{"removed", removed, "team/private", denied, denied},
		{"a password", caller{name: "anything", password: "anything"}, "team/private", denied, denied},
	} {
		url := "/" + tc.path + ".git/"
		check(t, tc.name, b.send(tc.who, http.MethodGet, url+pull), statusOf(tc.pull), tc.pull)
		check(t, tc.name, b.send(tc.who, http.MethodGet, url+push), statusOf(tc.push), tc.push)
	}
	if body := b.send(developer, http.MethodPost, "/team/private.git/git-receive-pack").Body.String(); !strings.Contains(body, fmt.Sprintf(`"GL_ID":"user-%d"`, made.UserID)) {
		t.Errorf("actor: %s", body)
	}
}

// TestServe_jobToken: there are no CI jobs yet; git is not made to ask for another password.
func TestServe_jobToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Public)
	got := b.send(caller{name: "gitlab-ci-token", password: b.token(ada, "api")}, http.MethodGet, "/ada/p.git/"+pull)
	if got.Code != http.StatusUnauthorized || got.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
}

// TestServe_banned: wire/workhorse.md §10.1, row 3. Without credentials nothing changes.
func TestServe_banned(t *testing.T) {
	t.Parallel()
	b := setupWith(t, 2)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Public)
	good := caller{name: "ada", password: b.token(ada, "api")}
	check(t, "good", b.send(good, http.MethodGet, "/ada/p.git/"+pull), 200, "{")
	for range 2 {
		check(t, "wrong", b.send(caller{name: "x"}, http.MethodGet, "/ada/p.git/"+pull), 401, denied)
	}
	check(t, "banned", b.send(good, http.MethodGet, "/ada/p.git/"+pull), 403, "Too many failed sign-ins from your address.")
	check(t, "anonymous", b.send(caller{}, http.MethodGet, "/ada/p.git/"+pull), 200, "{")
}
