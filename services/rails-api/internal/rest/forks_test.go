package rest_test

import (
	"fmt"
	"net/http"
	"testing"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
)

type forkShape struct {
	projectShape
	ForksCount int           `json:"forks_count"`
	From       *projectShape `json:"forked_from_project"`
}

// source makes a project of p's with a history.
func (b *bench) source(p person, body map[string]any) project.Project {
	b.tb.Helper()
	made := b.project(p, body)
	b.gitaly.fill(made.DiskPath, 3, 2)
	_, err := b.db.Exec(b.tb.Context(), "UPDATE projects SET empty_repo = false WHERE id = $1", made.ID)
	b.must(err)
	return made
}

func TestFork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.person("ada"), b.person("eve")
	p := b.source(ada, map[string]any{"name": "App", "path": "app", "description": "d", "visibility": "internal"})
	var fork forkShape
	b.as(eve).post("projects/ada%2Fapp/fork", map[string]any{}).want(http.StatusCreated).into(&fork)
	if fork.PathWithNamespace != "eve/app" || fork.Name != "App" || *fork.Description != "d" || fork.Visibility != "internal" ||
		fork.ImportStatus != "finished" || fork.DefaultBranch != "main" || fork.EmptyRepo || fork.From == nil || fork.From.ID != p.ID {
		t.Errorf("%+v", fork)
	}
	b.as(eve).get("projects/eve%2Fapp/repository/branches/feat%2F001").want(http.StatusOK)
	b.as(eve).post("projects/ada%2Fapp/fork", map[string]any{}).
		text(http.StatusConflict, `{"message":["Project namespace name has already been taken","Name has already been taken","Path has already been taken"]}`)
	// Elsewhere, under another name, one branch, and never more open than the source or the group.
	g := b.group(eve, "team", "private")
	for _, body := range []map[string]any{
		{"namespace_id": g.ID, "path": "a", "visibility": "public"}, {"namespace_path": "team", "path": "b", "name": "B"},
		{"namespace": "team", "path": "c", "branches": "feat/001"}, {"path": "d", "visibility": "public"}, {"path": "e", "visibility": "private"},
	} {
		var made forkShape
		b.as(eve).post(fmt.Sprintf("projects/%d/fork", p.ID), body).want(http.StatusCreated).into(&made)
		want := map[string]string{"a": "team/a private main", "b": "team/b private main", "c": "team/c private feat/001", "d": "eve/d internal main", "e": "eve/e private main"}[made.Path]
		if got := made.PathWithNamespace + " " + made.Visibility + " " + made.DefaultBranch; got != want {
			t.Errorf("%v: %s", body, got)
		}
	}
	b.as(eve).put("projects/eve%2Fapp", map[string]any{"visibility": "public"}).
		text(http.StatusBadRequest, `{"message":{"visibility_level":["public is not allowed since the fork source project has lower visibility."]}}`)
	// The forks that one sees, and how many there are.
	for who, want := range map[*person]int{&ada: 2, &eve: 6} {
		var list []forkShape
		b.as(*who).get("projects/ada%2Fapp/forks").want(http.StatusOK).into(&list)
		if len(list) != want || list[0].From == nil {
			t.Errorf("%s sees %d forks: %+v", who.Username, len(list), list)
		}
	}
	for _, query := range []string{"", "?simple=true"} {
		var list []forkShape
		b.as(ada).get("users/" + fmt.Sprint(ada.ID) + "/projects" + query).want(http.StatusOK).into(&list)
		if len(list) != 1 || list[0].ForksCount != 6 {
			t.Errorf("%q: %+v", query, list)
		}
	}
	// Closed since, the source is not told to who may not see it, and deleted to nobody.
	b.as(ada).put("projects/ada%2Fapp", map[string]any{"visibility": "private"}).want(http.StatusOK)
	var hidden forkShape
	if b.as(eve).get("projects/eve%2Fapp").want(http.StatusOK).into(&hidden); hidden.From != nil {
		t.Errorf("%+v", hidden.From)
	}
	b.as(ada).delete("projects/ada%2Fapp").want(http.StatusAccepted)
	b.as(eve).get("projects/eve%2Fapp/repository/branches/main").want(http.StatusOK)
	b.as(eve).put("projects/eve%2Fapp", map[string]any{"visibility": "public"}).want(http.StatusOK)
}

func TestFork_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve, guest := b.person("ada"), b.person("eve"), b.person("guest")
	closed := b.source(ada, map[string]any{"path": "closed"})
	b.source(ada, map[string]any{"path": "open", "visibility": "public"})
	b.join(member.OfProject(closed.ID), guest, member.Guest)
	g := b.group(ada, "hidden", "private")
	b.group(ada, "seen", "public")
	for _, tc := range []struct {
		who    client
		path   string
		body   map[string]any
		status int
		want   string
	}{
		{b.anonymous(), "ada%2Fopen", nil, 401, `{"message":"401 Unauthorized"}`},
		{b.with(b.token(eve.ID, "read_api")), "ada%2Fopen", nil, 403, ""},
		{b.as(eve), "ada%2Fclosed", nil, 404, `{"message":"404 Project Not Found"}`},
		{b.as(eve), "ada%2Fabsent", nil, 404, `{"message":"404 Project Not Found"}`},
		{b.as(guest), "ada%2Fclosed", nil, 403, ""},
		{b.as(eve), "ada%2Fopen", map[string]any{"namespace_id": g.ID}, 404, `{"message":"404 Target Namespace Not Found"}`},
		{b.as(eve), "ada%2Fopen", map[string]any{"namespace_path": "seen"}, 404, `{"message":"404 Target Namespace Not Found"}`},
		{b.as(eve), "ada%2Fopen", map[string]any{"namespace_path": "ada"}, 404, `{"message":"404 Target Namespace Not Found"}`},
		{b.as(eve), "ada%2Fopen", map[string]any{"namespace": "absent"}, 404, `{"message":"404 Target Namespace Not Found"}`},
		{b.as(eve), "ada%2Fopen", map[string]any{"branches": "absent"}, 404, `{"message":"404 Branch Not Found"}`},
		{b.as(eve), "ada%2Fopen", map[string]any{"visibility": "none"}, 400, ""},
		{b.as(eve), "ada%2Fopen", map[string]any{"path": "a b"}, 400, ""},
	} {
		if tc.body == nil {
			tc.body = map[string]any{}
		}
		got := tc.who.post("projects/"+tc.path+"/fork", tc.body).want(tc.status)
		if tc.want != "" {
			got.text(tc.status, tc.want)
		}
	}
	if forks, err := project.New(b.db).CountForks(t.Context(), []int64{closed.ID}); err != nil || len(forks) != 0 {
		t.Errorf("%v, %v", forks, err)
	}
	b.anonymous().get("projects/ada%2Fclosed/forks").want(http.StatusNotFound)
}
