package rest_test

import (
	"testing"

	"gitsplit/services/rails-api/internal/member"
)

func TestProtectedBranches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, dev := b.person("ann"), b.person("dev")
	p := b.project(ann, map[string]any{"path": "p"})
	b.join(member.OfProject(p.ID), dev, member.Developer)
	list := "projects/ann%2Fp/protected_branches"
	type rule struct {
		ID                int64
		Name              string
		AllowForcePush    bool             `json:"allow_force_push"`
		PushAccessLevels  []map[string]any `json:"push_access_levels"`
		MergeAccessLevels []map[string]any `json:"merge_access_levels"`
	}
	var r rule
	b.as(ann).post(list, map[string]any{"name": "release/*", "push_access_level": 0, "merge_access_level": 30}).want(201).into(&r)
	if r.Name != "release/*" || r.PushAccessLevels[0]["access_level"] != 0.0 || r.PushAccessLevels[0]["access_level_description"] != "No one" ||
		r.MergeAccessLevels[0]["access_level"] != 30.0 || r.AllowForcePush {
		t.Errorf("rule: %+v", r)
	}
	b.as(ann).post(list, map[string]any{"name": "release/*"}).text(409, `{"message":"Protected branch 'release/*' already exists"}`)
	b.as(ann).post(list, map[string]any{}).text(400, `{"error":"name is missing"}`)
	b.as(ann).post(list, map[string]any{"name": "x", "push_access_level": 10}).text(400, `{"error":"push_access_level does not have a valid value"}`)
	b.as(ann).post(list, map[string]any{"name": "dev"}).want(201).into(&r)
	if r.PushAccessLevels[0]["access_level_description"] != "Maintainers" {
		t.Errorf("rule: %+v", r)
	}
	if got := b.as(ann).get(list + "?search=rel").names("name"); got != "release/*" {
		t.Errorf("rules: %q", got)
	}
	if got := len(b.as(ann).get(list).list()); got != 2 {
		t.Errorf("%d rules", got)
	}
	b.as(ann).get(list + "/release%2F*").want(200).into(&r)
	b.as(ann).send("PATCH", list+"/release%2F%2A", map[string]any{"allow_force_push": true}).want(200).into(&r)
	if !r.AllowForcePush || r.MergeAccessLevels[0]["access_level"] != 30.0 {
		t.Errorf("changed: %+v", r)
	}
	b.as(dev).get(list).text(403, `{"message":"403 Forbidden"}`)
	b.as(dev).delete(list+"/dev").text(403, `{"message":"403 Forbidden"}`)
	b.as(ann).delete(list+"/dev").text(204, "")
	b.as(ann).delete(list+"/dev").text(404, `{"message":"404 Not found"}`)
	b.as(ann).get(list+"/dev").text(404, `{"message":"404 Not found"}`)
}
