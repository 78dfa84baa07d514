package lfshttp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/visibility"
)

// TestLocks: the life of a lock, and who may end it.
func TestLocks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, dev, eve := b.User("ada"), b.User("dev"), b.User("eve")
	p := b.Project(ada.NamespaceID, "p", visibility.Public)
	b.Project(dev.NamespaceID, "other", visibility.Public)
	b.Member(member.OfProject(p.ID), dev, member.Developer)
	b.Member(member.OfProject(p.ID), eve, member.Developer)
	owner, developer, third := b.person(ada), b.person(dev), b.person(eve)
	const url = "/ada/p.git/info/lfs/locks"
	b.send(developer, http.MethodPost, url, `{"path":"art/logo.psd","ref":{"name":"refs/heads/main"}}`).want("create", 201, `{"lock":{"id":"…`)
	held, err := lfs.New(b.DB).Locks(t.Context(), p.ID, lfs.LockFilter{})
	b.Must(err)
	id := held[0].ID
	shape := fmt.Sprintf(`{"id":"%d","path":"art/logo.psd","locked_at":"%s","owner":{"name":"Name of dev"}}`, id, held[0].CreatedAt.Format("2006-01-02T15:04:05Z"))
	b.send(third, http.MethodPost, url, `{"path":"art/logo.psd"}`).want("taken", 409, `{"lock":`+shape+`,"message":"already locked"`+help)
	b.send(developer, http.MethodPost, url, `{"path":""}`).want("no path", 422, `{"message":"path is too long or blank"`+help)
	b.send(developer, http.MethodPost, url, `{"path":"`+strings.Repeat("x", 600)+`"}`).want("long path", 422, `{"message":"path is too long or blank"`+help)
	for query, want := range map[string]string{
		"": shape, "?path=art/logo.psd": shape, "?path=art": "", fmt.Sprintf("?id=%d", id): shape, "?id=0": "", "?id=x": "", "?refspec=refs/heads/x": shape,
	} {
		b.send(caller{}, http.MethodGet, url+query, "").want("list "+query, 200, `{"locks":[`+want+`]}`)
	}
	const mine, none = `{"ours":[%s],"theirs":[]}`, `{"ours":[],"theirs":[%s]}`
	b.send(developer, http.MethodPost, url+"/verify", `{}`).want("verify own", 200, fmt.Sprintf(mine, shape))
	b.send(third, http.MethodPost, url+"/verify", `{}`).want("verify", 200, fmt.Sprintf(none, shape))
	unlock := fmt.Sprintf("%s/%d/unlock", url, id)
	b.send(third, http.MethodPost, unlock, `{"force":false}`).want("not the owner", 403,
		fmt.Sprintf(`{"message":"art/logo.psd is locked by GitLab User %d"`, dev.ID)+help)
	b.send(third, http.MethodPost, unlock, `{"force":true}`).want("force without right", 403,
		`{"message":"You must have maintainer access to force delete a lock"`+help)
	b.send(developer, http.MethodPost, strings.Replace(unlock, "/ada/p.git", "/dev/other.git", 1), `{}`).want("of another project", 404, `{"message":"Lock not found"`+help)
	b.send(owner, http.MethodPost, unlock, `{"force":true}`).want("force", 200, `{"lock":`+shape+`}`)
	b.send(owner, http.MethodPost, unlock, `{"force":true}`).want("again", 404, `{"message":"Lock not found"`+help)
	b.send(developer, http.MethodPost, url, `{"path":"art/logo.psd"}`).want("create again", 201, `{"lock":{"id":"…`)
	held, err = lfs.New(b.DB).Locks(t.Context(), p.ID, lfs.LockFilter{})
	b.Must(err)
	b.send(developer, http.MethodPost, fmt.Sprintf("%s/%d/unlock", url, held[0].ID), `{}`).want("unlock", 200, `{"lock":{"id":"…`)
	b.send(developer, http.MethodPost, url+"/verify", `{}`).want("nothing locked", 200, `{"ours":[],"theirs":[]}`)
}

// TestLocks_refused: locks are for users who may push.
func TestLocks_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	p := b.Project(ada.NamespaceID, "p", visibility.Public)
	b.Project(ada.NamespaceID, "hidden", visibility.Private)
	stranger := b.person(eve)
	robot, _ := b.DeployKey(ada, p, key.NewKey{}, true)
	machine := b.lfs(fmt.Sprintf("lfs+deploy-key-%d", robot.ID), lfstoken.Grant{Actor: lfstoken.Actor{DeployKeyID: robot.ID}, ProjectID: p.ID, Upload: true}, nil)
	made, err := lfs.New(b.DB).LockFile(t.Context(), p.ID, ada.ID, "x")
	b.Must(err)
	const public, private = "/ada/p.git/info/lfs/locks", "/ada/hidden.git/info/lfs/locks"
	unlock := fmt.Sprintf("%s/%d/unlock", public, made.ID)
	for _, tc := range []struct {
		name, method, url string
		who               caller
		status            int
		want              string
	}{
		{"anonymous creates", http.MethodPost, public, caller{}, 401, denied + "…"},
		{"anonymous verifies", http.MethodPost, public + "/verify", caller{}, 401, denied + "…"},
		{"anonymous unlocks", http.MethodPost, unlock, caller{}, 401, denied + "…"},
		{"anonymous lists hidden ones", http.MethodGet, private, caller{}, 401, denied + "…"},
		{"stranger creates", http.MethodPost, public, stranger, 403, forbidden},
		{"stranger unlocks", http.MethodPost, unlock, stranger, 403, forbidden},
		{"stranger lists hidden ones", http.MethodGet, private, stranger, 404, notFound},
		{"deploy key creates", http.MethodPost, public, machine, 403, `{"message":"You have no permissions"` + help},
		{"deploy key unlocks", http.MethodPost, unlock, machine, 403, `{"message":"You have no permissions"` + help},
		{"deploy key verifies", http.MethodPost, public + "/verify", machine, 200, `{"ours":[],"theirs":[{"id":"…`},
	} {
		b.send(tc.who, tc.method, tc.url, `{"path":"y","force":true}`).want(tc.name, tc.status, tc.want)
	}
}
