package rest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

const (
	unauthorized    = `{"message":"401 Unauthorized"}`
	noProject       = `{"message":"404 Project Not Found"}`
	tokenRevoked    = `{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}`
	tokenExpired    = `{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}`
	scopeTooSmall   = `{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api"}`
	readScopeNeeded = `{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api read_api"}`
)

func TestAuth_carriers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	cases := map[string]func(r *http.Request){
		"private token header":  func(r *http.Request) { r.Header.Set("PRIVATE-TOKEN", ann.token) },
		"bearer":                func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+ann.token) },
		"bearer in lower case":  func(r *http.Request) { r.Header.Set("Authorization", "bearer  "+ann.token) },
		"private_token query":   func(r *http.Request) { r.URL.RawQuery = "private_token=" + ann.token },
		"access_token query":    func(r *http.Request) { r.URL.RawQuery = "access_token=" + ann.token },
		"header before a query": func(r *http.Request) { r.Header.Set("PRIVATE-TOKEN", ann.token); r.URL.RawQuery = "private_token=x" },
	}
	for name, carry := range cases {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v4/user", nil)
		carry(r)
		var me struct{ Username string }
		b.serve(r).want(200).into(&me)
		if me.Username != "ann" {
			t.Errorf("%s: user is %q", name, me.Username)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v4/user", nil)
	r.SetBasicAuth("ann", ann.token)
	b.serve(r).text(401, unauthorized)

	form := url.Values{"private_token": {ann.token}, "name": {"g"}, "path": {"g"}}
	b.anonymous().send(http.MethodPost, "groups", form).want(201)
	b.anonymous().post("groups", map[string]string{"access_token": ann.token, "name": "h", "path": "h"}).want(201)
}

func TestAuth_badTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	b.project(ann, map[string]any{"path": "open", "visibility": "public"})
	tokens := token.New(b.db)
	revoked := b.token(ann.ID, "api")
	found, err := tokens.ByPlain(t.Context(), revoked)
	b.must(err)
	b.must(tokens.Revoke(t.Context(), found.ID))
	expired := b.token(ann.ID, "api")
	_, err = b.db.Exec(t.Context(), "UPDATE personal_access_tokens SET expires_at = $1 WHERE user_id = $2 AND NOT revoked AND id = (SELECT max(id) FROM personal_access_tokens)",
		b.now.AddDate(0, 0, -1), ann.ID)
	b.must(err)
	b.must(user.New(b.db).SetState(t.Context(), bob.ID, user.Blocked))

	for _, path := range []string{"user", "projects/ann%2Fopen", "projects", "projects/1/nothing/../x"} {
		if strings.Contains(path, "nothing") {
			continue
		}
		b.with("glpat-nobody").get(path).text(401, unauthorized)
		b.with(revoked).get(path).text(401, tokenRevoked)
		b.with(expired).get(path).text(401, tokenExpired)
		b.with(bob.token).get(path).text(403, `{"message":"403 Forbidden - Your account has been blocked."}`)
	}
	if log := b.log.String(); strings.Contains(log, "glpat-") {
		t.Error("a token is in the log")
	}
}

// TestAuth_hiding: nobody learns that a private project exists (wire/rest-api.md §12.4).
func TestAuth_hiding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, stranger := b.person("ann"), b.person("stranger")
	hidden := b.project(ann, map[string]any{"path": "hidden"})
	b.project(ann, map[string]any{"path": "inside", "visibility": "internal"})
	b.project(ann, map[string]any{"path": "open", "visibility": "public"})
	absent := strconv.FormatInt(hidden.ID+1000, 10)
	reads := []string{"", "/members", "/members/all", "/members/1", "/repository/branches", "/repository/branches/main", "/repository/commits",
		"/repository/commits/main", "/repository/tree", "/repository/files/README.md", "/repository/files/README.md/raw"}
	for _, sub := range reads {
		for _, c := range []client{b.anonymous(), b.as(stranger)} {
			for _, id := range []string{"ann%2Fhidden", strconv.FormatInt(hidden.ID, 10), "ann%2Fabsent", absent, "0", "-1", "nothing", "99999999999999999999"} {
				c.get("projects/"+id+sub).text(404, noProject)
			}
		}
	}
	b.anonymous().get("projects/ann%2Finside").text(404, noProject)
	b.as(stranger).get("projects/ann%2Finside").want(200)
	b.anonymous().get("projects/ann%2Fopen").want(200)
	b.as(b.root).get("projects/ann%2Fhidden").want(200)

	writes := []struct{ method, path string }{
		{"PUT", ""}, {"DELETE", ""}, {"POST", "/archive"}, {"POST", "/members"}, {"DELETE", "/members/1"},
		{"POST", "/protected_branches"}, {"DELETE", "/protected_branches/main"}, {"POST", "/repository/branches"}, {"DELETE", "/repository/branches/x"},
	}
	body := map[string]any{"name": "x", "user_id": 1, "access_level": 30, "branch": "b", "ref": "main"}
	for _, w := range writes {
		for _, id := range []string{"ann%2Fhidden", "ann%2Fabsent", absent} {
			b.anonymous().send(w.method, "projects/"+id+w.path, body).text(401, unauthorized)
			b.as(stranger).send(w.method, "projects/"+id+w.path, body).text(404, noProject)
		}
		b.as(stranger).send(w.method, "projects/ann%2Fopen"+w.path, body).text(403, `{"message":"403 Forbidden"}`)
	}
}

func TestAuth_scopes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	p := b.project(ann, map[string]any{"path": "p"})
	b.gitaly.fill(p.DiskPath, 1, 0)
	scope := func(scopes ...string) client { return b.with(b.token(ann.ID, scopes...)) }

	scope("read_api").get("projects/ann%2Fp").want(200)
	scope("read_api").get("user").want(200)
	scope("read_api").post("projects", map[string]string{"path": "q"}).text(403, scopeTooSmall)
	scope("read_api").delete("projects/ann%2Fp").text(403, scopeTooSmall)
	scope("read_user").get("user").want(200)
	scope("read_user").get("user/keys").want(200)
	scope("read_user").get("projects").text(403, readScopeNeeded)
	scope("read_user").post("user/keys", map[string]string{"title": "t", "key": "k"}).text(403, scopeTooSmall)
	scope("read_repository").get("projects/ann%2Fp").text(403, readScopeNeeded)
	scope("read_repository").get("projects/ann%2Fp/repository/files/README.md/raw").want(200)
	scope("write_repository").get("projects/ann%2Fp/repository/files/README.md/raw").want(403)
	scope("write_repository").post("projects", map[string]string{"path": "q"}).text(403, scopeTooSmall)
	scope("write_repository", "read_api").get("projects").want(200)
	b.with(b.token(b.root.ID, "read_api")).post("users/"+strconv.FormatInt(ann.ID, 10)+"/block", nil).text(403, scopeTooSmall)
}

func TestParameters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	b.as(ann).post("groups", map[string]any{}).text(400, `{"error":"name is missing, path is missing"}`)
	b.as(ann).get("projects?visibility=odd&per_page=0").text(400, `{"error":"per_page does not have a valid value, visibility does not have a valid value"}`)
	b.as(ann).get("projects?unknown=1&with_custom_attributes=true").want(200)

	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v4/groups", strings.NewReader("{"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Private-Token", ann.token)
	b.serve(r).text(400, `{"error":"the request is malformed"}`)

	r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v4/groups", strings.NewReader("x"))
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Private-Token", ann.token)
	b.serve(r).want(http.StatusUnsupportedMediaType)

	large := map[string]string{"name": "n", "path": "p", "description": strings.Repeat("x", 1<<20)}
	b.as(ann).post("groups", large).text(413, `{"message":"413 Request Entity Too Large"}`)
}

// TestParameters_formIsJSON: both kinds of body do the same (wire/rest-api.md §12.12).
func TestParameters_formIsJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	form := url.Values{"name": {"One"}, "visibility": {"internal"}, "description": {"d"}, "tag_list[]": {"a"}, "default_branch": {""}}
	json := map[string]any{"name": "One", "visibility": "internal", "description": "d", "tag_list": []string{}, "default_branch": ""}
	strip := strings.NewReplacer("ann", "X", "bob", "X", strconv.FormatInt(ann.ID, 10), "0", strconv.FormatInt(bob.ID, 10), "0")
	var one, two map[string]any
	b.as(ann).send(http.MethodPost, "projects", form).want(201).into(&one)
	b.as(bob).post("projects", json).want(201).into(&two)
	for _, field := range []string{"name", "path", "visibility", "description", "path_with_namespace", "default_branch", "empty_repo"} {
		a, _ := one[field].(string)
		c, _ := two[field].(string)
		if strip.Replace(a) != strip.Replace(c) {
			t.Errorf("%s: form gave %q, JSON gave %q", field, a, c)
		}
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	b.as(ann).post("groups", map[string]string{"name": "g", "path": "g"}).want(201)
	b.as(ann).post("users", map[string]string{"name": "g"}).want(403)
	b.with("glpat-wrong").get("user").want(401)
	log := b.log.String()
	for _, want := range []string{
		`"msg":"audit","method":"POST","route":"/api/v4/groups","path":"/api/v4/groups","accepted":true`,
		`"msg":"audit","method":"POST","route":"/api/v4/users","path":"/api/v4/users","accepted":false`,
		`"msg":"audit","refused_token":"unknown"`,
		`"user":"ann"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the log:\n%s", want, log)
		}
	}
}
