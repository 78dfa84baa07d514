package rest_test

import (
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/member"
)

func TestDeployKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, dev, eve := b.person("ann"), b.person("dev"), b.person("eve")
	p, other := b.project(ann, map[string]any{"path": "p"}), b.project(ann, map[string]any{"path": "other"})
	b.project(eve, map[string]any{"path": "hers"})
	b.join(member.OfProject(p.ID), dev, member.Developer)
	list := "projects/ann%2Fp/deploy_keys"
	type deployKey struct {
		ID          int64
		Title, Key  string
		Fingerprint string `json:"fingerprint_sha256"`
		CanPush     *bool  `json:"can_push"`
		ExpiresAt   *time.Time
	}
	var k deployKey
	b.as(ann).post(list, map[string]any{"title": "ci", "key": ed25519Key}).want(201).into(&k)
	if k.Title != "ci" || k.Key != ed25519Key || k.CanPush == nil || *k.CanPush || len(k.Fingerprint) != len("SHA256:")+43 {
		t.Errorf("key: %+v", k)
	}
	taken := `{"message":{"deploy_key.fingerprint_sha256":["has already been taken"]}}`
	b.as(ann).post(list, map[string]any{"title": "ci", "key": ed25519Key}).text(400, taken)
	b.as(eve).post("projects/eve%2Fhers/deploy_keys", map[string]any{"title": "ci", "key": ed25519Key}).text(400, taken)
	b.as(eve).post("user/keys", map[string]any{"title": "ci", "key": ed25519Key}).want(400)
	b.as(ann).post(list, map[string]any{"title": "ci"}).text(400, `{"error":"key is missing"}`)
	b.as(ann).post(list, map[string]any{"title": "ci", "key": "none"}).want(400)
	b.as(ann).post(list, map[string]any{"title": "ci", "key": "k", "expires_at": "2001-01-01"}).text(400, `{"message":{"expires_at":["must be in the future"]}}`)

	one := list + "/" + id(k.ID)
	b.as(ann).put(one, map[string]any{"title": "robot", "can_push": true}).want(200).into(&k)
	if k.Title != "robot" || !*k.CanPush {
		t.Errorf("changed: %+v", k)
	}
	b.as(ann).put(one, map[string]any{}).want(400)
	b.as(ann).get(one).want(200)
	if got := b.as(ann).get(list).names("title"); got != "robot" {
		t.Errorf("keys: %q", got)
	}
	if got := b.as(b.root).get("deploy_keys").names("title"); got != "robot" {
		t.Errorf("all keys: %q", got)
	}
	b.as(ann).get("deploy_keys").text(403, `{"message":"403 Forbidden"}`)
	for _, path := range []string{list, one} {
		b.as(dev).get(path).text(403, `{"message":"403 Forbidden"}`)
		b.as(eve).get(path).text(404, `{"message":"404 Project Not Found"}`)
	}
	b.as(ann).get("user/keys/"+id(k.ID)).text(404, `{"message":"404 Key Not Found"}`)
	b.as(ann).delete("user/keys/"+id(k.ID)).text(404, `{"message":"404 Key Not Found"}`)
	if got := b.as(ann).get("user/keys").names("title"); got != "" {
		t.Errorf("a deploy key among the user's: %q", got)
	}

	enable := "projects/" + id(other.ID) + "/deploy_keys/" + id(k.ID) + "/enable"
	b.as(eve).post("projects/eve%2Fhers/deploy_keys/"+id(k.ID)+"/enable", nil).text(404, `{"message":"404 Deploy Key Not Found"}`)
	for range 2 {
		b.as(ann).post(enable, nil).want(201).into(&k)
		if *k.CanPush {
			t.Error("an enabled key may push")
		}
	}
	b.as(ann).delete(one).text(204, "")
	b.as(ann).get(one).text(404, `{"message":"404 Deploy Key Not Found"}`)
	b.as(ann).get("projects/" + id(other.ID) + "/deploy_keys/" + id(k.ID)).want(200)
	b.as(ann).delete("projects/"+id(other.ID)+"/deploy_keys/"+id(k.ID)).text(204, "")
	b.as(eve).post("user/keys", map[string]any{"title": "mine now", "key": ed25519Key}).want(201)
}

// TestDeployKeys_projectDeleted: a key goes with the last project that has it, and
// may then be anybody's.
func TestDeployKeys_projectDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, eve := b.person("ann"), b.person("eve")
	first, last := b.project(ann, map[string]any{"path": "first"}), b.project(ann, map[string]any{"path": "last"})
	var k struct{ ID int64 }
	b.as(ann).post("projects/ann%2Ffirst/deploy_keys", map[string]any{"title": "ci", "key": ed25519Key}).want(201).into(&k)
	b.as(ann).post("projects/ann%2Flast/deploy_keys/"+id(k.ID)+"/enable", nil).want(201)
	b.as(ann).delete("projects/" + id(first.ID)).want(202)
	b.as(ann).get("projects/ann%2Flast/deploy_keys/" + id(k.ID)).want(200)
	b.as(eve).post("user/keys", map[string]any{"title": "mine", "key": ed25519Key}).want(400)
	b.as(ann).delete("projects/" + id(last.ID)).want(202)
	b.as(eve).post("user/keys", map[string]any{"title": "mine now", "key": ed25519Key}).want(201)
}
