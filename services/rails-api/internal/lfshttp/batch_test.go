package lfshttp_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/deploytoken"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

var absent = strings.Repeat("b", 64)

func batchOf(operation string, objects ...string) string {
	return `{"operation":"` + operation + `","transfers":["basic","lfs-standalone-file"],"ref":{"name":"refs/heads/main"},"hash_algo":"sha256","objects":[` +
		strings.Join(objects, ",") + `]}`
}

func named(oid string, size int) string { return fmt.Sprintf(`{"oid":%q,"size":%d}`, oid, size) }

// TestBatch_who: who may download and upload in whose project.
func TestBatch_who(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.Group("team", visibility.Public)
	private := b.Project(g.ID, "private", visibility.Private)
	b.Project(g.ID, "public", visibility.Public)
	off := b.Project(g.ID, "off", visibility.Public)
	no := false
	_, err := project.New(b.DB).Update(t.Context(), off.ID, project.Changes{LFSEnabled: &no})
	b.Must(err)
	people := map[string]user.User{}
	for name, level := range map[string]member.Level{"guest": member.Guest, "reporter": member.Reporter, "developer": member.Developer} {
		people[name] = b.User(name)
		b.Member(member.OfNamespace(g.ID), people[name], level)
	}
	people["stranger"] = b.User("stranger")
	reader, _ := b.DeployKey(people["developer"], private, key.NewKey{}, false)
	writer, _ := b.DeployKey(people["developer"], private, key.NewKey{}, true)
	who := map[string]caller{
		"anonymous": {}, "wrong": {"developer", "wrong"},
		"scope read": b.person(people["developer"], "read_repository"), "scope write": b.person(people["developer"], "write_repository"),
		"scope user": b.person(people["developer"], "read_user"),
	}
	for name, u := range people {
		who[name] = b.person(u)
	}
	for name, id := range map[string]int64{"reader": reader.ID, "writer": writer.ID} {
		for _, upload := range []bool{false, true} {
			grant := lfstoken.Grant{Actor: lfstoken.Actor{DeployKeyID: id}, ProjectID: private.ID, Upload: upload}
			who[fmt.Sprint(name, " key ", upload)] = b.lfs(fmt.Sprintf("lfs+deploy-key-%d", id), grant, nil)
		}
	}
	developer := people["developer"]
	for _, upload := range []bool{false, true} {
		grant := lfstoken.Grant{Actor: lfstoken.Actor{UserID: developer.ID}, ProjectID: private.ID, Upload: upload}
		who[fmt.Sprint("token ", upload)] = b.lfs("developer", grant, &developer)
	}
	who["token of another name"] = caller{"reporter", who["token true"].password}
	for _, tc := range []struct {
		who, path        string
		download, upload int
	}{
		{"anonymous", "team/public", 200, 401}, {"anonymous", "team/private", 401, 401}, {"anonymous", "team/absent", 401, 401},
		{"anonymous", "team/off", 403, 401}, {"wrong", "team/public", 401, 401},
		{"stranger", "team/public", 200, 403}, {"stranger", "team/private", 404, 404}, {"stranger", "stranger/absent", 404, 404},
		{"guest", "team/private", 403, 403}, {"reporter", "team/private", 200, 403}, {"developer", "team/private", 200, 200},
		{"developer", "TEAM/Private", 200, 200}, {"developer", "team/off", 403, 403},
		{"scope read", "team/private", 200, 403}, {"scope write", "team/private", 200, 200}, {"scope user", "team/private", 403, 403},
		{"token false", "team/private", 200, 403}, {"token true", "team/private", 200, 200}, {"token true", "team/public", 404, 404},
		{"token of another name", "team/private", 401, 401},
		{"reader key false", "team/private", 200, 403}, {"reader key true", "team/private", 200, 403}, {"reader key true", "team/public", 404, 404},
		{"writer key false", "team/private", 200, 403}, {"writer key true", "team/private", 200, 200},
	} {
		for operation, status := range map[string]int{"download": tc.download, "upload": tc.upload} {
			name := fmt.Sprintf("%s: %s %s", tc.who, operation, tc.path)
			got := b.send(who[tc.who], http.MethodPost, "/"+tc.path+".git/info/lfs/objects/batch", batchOf(operation, named(absent, 1)))
			got.want(name, status, map[int]string{200: `{"objects":[{"oid":"` + absent + `"…`, 401: denied + "…", 403: forbidden, 404: notFound}[status])
		}
	}
}

// TestBatch_deployToken: it downloads from its own project, with its own credentials.
func TestBatch_deployToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	o := b.LFSObject(p, "content")
	made, plain, err := deploytoken.New(b.DB).Create(t.Context(), deploytoken.NewToken{
		Source: member.OfProject(p.ID), CreatorID: ada.ID, Name: "t", Scopes: []string{deploytoken.ScopeReadRepository}, ExpiresAt: b.Time.AddDate(1, 0, 0),
	})
	b.Must(err)
	c := caller{made.Username, plain}
	got := b.send(c, http.MethodPost, "/ada/p.git/info/lfs/objects/batch", batchOf("download", named(o.OID, 7))).objects()
	if a := got[0].Actions["download"]; a.Header["Authorization"] != c.header() || a.ExpiresIn != 0 {
		t.Errorf("%+v", got)
	}
	b.send(c, http.MethodPost, "/ada/p.git/info/lfs/objects/batch", batchOf("upload", named(o.OID, 7))).want("upload", 403, forbidden)
}

func TestBatch_answer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p, q := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(ada.NamespaceID, "q", visibility.Public)
	mine, other := b.LFSObject(p, "content"), b.LFSObject(q, "other")
	me := b.person(ada)
	const url = "/ada/p.git/info/lfs/objects/batch"
	got := b.send(me, http.MethodPost, url, batchOf("download", named(mine.OID, 7), named(other.OID, 5), named("../x", 1))).objects()
	down := got[0].Actions["download"]
	if len(got) != 3 || down.Href != "https://git.example.test/ada/p.git/gitlab-lfs/objects/"+mine.OID || down.ExpiresIn != 1800 || got[0].Authenticated {
		t.Errorf("download %+v", got)
	}
	for _, o := range got[1:] { // of another project, and nonsense
		if o.Actions != nil || o.Error.Code != 404 || o.Error.Message != "Object does not exist on the server or you don't have permissions to access it" {
			t.Errorf("absent %+v", o)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(down.Header["Authorization"], "Basic "))
	b.Must(err)
	name, token, _ := strings.Cut(string(raw), ":")
	grant, bound, err := b.tokens.Verify(token, b.Time)
	granted := lfstoken.Grant{Actor: lfstoken.Actor{UserID: ada.ID}, ProjectID: p.ID, From: lfstoken.Origin{TokenID: grant.From.TokenID}}
	if err != nil || name != "ada" || !bound(ada) || grant != granted || grant.From.TokenID == 0 {
		t.Errorf("token of %q: %+v, %v", name, grant, err)
	}

	got = b.send(me, http.MethodPost, url, batchOf("upload", named(mine.OID, 7), named(other.OID, 5), named(mine.OID, 8), named(mine.OID, -1))).objects()
	up := got[1].Actions["upload"]
	if got[0].Actions != nil || got[0].Error != nil || up.Href != "https://git.example.test/ada/p.git/gitlab-lfs/objects/"+other.OID+"/5" || up.ExpiresIn != 1800 {
		t.Errorf("upload %+v", got)
	}
	up.Header["Authorization"] = ""
	want := map[string]string{"Authorization": "", "Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
	if diff := cmp.Diff(want, up.Header); diff != "" {
		t.Error(diff)
	}
	if got[2].Actions["upload"].Href == "" || got[3].Error.Code != 422 {
		t.Errorf("other sizes %+v", got[2:])
	}

	anyone := b.send(caller{}, http.MethodPost, "/ada/q.git/info/lfs/objects/batch", batchOf("download", named(other.OID, 5))).objects()
	if a := anyone[0].Actions["download"]; !anyone[0].Authenticated || len(a.Header) != 0 || a.ExpiresIn != 0 || a.Href == "" {
		t.Errorf("anonymous %+v", anyone)
	}
}

func TestBatch_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Private)
	me := b.person(ada)
	const url = "/ada/p.git/info/lfs/objects/batch"
	many := make([]string, 101)
	for i := range many {
		many[i] = named(absent, i)
	}
	for name, tc := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"no objects": {batchOf("download"), 404, notFound},
		"operation":  {batchOf("remove", named(absent, 1)), 422, `{"message":"The operation is neither download nor upload."` + help},
		"too many":   {batchOf("upload", many...), 413, `{"message":"More than 100 objects are too many for one request."` + help},
		"hash": {`{"operation":"upload","hash_algo":"md5","objects":[` + named(absent, 1) + `]}`, 409,
			`{"message":"The hash algorithm is not supported: use sha256."` + help},
		"transfers": {`{"operation":"upload","transfers":["ssh"],"objects":[` + named(absent, 1) + `]}`, 422,
			`{"message":"None of the transfer adapters is supported: use basic."` + help},
		"no JSON":       {"x", 422, `{"message":"The request is no JSON document of the kind that is expected."` + help},
		"two documents": {batchOf("upload") + "{}", 422, `{"message":"The request is no JSON document of the kind that is expected."` + help},
		"huge":          {`{"operation":"` + strings.Repeat("x", 2<<20) + `"}`, 413, `{"message":"The request is too large."` + help},
	} {
		b.send(me, http.MethodPost, url, tc.body).want(name, tc.status, tc.want)
	}
	const old = `{"message":"Server supports batch API only, please update your Git LFS client to version 1.0.1 and up."` + help
	b.send(me, http.MethodPost, "/ada/p.git/info/lfs/objects", "{}").want("old upload", 501, old)
	b.send(me, http.MethodGet, "/ada/p.git/info/lfs/objects/"+absent, "").want("old download", 501, old)
	_, err := b.DB.Exec(t.Context(), "ALTER TABLE users RENAME TO lost")
	b.Must(err)
	b.send(me, http.MethodPost, url, batchOf("upload", named(absent, 1))).want("schema broken", 500, `{"message":"Internal error, please tell your administrator the id …`)
}

// TestBatch_tokenEnds: an LFS token ends with its time, the account and the password.
func TestBatch_tokenEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	send := func(name string, c caller, status int, body string) {
		t.Helper()
		b.send(c, http.MethodPost, "/ada/p.git/info/lfs/objects/batch", batchOf("upload", named(absent, 1))).want(name, status, body)
	}
	grant := lfstoken.Grant{Actor: lfstoken.Actor{UserID: ada.ID}, ProjectID: p.ID, Upload: true}
	c := b.lfs("ada", grant, &ada)
	send("good", c, 200, `{"objects"…`)
	b.Time = b.Time.Add(lfstoken.Lifetime + time.Minute)
	send("late", c, 401, denied+"…")
	c = b.lfs("ada", grant, &ada)
	digest := "another"
	changed, err := user.New(b.DB).Update(t.Context(), ada.ID, user.Changes{PasswordDigest: &digest})
	b.Must(err)
	send("password changed", c, 401, denied+"…")
	c = b.lfs("ada", grant, &changed)
	send("a new token", c, 200, `{"objects"…`)
	err = user.New(b.DB).SetState(t.Context(), ada.ID, user.Blocked)
	b.Must(err)
	send("blocked", c, 401, denied+"…")
}

// TestBatch_originEnds: an LFS token ends with the access token or the SSH key that it was made for, also one that was made with an LFS
// token.
func TestBatch_originEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	const url = "/ada/p.git/info/lfs/objects/batch"
	// next returns the credentials of the transfers that c asks for.
	next := func(c caller) caller {
		t.Helper()
		list := b.send(c, http.MethodPost, url, batchOf("upload", named(absent, 1))).objects()
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(list[0].Actions["upload"].Header["Authorization"], "Basic "))
		b.Must(err)
		name, password, _ := strings.Cut(string(raw), ":")
		return caller{name, password}
	}
	k, _ := b.Key(ada, key.NewKey{})
	chains := map[string]struct {
		first caller
		end   string
	}{
		"access token": {b.person(ada), "UPDATE personal_access_tokens SET revoked = true WHERE user_id = $1"},
		"SSH key": {
			b.lfs("ada", lfstoken.Grant{Actor: lfstoken.Actor{UserID: ada.ID}, ProjectID: p.ID, Upload: true, From: lfstoken.Origin{KeyID: k.ID}}, &ada),
			"DELETE FROM ssh_keys WHERE user_id = $1",
		},
	}
	for name, chain := range chains {
		c := next(next(chain.first))
		if !strings.HasPrefix(c.password, "ey") || c.name != "ada" {
			t.Fatalf("%s: %+v is no LFS token", name, c)
		}
		b.send(c, http.MethodPost, url, batchOf("upload", named(absent, 1))).want(name, 200, `{"objects"…`)
		_, err := b.DB.Exec(t.Context(), chain.end, ada.ID)
		b.Must(err)
		b.send(c, http.MethodPost, url, batchOf("upload", named(absent, 1))).want(name+" is gone", 401, denied+"…")
	}
}

// TestBatch_off: an installation without LFS says so to everybody.
func TestBatch_off(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *access.Deps) { d.WithoutLFS = true })
	b.send(caller{}, http.MethodPost, "/ada/p.git/info/lfs/objects/batch", batchOf("upload")).
		want("off", 501, `{"message":"Git LFS is not enabled on this GitLab server, contact your admin."`+help)
}

// TestBatch_fork: in a fork, what its source has need not be uploaded by who reads that.
func TestBatch_fork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	source := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	reader := member.OfProject(source.ID)
	b.Member(reader, eve, member.Reporter)
	_, err := b.Repositories.Fork(t.Context(), source, project.NewProject{NamespaceID: eve.NamespaceID, Path: "p"}, "")
	b.Must(err)
	o, o2 := b.LFSObject(source, "content"), b.LFSObject(source, "another") // later than the fork
	const batch = "/eve/p.git/info/lfs/objects/batch"
	who := b.person(eve)
	send := func(operation string, objects ...string) []object {
		return b.send(who, http.MethodPost, batch, batchOf(operation, objects...)).objects()
	}
	if got := send("download", named(o.OID, 7)); got[0].Error == nil {
		t.Errorf("before: %+v", got)
	}
	if got := send("upload", named(o.OID, 7), named(absent, 7)); len(got[0].Actions) != 0 || len(got[1].Actions) != 1 {
		t.Errorf("upload: %+v", got)
	}
	if got := send("download", named(o.OID, 7)); got[0].Error != nil {
		t.Errorf("after: %+v", got)
	}
	b.Must(member.New(b.DB).Remove(t.Context(), reader, eve.ID))
	if got := send("upload", named(o2.OID, 7)); len(got[0].Actions) != 1 {
		t.Errorf("without access to the source: %+v", got)
	}
}
