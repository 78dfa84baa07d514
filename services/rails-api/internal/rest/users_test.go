package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/key"
)

func id(n int64) string { return strconv.FormatInt(n, 10) }

func TestUser_current(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	// As client-go declares the types; null or another type where it expects one of these fails its decoder.
	var me struct {
		ID             int64           `json:"id"`
		Username       string          `json:"username"`
		Name           string          `json:"name"`
		State          string          `json:"state"`
		Locked         bool            `json:"locked"`
		WebURL         string          `json:"web_url"`
		CreatedAt      *time.Time      `json:"created_at"`
		LastActivityOn json.RawMessage `json:"last_activity_on"`
		Email          string          `json:"email"`
		ProjectsLimit  int64           `json:"projects_limit"`
		Identities     []struct{}      `json:"identities"`
		NamespaceID    int64           `json:"namespace_id"`
		IsAdmin        *bool           `json:"is_admin"`
		Bot            bool            `json:"bot"`
	}
	b.as(ann).get("user").want(200).into(&me)
	if me.ID != ann.ID || me.Username != "ann" || me.Email != "ann@example.org" || me.State != "active" || me.NamespaceID != ann.NamespaceID ||
		me.WebURL != "https://git.example/ann" || me.IsAdmin != nil || me.Identities == nil || me.CreatedAt == nil {
		t.Errorf("user is %+v", me)
	}
	b.as(b.root).get("user").want(200).into(&me)
	if me.IsAdmin == nil || !*me.IsAdmin {
		t.Error("root is no administrator")
	}
	b.anonymous().get("user").text(401, unauthorized)
}

func TestUser_list(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	b.person("annabel")
	if got := b.as(ann).get("users?username=ANN").names("username"); got != "ann" {
		t.Errorf("by name: %s", got)
	}
	if got := b.as(ann).get("users?search=ann&order_by=username&sort=asc").names("username"); got != "ann annabel" {
		t.Errorf("by search: %s", got)
	}
	if got := b.as(ann).get("users?username=nobody").names("username"); got != "" {
		t.Errorf("absent: %s", got)
	}
	if e := b.as(ann).get("users?username=ann").list()[0]; e["email"] != nil {
		t.Error("an address is shown to others")
	}
	if e := b.as(b.root).get("users?username=ann").list()[0]; e["email"] != "ann@example.org" {
		t.Error("the address is not shown to administrators")
	}
	if got := b.as(ann).get("users?search=root@example.org").header("X-Total", "0").names("username"); got != "" {
		t.Errorf("an address leads to %s", got)
	}
	if got := b.as(b.root).get("users?search=ann@example.org").names("username"); got != "ann" {
		t.Errorf("an address leads root to %q", got)
	}
	b.anonymous().get("users").text(401, unauthorized)

	var one map[string]any
	b.as(ann).get("users/" + id(b.root.ID)).want(200).into(&one)
	if one["username"] != "root" || one["email"] != nil || one["is_admin"] != nil {
		t.Errorf("user: %v", one)
	}
	b.as(ann).get("users/999").text(404, `{"message":"404 User Not Found"}`)
	b.as(ann).get("users/x").text(404, `{"message":"404 User Not Found"}`)
}

// TestList_headers pages through 0, 1, exactly 20, 21 and 101 rows (wire/rest-api.md §12.3).
func TestList_headers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made := 0
	for _, total := range []int{0, 1, 20, 21, 101} {
		for ; made < total; made++ {
			_, err := b.db.Exec(t.Context(), "INSERT INTO ssh_keys (user_id, title, key, fingerprint_sha256) VALUES ($1, 't', 'k', $2)", b.root.ID, fmt.Sprint(made))
			b.must(err)
		}
		pages := max((total+19)/20, 1)
		url := func(page int) string {
			return fmt.Sprintf("<https://git.example/api/v4/user/keys?page=%d&per_page=20>", page)
		}
		link, next := url(1)+`; rel="first", `+url(pages)+`; rel="last"`, ""
		if pages > 1 {
			link, next = url(2)+`; rel="next", `+link, "2"
		}
		a := b.as(b.root).get("user/keys")
		if got := len(a.list()); got != min(total, 20) {
			t.Errorf("%d rows: the page has %d", total, got)
		}
		a.header("X-Total", strconv.Itoa(total)).header("X-Total-Pages", strconv.Itoa(pages)).header("X-Page", "1").header("X-Per-Page", "20").
			header("X-Next-Page", next).header("X-Prev-Page", "").header("Link", link)
	}
	a := b.as(b.root).get("user/keys?page=6")
	if got := len(a.list()); got != 1 {
		t.Errorf("the last page has %d", got)
	}
	a.header("X-Next-Page", "").header("X-Prev-Page", "5")
	if got := len(b.as(b.root).get("user/keys?page=7").list()); got != 0 {
		t.Errorf("beyond the end there are %d", got)
	}
	if got := len(b.as(b.root).get("user/keys?per_page=500").header("X-Per-Page", "100").list()); got != 100 {
		t.Errorf("500 rows asked, %d came", got)
	}
	b.as(b.root).get("user/keys?per_page=0").text(400, `{"error":"per_page does not have a valid value"}`)
	b.as(b.root).get("user/keys?page=-1").text(400, `{"error":"page does not have a valid value"}`)
}

func TestUser_admin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	body := map[string]any{"username": "bob", "name": "Bob", "email": "bob@example.org", "password": "long enough"}
	for _, do := range []struct{ method, path string }{{"POST", "users"}, {"PUT", "users/1"}, {"DELETE", "users/1"}, {"POST", "users/1/block"}, {"POST", "users/1/unblock"}} {
		b.as(ann).send(do.method, do.path, body).text(403, `{"message":"403 Forbidden"}`)
		b.anonymous().send(do.method, do.path, body).text(401, unauthorized)
	}
	root := b.as(b.root)
	var bob struct {
		ID       int64
		Username string
		IsAdmin  bool `json:"is_admin"`
		State    string
		Name     string
	}
	root.post("users", body).want(201).into(&bob)
	if bob.Username != "bob" || bob.IsAdmin || bob.State != "active" {
		t.Errorf("created: %+v", bob)
	}
	root.post("users", body).text(409, `{"message":"Username has already been taken"}`)
	root.post("users", map[string]any{"username": "bob2", "name": "B", "email": "BOB@example.org", "force_random_password": true}).
		text(409, `{"message":"Email has already been taken"}`)
	root.post("users", map[string]any{"username": "x", "name": "X", "email": "x@example.org"}).
		text(400, `{"error":"password, reset_password, force_random_password are missing, at least one parameter must be provided"}`)
	root.post("users", map[string]any{"username": "x", "name": "X", "email": "x@example.org", "password": "short"}).
		text(400, `{"message":{"password":["is too short (minimum is 8 characters)"]}}`)
	root.post("users", map[string]any{"username": "a/b", "name": "X", "email": "x@example.org", "reset_password": true}).want(400)

	root.put("users/"+id(bob.ID), map[string]any{"name": "Robert", "admin": true}).want(200).into(&bob)
	if bob.Name != "Robert" || !bob.IsAdmin || bob.Username != "bob" {
		t.Errorf("updated: %+v", bob)
	}
	root.put("users/999", map[string]any{"name": "x"}).want(404)
	root.post("users/"+id(bob.ID)+"/block", nil).text(201, `true`)
	root.get("users/" + id(bob.ID)).want(200).into(&bob)
	if bob.State != "blocked" {
		t.Errorf("blocked: %+v", bob)
	}
	root.post("users/"+id(bob.ID)+"/unblock", nil).text(201, `true`)
	root.post("users/"+id(b.root.ID)+"/block", nil).text(403, `{"message":"403 Forbidden - The API initiating user cannot be blocked by the API"}`)
	root.delete("users/"+id(bob.ID)).text(204, "")
	root.delete("users/"+id(bob.ID)).text(404, `{"message":"404 User Not Found"}`)
	root.delete("users/" + id(b.root.ID)).want(403)

	b.project(ann, map[string]any{"path": "p"})
	root.delete("users/" + id(ann.ID)).want(http.StatusConflict)
}

const (
	ed25519Key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl one@example.org"
	dsaKey     = "ssh-dss AAAAB3NzaC1kc3MAAACBAPLEZIKB51ylWQ5tQqTKz4Tb2N7lKGlO7rmDg+lFAq4R8KTmXYJUNLNsCkmMBb7ZBZDgvDOyMZUb2Y0bNw1lvA== two"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	var k struct {
		ID         int64
		Title, Key string
		UsageType  string     `json:"usage_type"`
		CreatedAt  *time.Time `json:"created_at"`
		ExpiresAt  *time.Time `json:"expires_at"`
		LastUsedAt *time.Time `json:"last_used_at"`
	}
	body := map[string]any{"title": "laptop", "key": ed25519Key, "expires_at": b.now.AddDate(0, 1, 0).Format(time.RFC3339)}
	b.as(ann).post("user/keys", body).want(201).into(&k)
	if k.Title != "laptop" || k.Key != ed25519Key || k.UsageType != "auth_and_signing" || k.CreatedAt == nil || k.ExpiresAt == nil || k.LastUsedAt != nil {
		t.Errorf("key: %+v", k)
	}
	taken := `{"message":{"fingerprint_sha256":["has already been taken"],"key":["has already been taken"]}}`
	b.as(ann).post("user/keys", body).text(400, taken)
	b.as(bob).post("user/keys", body).text(400, taken)
	b.as(bob).post("user/keys", map[string]any{"title": "t"}).text(400, `{"error":"key is missing"}`)
	b.as(bob).post("user/keys", map[string]any{"title": "t", "key": "no key"}).want(400)
	b.as(bob).post("user/keys", map[string]any{"title": "t", "key": dsaKey}).want(400)
	b.as(bob).post("user/keys", map[string]any{"title": "t", "key": "k", "usage_type": "odd"}).text(400, `{"error":"usage_type does not have a valid value"}`)
	b.as(bob).post("user/keys", map[string]any{"title": "t", "key": "k", "expires_at": "2001-01-01"}).text(400, `{"message":{"expires_at":["must be in the future"]}}`)

	if got := b.as(ann).get("user/keys").names("title"); got != "laptop" {
		t.Errorf("keys: %s", got)
	}
	if got := b.as(bob).get("users/" + id(ann.ID) + "/keys").names("title"); got != "laptop" {
		t.Errorf("keys of ann: %s", got)
	}
	b.as(ann).get("user/keys/" + id(k.ID)).want(200)
	b.as(bob).get("user/keys/"+id(k.ID)).text(404, `{"message":"404 Key Not Found"}`)
	b.as(bob).delete("user/keys/"+id(k.ID)).text(404, `{"message":"404 Key Not Found"}`)
	b.as(bob).delete("users/"+id(ann.ID)+"/keys/"+id(k.ID)).text(403, `{"message":"403 Forbidden"}`)
	b.as(bob).post("users/"+id(ann.ID)+"/keys", body).text(403, `{"message":"403 Forbidden"}`)
	b.as(ann).delete("user/keys/"+id(k.ID)).text(204, "")
	b.as(ann).delete("user/keys/" + id(k.ID)).want(404)

	b.as(b.root).post("users/"+id(bob.ID)+"/keys", map[string]any{"title": "by root", "key": ed25519Key}).want(201).into(&k)
	stored, err := key.New(b.db).ByID(t.Context(), k.ID)
	b.must(err)
	if stored.UserID != bob.ID {
		t.Error("the key is not bob's")
	}
	b.as(b.root).delete("users/" + id(bob.ID) + "/keys/" + id(k.ID)).want(204)
}
