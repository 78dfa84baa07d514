package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/member"
)

// projectShape decodes as strictly as client-go does.
type projectShape struct {
	ID                int64      `json:"id"`
	Description       *string    `json:"description"`
	Name              string     `json:"name"`
	NameWithNamespace string     `json:"name_with_namespace"`
	Path              string     `json:"path"`
	PathWithNamespace string     `json:"path_with_namespace"`
	CreatedAt         *time.Time `json:"created_at"`
	DefaultBranch     string     `json:"default_branch"`
	TagList           []string   `json:"tag_list"`
	SSHURLToRepo      string     `json:"ssh_url_to_repo"`
	HTTPURLToRepo     string     `json:"http_url_to_repo"`
	WebURL            string     `json:"web_url"`
	ReadmeURL         *string    `json:"readme_url"`
	LastActivityAt    *time.Time `json:"last_activity_at"`
	Visibility        string     `json:"visibility"`
	Archived          bool       `json:"archived"`
	LFSEnabled        bool       `json:"lfs_enabled"`
	EmptyRepo         bool       `json:"empty_repo"`
	ImportStatus      string     `json:"import_status"`
	BuildTimeout      int64      `json:"build_timeout"`
	MergeEnabled      bool       `json:"merge_requests_enabled"`
	CreatorID         int64      `json:"creator_id"`
	Links             struct {
		Self string `json:"self"`
	} `json:"_links"`
	Namespace *struct {
		ID       int64  `json:"id"`
		Kind     string `json:"kind"`
		FullPath string `json:"full_path"`
	} `json:"namespace"`
	Owner *struct {
		Username string `json:"username"`
	} `json:"owner"`
	Permissions *struct {
		ProjectAccess *struct {
			AccessLevel int `json:"access_level"`
		} `json:"project_access"`
		GroupAccess *struct {
			AccessLevel int `json:"access_level"`
		} `json:"group_access"`
	} `json:"permissions"`
	Statistics *struct {
		CommitCount int64 `json:"commit_count"`
	} `json:"statistics"`
}

func TestProject_createAndGet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	var p, again projectShape
	b.as(ann).post("projects", map[string]any{
		"name": "My First (Project)", "visibility": "public", "description": "d", "tag_list": []string{}, "default_branch": "", "initialize_with_readme": true,
	}).want(201).into(&p)
	if p.Path != "my-first-project" || p.PathWithNamespace != "ann/my-first-project" || p.NameWithNamespace != "Name of ann / My First (Project)" ||
		p.SSHURLToRepo != "ssh://git@git.example:2222/ann/my-first-project.git" || p.HTTPURLToRepo != "https://git.example/ann/my-first-project.git" ||
		p.WebURL != "https://git.example/ann/my-first-project" || !p.EmptyRepo || p.DefaultBranch != "" || p.ImportStatus != "none" || !p.MergeEnabled ||
		p.ReadmeURL != nil || p.Namespace.Kind != "user" || p.Owner.Username != "ann" || p.CreatorID != ann.ID || p.TagList == nil ||
		p.Links.Self != "https://git.example/api/v4/projects/"+id(p.ID) {
		t.Errorf("project: %+v", p)
	}
	b.as(ann).get("projects/ann%2Fmy-first-project?license=true&with_custom_attributes=true&statistics=true").want(200).into(&again)
	if again.ID != p.ID || again.Permissions.ProjectAccess.AccessLevel != 50 || again.Permissions.GroupAccess != nil || again.Statistics == nil {
		t.Errorf("project: %+v", again)
	}
	var stranger projectShape
	b.anonymous().get("projects/" + id(p.ID)).want(200).into(&stranger)
	if stranger.Permissions != nil || stranger.Owner != nil {
		t.Errorf("to a stranger: %+v", stranger)
	}
}

func TestProject_createRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	g := b.group(bob, "g", "internal")
	b.project(ann, map[string]any{"path": "p"})
	taken := `{"message":{"name":["has already been taken"],"path":["has already been taken"],"project_namespace.name":["has already been taken"]}}`
	closed := `{"message":{"namespace":["is not valid"]}}`
	b.as(ann).post("projects", map[string]any{"path": "P"}).text(400, taken)
	b.as(ann).post("projects", map[string]any{}).text(400, `{"error":"name, path are missing, at least one parameter must be provided"}`)
	b.as(ann).post("projects", map[string]any{"path": "x", "namespace_id": g.ID}).text(400, closed)
	b.as(ann).post("projects", map[string]any{"path": "x", "namespace_id": bob.NamespaceID}).text(400, closed)
	b.as(ann).post("projects", map[string]any{"path": "x", "namespace_id": 999}).text(400, closed)
	b.as(bob).post("projects", map[string]any{"path": "x", "namespace_id": g.ID, "visibility": "public"}).
		text(400, `{"message":{"visibility_level":["public is not allowed in a internal group."]}}`)
	b.as(bob).post("projects", map[string]any{"path": "../x"}).want(400)
	b.as(bob).post("projects", map[string]any{"path": "x", "default_branch": "-x"}).text(400, `{"message":{"default_branch":["is not a valid branch name"]}}`)
	b.as(bob).post("projects", map[string]any{"path": "x", "visibility": "odd"}).text(400, `{"error":"visibility does not have a valid value"}`)
	b.anonymous().post("projects", map[string]any{"path": "x"}).text(401, unauthorized)
	b.as(b.root).post("projects", map[string]any{"path": "x", "namespace_id": g.ID}).want(201)
}

// TestProject_pathWithDot: client-go escapes the dot too (wire/rest-api.md §12.2).
func TestProject_pathWithDot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	var g, sub groupShape
	b.as(ann).post("groups", map[string]any{"name": "g", "path": "g"}).want(201).into(&g)
	b.as(ann).post("groups", map[string]any{"name": "sub", "path": "sub", "parent_id": g.ID}).want(201).into(&sub)
	b.project(ann, map[string]any{"path": "p.name", "namespace_id": sub.ID})
	for _, path := range []string{"g%2Fsub%2Fp%2Ename", "g%2fsub%2fp.name", "G%2FSUB%2FP.NAME"} {
		var p projectShape
		b.as(ann).get("projects/" + path).want(200).into(&p)
		if p.PathWithNamespace != "g/sub/p.name" {
			t.Errorf("%s: %+v", path, p)
		}
		b.as(ann).get("projects/" + path + "/members").want(200)
	}
	b.as(ann).get("projects/g%2Fsub%2Fp%2Ename%00").text(404, `{"message":"404 Not found"}`)
	b.as(ann).get("projects/%FF/members").text(404, `{"message":"404 Not found"}`)
	b.as(ann).get("projects/g%2F..%2Fg%2Fsub%2Fp.name").text(404, noProject)
	if got := b.as(ann).get("groups/g/projects").names("path"); got != "" {
		t.Errorf("projects of the group itself: %q", got)
	}
	if got := b.as(ann).get("groups/g/projects?include_subgroups=true").names("path"); got != "p.name" {
		t.Errorf("projects below the group: %q", got)
	}
}

func TestProject_list(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	b.project(ann, map[string]any{"path": "one", "visibility": "public"})
	two := b.project(ann, map[string]any{"path": "two"})
	b.project(bob, map[string]any{"path": "three", "visibility": "internal"})
	b.join(member.OfProject(two.ID), bob, member.Reporter)
	cases := []struct {
		who   client
		query string
		want  string
	}{
		{b.anonymous(), "order_by=id&sort=asc", "one"},
		{b.as(ann), "order_by=id&sort=asc", "one two three"},
		{b.as(ann), "", "three two one"},
		{b.as(ann), "owned=true&order_by=last_activity_at&sort=asc&page=1&per_page=30", "one two"},
		{b.as(bob), "membership=true&order_by=path&sort=asc", "three two"},
		{b.as(bob), "min_access_level=20&owned=false&order_by=id&sort=asc", "two three"},
		{b.as(bob), "visibility=private", "two"},
		{b.as(ann), "search=thr", "three"},
		{b.as(ann), "search=nothing", ""},
		{b.as(b.root), "order_by=name&sort=desc&simple=true", "two three one"},
		{b.as(ann), "archived=true", ""},
		{b.as(ann), "order_by=similarity&search=o&owned=true", "two one"},
	}
	for _, tc := range cases {
		if got := tc.who.get("projects?" + tc.query).names("path"); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.query, got, tc.want)
		}
	}
	if e := b.as(ann).get("projects?simple=true").list()[0]; e["permissions"] != nil || e["_links"] != nil {
		t.Error("the simple list is not simple")
	}
	var full []projectShape
	b.as(bob).get("projects?order_by=id&sort=asc").want(200).into(&full)
	if full[0].Permissions.ProjectAccess != nil || full[1].Permissions.ProjectAccess.AccessLevel != 20 {
		t.Errorf("permissions: %+v", full)
	}
	b.as(ann).get("projects?order_by=odd").text(400, `{"error":"order_by does not have a valid value"}`)
	if got := b.as(ann).get("users/" + id(bob.ID) + "/projects").names("path"); got != "three" {
		t.Errorf("projects of bob: %q", got)
	}
}

func TestProject_keyset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 5 {
		b.project(b.root, map[string]any{"path": fmt.Sprintf("p%d", i)})
	}
	seen, next := []string{}, "projects?pagination=keyset&order_by=id&sort=asc&per_page=2"
	for range 3 {
		a := b.as(b.root).get(next).header("X-Total", "")
		seen = append(seen, a.names("path"))
		link := a.Header().Get("Link")
		next = strings.TrimPrefix(strings.TrimSuffix(link, `>; rel="next"`), "<https://git.example/api/v4/")
	}
	if got := strings.Join(seen, "|"); got != "p0 p1|p2 p3|p4" || next != "" {
		t.Errorf("pages: %s, then %q", got, next)
	}
	a := b.as(b.root).get("projects?pagination=keyset&order_by=id&per_page=2")
	if got := a.names("path"); got != "p4 p3" || !strings.Contains(a.Header().Get("Link"), "id_before=") {
		t.Errorf("downwards: %s, %s", got, a.Header().Get("Link"))
	}
	b.as(b.root).get("projects?pagination=keyset").text(400, `{"error":"order_by does not have a valid value"}`)
}

func TestProject_update(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	made := b.project(ann, map[string]any{"path": "old", "description": "d"})
	b.project(ann, map[string]any{"path": "other"})
	b.join(member.OfProject(made.ID), bob, member.Maintainer)
	var p projectShape
	b.as(bob).put("projects/ann%2Fold", map[string]any{"description": "", "visibility": "internal"}).want(200).into(&p)
	if p.Description != nil || p.Visibility != "internal" {
		t.Errorf("updated: %+v", p)
	}
	if !p.LFSEnabled {
		t.Error("LFS is off from the start")
	}
	b.as(bob).put("projects/ann%2Fold", map[string]any{"lfs_enabled": false}).want(200).into(&p)
	if p.LFSEnabled {
		t.Error("LFS was not turned off")
	}
	if without := b.project(ann, map[string]any{"path": "small", "lfs_enabled": false}); without.LFSEnabled {
		t.Error("made with LFS")
	}
	b.as(bob).put("projects/ann%2Fold", map[string]any{"path": "fresh"}).text(403, `{"message":"403 Forbidden"}`)
	b.as(ann).put("projects/ann%2Fold", map[string]any{"path": "OTHER"}).want(400)
	b.as(ann).put("projects/ann%2Fold", map[string]any{"path": "fresh", "wiki_enabled": true}).want(200).into(&p)
	if p.PathWithNamespace != "ann/fresh" {
		t.Errorf("renamed: %+v", p)
	}
	b.as(ann).get("projects/ann%2Fold?license=true").want(301).header("Location", "https://git.example/api/v4/projects/"+id(made.ID)+"?license=true")
	b.as(ann).get("projects/ann%2Fold/repository/tree").want(301).header("Location", "https://git.example/api/v4/projects/"+id(made.ID)+"/repository/tree")
	b.as(ann).put("projects/ann%2Fold", map[string]any{"description": "x"}).want(http.StatusMethodNotAllowed)
	b.anonymous().get("projects/ann%2Fold").text(404, noProject)

	b.as(bob).post("projects/ann%2Ffresh/archive", nil).text(403, `{"message":"403 Forbidden"}`)
	b.as(ann).post("projects/ann%2Ffresh/archive", nil).want(201).into(&p)
	if !p.Archived {
		t.Errorf("archived: %+v", p)
	}
	b.as(ann).post("projects/ann%2Ffresh/unarchive", nil).want(201).into(&p)
	if p.Archived {
		t.Errorf("unarchived: %+v", p)
	}
	b.as(bob).delete("projects/ann%2Ffresh").text(403, `{"message":"403 Forbidden"}`)
	b.as(ann).delete("projects/ann%2Ffresh").text(202, `{"message":"202 Accepted"}`)
	b.as(ann).get("projects/ann%2Ffresh").text(404, noProject)
}

func TestProject_defaultBranch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.project(b.root, map[string]any{"path": "p"})
	repo := b.gitaly.repos[p.DiskPath]
	b.as(b.root).put("projects/root%2Fp", map[string]any{"default_branch": "trunk"}).want(200)
	if repo.head != "trunk" {
		t.Errorf("HEAD is %q", repo.head)
	}
	b.gitaly.fill(p.DiskPath, 1, 1)
	_, err := b.db.Exec(t.Context(), "UPDATE projects SET empty_repo = false")
	b.must(err)
	var shape projectShape
	b.as(b.root).put("projects/root%2Fp", map[string]any{"default_branch": "feat/000"}).want(200).into(&shape)
	if repo.head != "feat/000" || shape.DefaultBranch != "feat/000" {
		t.Errorf("HEAD is %q, the project says %q", repo.head, shape.DefaultBranch)
	}
	b.as(b.root).put("projects/root%2Fp", map[string]any{"default_branch": "absent"}).
		text(400, `{"message":{"base":["Could not set the default branch. Do you have a branch named 'absent' in your repository?"]}}`)
	b.as(b.root).put("projects/root%2Fp", map[string]any{"default_branch": "a..b"}).want(400)
}
