package rest_test

import (
	"net/http"
	"testing"

	"gitsplit/services/rails-api/internal/member"
)

type groupShape struct {
	ID         int64
	Name, Path string
	FullPath   string `json:"full_path"`
	FullName   string `json:"full_name"`
	ParentID   *int64 `json:"parent_id"`
	WebURL     string `json:"web_url"`
	Visibility string
	Projects   []map[string]any
}

const noGroup = `{"message":"404 Group Not Found"}`

func TestGroups(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	var g, sub groupShape
	b.as(ann).post("groups", map[string]any{"name": "The Group", "path": "grp", "description": "d"}).want(201).into(&g)
	if g.FullPath != "grp" || g.ParentID != nil || g.Visibility != "private" || g.WebURL != "https://git.example/groups/grp" {
		t.Errorf("group: %+v", g)
	}
	b.as(ann).post("groups", map[string]any{"name": "S", "path": "sub", "parent_id": g.ID}).want(201).into(&sub)
	if sub.FullPath != "grp/sub" || sub.FullName != "The Group / S" || *sub.ParentID != g.ID {
		t.Errorf("subgroup: %+v", sub)
	}
	b.as(ann).post("groups", map[string]any{"name": "x", "path": "GRP"}).text(400, `{"message":{"path":["has already been taken"]}}`)
	b.as(ann).post("groups", map[string]any{"name": "x", "path": "a b"}).want(400)
	b.as(ann).post("groups", map[string]any{"name": "x", "path": "x", "parent_id": g.ID, "visibility": "public"}).want(400)
	b.as(bob).post("groups", map[string]any{"name": "x", "path": "x", "parent_id": g.ID}).text(404, noGroup)
	b.as(bob).post("groups", map[string]any{"name": "x", "path": "x", "parent_id": bob.NamespaceID}).text(404, noGroup)
	b.anonymous().post("groups", map[string]any{"name": "x", "path": "x"}).text(401, unauthorized)

	for _, c := range []client{b.anonymous(), b.as(bob)} {
		for _, path := range []string{"", "/projects", "/subgroups", "/members"} {
			c.get("groups/grp"+path).text(404, noGroup)
			c.get("groups/absent"+path).text(404, noGroup)
			c.get("groups/ann"+path).text(404, noGroup)
		}
	}
	b.as(bob).put("groups/grp", map[string]any{"name": "y"}).text(404, noGroup)
	b.as(bob).delete("groups/grp").text(404, noGroup)

	if got := b.as(ann).get("groups").names("full_path"); got != "grp/sub grp" {
		t.Errorf("groups by name: %q", got)
	}
	if got := b.as(ann).get("groups?top_level_only=true").names("full_path"); got != "grp" {
		t.Errorf("top groups: %q", got)
	}
	if got := b.as(bob).get("groups").names("full_path"); got != "" {
		t.Errorf("bob sees %q", got)
	}
	if got := b.as(ann).get("groups/grp/subgroups").names("full_path"); got != "grp/sub" {
		t.Errorf("subgroups: %q", got)
	}
	b.as(ann).get("groups/grp%2Fsub").want(200).into(&sub)
	if sub.Projects == nil || len(sub.Projects) != 0 {
		t.Errorf("projects of an empty group: %v", sub.Projects)
	}
	b.as(ann).delete("groups/grp").want(http.StatusConflict)
	b.as(ann).delete("groups/grp%2Fsub").text(202, `{"message":"202 Accepted"}`)
	b.as(ann).get("groups/grp%2Fsub").text(404, noGroup)
}

func TestGroups_update(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, dev := b.person("ann"), b.person("dev")
	g := b.group(ann, "old", "public")
	b.join(member.OfNamespace(g.ID), dev, member.Maintainer)
	b.project(ann, map[string]any{"path": "p", "namespace_id": g.ID})
	b.as(dev).put("groups/old", map[string]any{"name": "x"}).text(403, `{"message":"403 Forbidden"}`)
	var changed groupShape
	b.as(ann).put("groups/old", map[string]any{"path": "new", "name": "New"}).want(200).into(&changed)
	if changed.FullPath != "new" || changed.Name != "New" {
		t.Errorf("group: %+v", changed)
	}
	b.as(dev).get("groups/old/members?page=1&private_token=x").want(301).header("Location", "https://git.example/api/v4/groups/"+id(g.ID)+"/members?page=1")
	b.as(dev).get("groups/OLD").want(301)
	b.as(dev).get("groups/New").want(200)
	b.as(dev).get("projects/old%2Fp").want(301)
	b.as(ann).put("groups/old", map[string]any{"name": "x"}).want(http.StatusMethodNotAllowed)
	v4 := b.group(ann, "grps", "public")
	b.as(ann).put("groups/grps", map[string]any{"path": "other"}).want(200)
	b.as(ann).get("groups/grps").want(301).header("Location", "https://git.example/api/v4/groups/"+id(v4.ID))
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	b.group(ann, "grp", "private")
	b.group(bob, "open", "public")
	if got := b.as(ann).get("namespaces").names("full_path"); got != "grp ann" && got != "ann grp" {
		t.Errorf("namespaces: %q", got)
	}
	if got := b.as(ann).get("namespaces?search=grp").names("kind"); got != "group" {
		t.Errorf("search: %q", got)
	}
	if got := len(b.as(b.root).get("namespaces").list()); got != 5 {
		t.Errorf("root sees %d", got)
	}
	var ns groupShape
	b.as(ann).get("namespaces/ann").want(200).into(&ns)
	if ns.ID != ann.NamespaceID || ns.WebURL != "https://git.example/ann" {
		t.Errorf("namespace: %+v", ns)
	}
	b.as(bob).get("namespaces/grp").text(404, `{"message":"404 Namespace Not Found"}`)
	b.anonymous().get("namespaces").text(401, unauthorized)
}
