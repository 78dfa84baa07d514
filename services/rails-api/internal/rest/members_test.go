package rest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/member"
)

type memberShape struct {
	ID          int64
	Username    string
	State       string
	AccessLevel int        `json:"access_level"`
	CreatedAt   *time.Time `json:"created_at"`
	ExpiresAt   *string    `json:"expires_at"`
	Membership  string     `json:"membership_state"`
}

func TestMembers_project(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob, dev, owner := b.person("ann"), b.person("bob"), b.person("dev"), b.person("owner")
	g := b.group(owner, "g", "private")
	p := b.project(owner, map[string]any{"path": "p", "namespace_id": g.ID})
	b.join(member.OfProject(p.ID), ann, member.Maintainer)
	members := "projects/g%2Fp/members"
	var m memberShape
	day := b.now.AddDate(0, 0, 5).Format(time.DateOnly)
	b.as(ann).post(members, map[string]any{"user_id": dev.ID, "access_level": 30, "expires_at": day}).want(201).into(&m)
	if m.ID != dev.ID || m.AccessLevel != 30 || *m.ExpiresAt != day || m.CreatedAt == nil || m.Membership != "active" {
		t.Errorf("member: %+v", m)
	}
	b.as(ann).post(members, map[string]any{"user_id": dev.ID, "access_level": 30, "expires_at": nil}).text(409, `{"message":"Member already exists"}`)
	b.as(ann).post(members, map[string]any{"user_id": 999, "access_level": 30}).text(404, `{"message":"404 User Not Found"}`)
	b.as(ann).post(members, map[string]any{"username": "bob", "access_level": 35}).text(400, `{"error":"access_level does not have a valid value"}`)
	b.as(ann).post(members, map[string]any{"username": "bob", "access_level": 0}).text(400, `{"error":"access_level does not have a valid value"}`)
	b.as(ann).post(members, map[string]any{"access_level": 30}).
		text(400, `{"error":"user_id, username are missing, at least one parameter must be provided"}`)
	b.as(ann).post(members, map[string]any{"username": "bob", "access_level": 50}).text(403, `{"message":"403 Forbidden"}`)
	b.as(dev).post(members, map[string]any{"username": "bob", "access_level": 30}).text(403, `{"message":"403 Forbidden"}`)
	b.as(ann).post(members, map[string]any{"username": "bob", "access_level": 30, "expires_at": "2001-01-01"}).want(400)

	if got := b.as(dev).get(members).names("username"); got != "ann dev" {
		t.Errorf("members: %q", got)
	}
	if got := b.as(dev).get(members + "/all").names("username"); got != "ann dev owner" {
		t.Errorf("all members: %q", got)
	}
	if got := b.as(dev).get(members + "/all?query=own").names("username"); got != "owner" {
		t.Errorf("searched: %q", got)
	}
	b.as(dev).get(members+"/"+id(owner.ID)).text(404, `{"message":"404 Not found"}`)
	b.as(dev).get(members + "/all/" + id(owner.ID)).want(200).into(&m)
	if m.AccessLevel != 50 {
		t.Errorf("owner: %+v", m)
	}
	b.as(bob).get(members).text(404, noProject)

	one := members + "/" + id(dev.ID)
	b.as(ann).put(one, map[string]any{"access_level": 20}).want(200).into(&m)
	if m.AccessLevel != 20 || m.ExpiresAt == nil || *m.ExpiresAt != day {
		t.Errorf("changed: %+v", m)
	}
	b.as(ann).put(one, map[string]any{"access_level": 20, "expires_at": ""}).want(200).into(&m)
	if m.ExpiresAt != nil {
		t.Errorf("expiry is not cleared: %+v", m)
	}
	b.as(ann).put(one, map[string]any{"access_level": 50}).text(403, `{"message":"403 Forbidden"}`)
	b.as(dev).put(one, map[string]any{"access_level": 40}).text(403, `{"message":"403 Forbidden"}`)
	b.as(dev).delete(members+"/"+id(ann.ID)).text(403, `{"message":"403 Forbidden"}`)
	b.as(dev).delete(one).text(204, "")
	b.as(dev).get(members).text(404, noProject)
	b.as(ann).delete(one).text(404, `{"message":"404 Not found"}`)
}

func TestMembers_group(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob, carl := b.person("ann"), b.person("bob"), b.person("carl")
	g := b.group(ann, "g", "private")
	b.as(ann).post("groups/g/members", map[string]any{"user_id": bob.ID, "access_level": 40}).want(201)
	b.as(bob).post("groups/g/members", map[string]any{"user_id": carl.ID, "access_level": 10}).text(403, `{"message":"403 Forbidden"}`)
	b.as(carl).get("groups/g/members").text(404, noGroup)
	b.as(ann).delete("groups/g/members/" + id(ann.ID)).want(http.StatusForbidden) // the last owner
	b.as(bob).delete("groups/" + id(g.ID) + "/members/" + id(bob.ID)).want(204)
	if got := b.as(b.root).get("groups/g/members").names("username"); got != "ann" {
		t.Errorf("members: %q", got)
	}
}

func TestMembers_manyAreOneQuery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.group(b.root, "g", "private")
	for i := range 21 {
		b.join(member.OfNamespace(g.ID), b.person(fmt.Sprintf("p%02d", i)), member.Guest)
	}
	a := b.as(b.root).get("groups/g/members?per_page=10&page=2").header("X-Total", "22").header("X-Next-Page", "3").header("X-Prev-Page", "1")
	if got := len(a.list()); got != 10 {
		t.Errorf("page of %d", got)
	}
}
