package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

type resourceToken struct {
	tokenShape
	AccessLevel  int    `json:"access_level"`
	ResourceType string `json:"resource_type"`
	ResourceID   int64  `json:"resource_id"`
}

func TestAccessTokens_project(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, dev, stranger := b.person("ann"), b.person("dev"), b.person("stranger")
	p := b.project(ann, map[string]any{"path": "p"})
	other := b.project(ann, map[string]any{"path": "other"})
	b.join(member.OfProject(p.ID), dev, member.Developer)
	path := "projects/" + id(p.ID) + "/access_tokens"
	body := map[string]any{"name": "robot", "scopes": []string{"api"}, "access_level": 40, "expires_at": b.now.AddDate(0, 0, 9).Format(time.DateOnly)}
	var made resourceToken
	b.as(ann).post(path, body).want(201).into(&made)
	if made.AccessLevel != 40 || made.ResourceType != "project" || made.ResourceID != p.ID || !made.Active || !strings.HasPrefix(made.Token, "glpat-") {
		t.Errorf("made %+v", made)
	}
	robot := b.with(made.Token)
	var me struct {
		Username string
		Bot      bool
	}
	robot.get("user").want(200).into(&me)
	if !me.Bot || !strings.HasPrefix(me.Username, fmt.Sprintf("project_%d_bot_", p.ID)) {
		t.Errorf("the bot is %+v", me)
	}
	robot.get("projects/" + id(p.ID)).want(200)
	robot.get("projects/"+id(other.ID)).text(404, noProject)
	var listed []resourceToken
	b.as(ann).get(path).want(200).into(&listed)
	if len(listed) != 1 || listed[0].ID != made.ID || listed[0].Token != "" || listed[0].AccessLevel != 40 {
		t.Errorf("list %+v", listed)
	}
	b.as(ann).get("projects/"+id(other.ID)+"/access_tokens/"+id(made.ID)).text(404, `{"message":"404 Not found"}`)

	denied := `{"message":"400 Bad request - User does not have permission to create project access token"}`
	b.as(dev).post(path, body).text(400, denied)
	robot.post(path, body).text(400, denied)
	b.as(dev).get(path).text(401, unauthorized)
	b.as(dev).delete(path+"/"+id(made.ID)).text(401, unauthorized)
	b.as(stranger).get(path).text(404, noProject)
	b.as(stranger).post(path, body).text(404, noProject)
	b.anonymous().get(path).text(401, unauthorized)
	for change, fault := range map[[2]string]string{
		{"scopes", "sudo"}: `{"error":"scopes does not have a valid value"}`, {"access_level", "60"}: `{"error":"access_level does not have a valid value"}`,
		{"name", ""}: `{"error":"name is missing"}`, {"expires_at", "2001-01-01"}: `{"message":{"expires_at":["must be in the future"]}}`,
	} {
		bad := map[string]any{"name": "robot", "scopes": "api"}
		bad[change[0]] = change[1]
		if change[1] == "" {
			delete(bad, change[0])
		}
		b.as(ann).post(path, bad).text(400, fault)
	}
	b.as(ann).delete(path+"/"+id(made.ID)).text(204, "")
	robot.get("user").text(401, unauthorized)
	b.as(ann).get("users?username="+me.Username).text(200, "[]")
	b.as(ann).delete(path + "/" + id(made.ID)).want(404)
}

// TestAccessTokens_group: owners manage them; what is below the group is open to them.
func TestAccessTokens_group(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, maintainer := b.person("ann"), b.person("maintainer")
	g := b.group(ann, "team", visibility.Private)
	b.join(member.OfNamespace(g.ID), maintainer, member.Maintainer)
	p := b.project(ann, map[string]any{"path": "p", "namespace_id": g.ID})
	path := "groups/team/access_tokens"
	b.as(maintainer).get(path).text(401, unauthorized)
	var made resourceToken
	b.as(ann).post(path, map[string]any{"name": "robot", "scopes": "read_api", "access_level": 10}).want(201).into(&made)
	if made.ResourceType != "group" || made.ResourceID != g.ID || made.AccessLevel != 10 {
		t.Errorf("made %+v", made)
	}
	b.with(made.Token).get("projects/" + id(p.ID)).want(200)
	b.with(made.Token).post("projects", map[string]any{"path": "x"}).text(403, scopeTooSmall)
	b.as(ann).post(path, map[string]any{"name": "owner", "scopes": "api", "access_level": 50}).want(201).into(&made)
	// The only person who owns the group stays, whatever bots there are.
	b.as(ann).delete("groups/team/members/" + id(ann.ID)).want(403)
	// What only people have.
	robot := b.with(made.Token)
	robot.post("groups", map[string]any{"path": "x", "name": "x"}).want(403)
	robot.post("projects", map[string]any{"path": "x"}).want(400)
	robot.post("user/keys", map[string]any{"title": "t", "key": ed25519Key}).want(403)
	robot.post("user/personal_access_tokens", map[string]any{"name": "x", "scopes": "self_rotate"}).want(403)
	b.as(b.root).post("users/"+id(made.UserID)+"/personal_access_tokens", map[string]any{"name": "x", "scopes": "api"}).want(403)
	b.as(ann).post("projects/"+id(p.ID)+"/members", map[string]any{"user_id": made.UserID, "access_level": 40}).
		text(400, `{"message":{"user":["project bots cannot be added to other groups / projects"]}}`)
	if got := b.as(ann).get("users?humans=true&sort=asc").names("username"); got != "root ann maintainer" {
		t.Errorf("people: %s", got)
	}
	b.as(b.root).delete("groups/team/members/" + id(made.UserID)).want(204)
	robot.get("projects/"+id(p.ID)).text(404, noProject)
}

func TestAccessTokens_rotate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, maintainer := b.person("ann"), b.person("maintainer")
	p := b.project(ann, map[string]any{"path": "p"})
	b.join(member.OfProject(p.ID), maintainer, member.Maintainer)
	path := "projects/" + id(p.ID) + "/access_tokens"
	make := func(level int, scope string) (made resourceToken) {
		t.Helper()
		b.as(ann).post(path, map[string]any{"name": "robot", "scopes": scope, "access_level": level}).want(201).into(&made)
		return made
	}
	old, owner := make(30, "self_rotate"), make(50, "api")
	var fresh resourceToken
	b.with(old.Token).post(path+"/self/rotate", nil).want(200).into(&fresh)
	if fresh.ID == old.ID || fresh.UserID != old.UserID || fresh.AccessLevel != 30 || fresh.ExpiresAt != b.now.AddDate(0, 0, 7).Format(time.DateOnly) {
		t.Errorf("rotated: %+v", fresh)
	}
	b.with(old.Token).post(path+"/self/rotate", nil).text(401, tokenRevoked)
	b.as(maintainer).post(path+"/"+id(fresh.ID)+"/rotate", nil).want(200).into(&fresh)
	b.as(maintainer).post(path+"/"+id(old.ID)+"/rotate", nil).text(400, `{"message":"400 Bad request - Token already revoked or expired"}`)
	b.as(maintainer).post(path+"/"+id(owner.ID)+"/rotate", nil).
		text(400, `{"message":"400 Bad request - Not eligible to rotate token with access level higher than the user"}`)
	b.as(maintainer).delete(path + "/" + id(owner.ID)).want(403)
	b.as(maintainer).post(path, map[string]any{"name": "x", "scopes": "api", "access_level": 50}).
		text(400, `{"message":"400 Bad request - Access level of the token can't be greater the access level of the user who created the token"}`)
	b.as(maintainer).post(path+"/999/rotate", nil).text(401, unauthorized)
	b.as(b.root).post(path+"/999/rotate", nil).want(404)
	b.with(owner.Token).post(path+"/"+id(fresh.ID)+"/rotate", nil).text(401, unauthorized)
	b.as(ann).post(path+"/self/rotate", nil).want(http.StatusMethodNotAllowed)

	for query, want := range map[string]int{"": 4, "?state=active": 2, "?state=inactive": 2, "?revoked=true": 2, "?revoked=false": 2, "?search=ROB": 4, "?search=x": 0} {
		if got := len(b.as(ann).get(path + query).list()); got != want {
			t.Errorf("%q: %d tokens, want %d", query, got, want)
		}
	}
	// The end of a token that was replaced is not the end of its bot; that of the last one is.
	b.as(ann).delete(path + "/" + id(old.ID)).want(204)
	b.with(fresh.Token).get("personal_access_tokens/self").want(200)
	b.with(fresh.Token).delete("personal_access_tokens/self").want(204)
	b.as(b.root).get("users/" + id(fresh.UserID)).want(404)
	// A project takes its bots with it.
	_, err := b.db.Exec(t.Context(), "DELETE FROM projects WHERE id = $1", p.ID)
	b.must(err)
	if _, err := user.New(b.db).ByID(t.Context(), owner.UserID); err == nil {
		t.Error("the bot outlived its project")
	}
}

func TestTokens_revokedFilter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	extra := b.token(ann.ID, "api")
	b.with(extra).delete("personal_access_tokens/self").want(204)
	for query, want := range map[string]int{"": 2, "?revoked=true": 1, "?revoked=false": 1, "?revoked=true&state=active": 0} {
		if got := len(b.as(ann).get("personal_access_tokens" + query).list()); got != want {
			t.Errorf("%q: %d tokens, want %d", query, got, want)
		}
	}
	b.as(ann).get("personal_access_tokens?revoked=perhaps").text(400, `{"error":"revoked is invalid"}`)
}

func TestDeployTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, dev, maintainer := b.person("ann"), b.person("dev"), b.person("maintainer")
	g := b.group(ann, "team", visibility.Private)
	p := b.project(ann, map[string]any{"path": "p", "namespace_id": g.ID})
	b.join(member.OfNamespace(g.ID), dev, member.Developer)
	b.join(member.OfNamespace(g.ID), maintainer, member.Maintainer)
	ofProject, ofGroup := "projects/"+id(p.ID)+"/deploy_tokens", "groups/team/deploy_tokens"
	body := map[string]any{"name": "robot", "scopes": []string{"read_repository", "read_registry"}, "username": "custom", "expires_at": b.now.AddDate(0, 1, 0).Format(time.DateOnly)}
	type shape struct {
		ID               int64
		Username, Token  string
		Revoked, Expired *bool
		ExpiresAt        *time.Time `json:"expires_at"`
		Scopes           []string
	}
	var made shape
	b.as(maintainer).post(ofProject, body).want(201).into(&made)
	if made.Username != "custom" || !strings.HasPrefix(made.Token, "gldt-") || made.ExpiresAt == nil || *made.Expired || *made.Revoked || len(made.Scopes) != 2 {
		t.Errorf("made %+v", made)
	}
	one := ofProject + "/" + id(made.ID)
	b.as(maintainer).get(one).want(200).into(&made)
	b.as(dev).get(one).want(403)
	b.as(dev).post(ofProject, body).want(403)
	b.as(maintainer).get(ofGroup+"/"+id(made.ID)).text(404, `{"message":"404 Not found"}`)
	b.as(maintainer).post(ofGroup, body).want(403)
	b.as(dev).get(ofGroup).want(403)
	b.as(ann).post(ofGroup, map[string]any{"name": "robot", "scopes": "read_repository"}).want(201).into(&made)
	if want := "gitlab+deploy-token-" + id(made.ID); made.Username != want || made.ExpiresAt.After(b.now.AddDate(1, 0, 1)) {
		t.Errorf("defaults: %+v", made)
	}
	for change, fault := range map[[2]string]string{
		{"scopes", "write_repository"}: `{"error":"scopes does not have a valid value"}`,
		{"username", "a b"}:            `{"message":{"username":["can contain only letters, digits, '_', '-', '+', and '.'"]}}`,
		{"expires_at", "2001-01-01"}:   `{"message":{"expires_at":["must be in the future"]}}`,
	} {
		bad := map[string]any{"name": "robot", "scopes": "read_repository"}
		bad[change[0]] = change[1]
		b.as(ann).post(ofGroup, bad).text(400, fault)
	}
	b.with(made.Token).get("projects/"+id(p.ID)).text(401, unauthorized) // not for the API
	if got := b.as(b.root).get("deploy_tokens").names("username"); got != "custom "+made.Username {
		t.Errorf("all: %s", got)
	}
	b.as(ann).get("deploy_tokens").want(403)
	b.now = b.now.AddDate(0, 2, 0)
	root := b.with(b.token(b.root.ID, "api"))
	if got := root.get("deploy_tokens?active=true").names("username"); got != made.Username {
		t.Errorf("active: %s", got)
	}
	root.delete(one).text(204, "")
	root.delete(one).want(404)
}
