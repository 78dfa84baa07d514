package rest_test

import (
	"strings"
	"testing"
	"time"
)

type tokenShape struct {
	ID         int64
	Name       string
	Revoked    bool
	Active     bool
	Scopes     []string
	UserID     int64      `json:"user_id"`
	CreatedAt  *time.Time `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	ExpiresAt  string     `json:"expires_at"`
	Token      string
}

func TestTokens_create(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	root := b.as(b.root)
	path := "users/" + id(ann.ID) + "/personal_access_tokens"
	day := b.now.AddDate(0, 0, 30).Format(time.DateOnly)
	var made tokenShape
	root.post(path, map[string]any{"name": "ci", "scopes": []string{"read_api", "write_repository", "read_api"}, "expires_at": day}).want(201).into(&made)
	if made.Name != "ci" || strings.Join(made.Scopes, " ") != "read_api write_repository" || made.ExpiresAt != day || !made.Active || made.UserID != ann.ID ||
		!strings.HasPrefix(made.Token, "glpat-") {
		t.Errorf("token: %+v", made)
	}
	b.with(made.Token).get("user").want(200)
	root.post(path, map[string]any{"name": "y", "scopes": "api"}).want(201).into(&made)
	if want := b.now.AddDate(0, 0, 365).Format(time.DateOnly); made.ExpiresAt != want {
		t.Errorf("default expiry is %s, want %s", made.ExpiresAt, want)
	}
	root.post(path, map[string]any{"name": "z", "scopes": []string{"odd"}}).text(400, `{"error":"scopes does not have a valid value"}`)
	root.post(path, map[string]any{"name": "z"}).text(400, `{"error":"scopes is missing"}`)
	root.post(path, map[string]any{"name": "z", "scopes": "api", "expires_at": "2001-01-01"}).text(400, `{"message":{"expires_at":["must be in the future"]}}`)
	root.post(path, map[string]any{"name": "z", "scopes": "api", "expires_at": "2999-01-01"}).want(400)
	root.post("users/999/personal_access_tokens", map[string]any{"name": "z", "scopes": "api"}).text(404, `{"message":"404 User Not Found"}`)
	b.as(ann).post(path, map[string]any{"name": "z", "scopes": "api"}).text(403, `{"message":"403 Forbidden"}`)

	b.as(ann).post("user/personal_access_tokens", map[string]any{"name": "z", "scopes": "api"}).text(400, `{"error":"scopes does not have a valid value"}`)
	b.as(ann).post("user/personal_access_tokens", map[string]any{"name": "z", "scopes": []string{"self_rotate"}}).want(201).into(&made)
	b.with(made.Token).get("user").want(403)
	b.with(made.Token).post("personal_access_tokens/self/rotate", nil).want(200)
}

func TestTokens_listAndRevoke(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.person("ann"), b.person("bob")
	var own tokenShape
	b.as(ann).get("personal_access_tokens/self").want(200).into(&own)
	if own.UserID != ann.ID || own.Token != "" {
		t.Errorf("self: %+v", own)
	}
	if got := len(b.as(ann).get("personal_access_tokens").list()); got != 1 {
		t.Errorf("ann sees %d tokens", got)
	}
	if got := len(b.as(b.root).get("personal_access_tokens").list()); got != 3 {
		t.Errorf("root sees %d tokens", got)
	}
	if got := len(b.as(b.root).get("personal_access_tokens?user_id=" + id(ann.ID)).list()); got != 1 {
		t.Errorf("root sees %d tokens of ann", got)
	}
	b.as(bob).get("personal_access_tokens?user_id="+id(ann.ID)).text(401, unauthorized)
	b.as(bob).get("personal_access_tokens/"+id(own.ID)).text(401, unauthorized)
	b.as(bob).get("personal_access_tokens/999").text(401, unauthorized)
	b.as(bob).delete("personal_access_tokens/"+id(own.ID)).text(401, unauthorized)
	b.as(bob).post("personal_access_tokens/"+id(own.ID)+"/rotate", nil).text(401, unauthorized)
	b.as(b.root).get("personal_access_tokens/999").text(404, `{"message":"404 Not found"}`)
	b.as(b.root).get("personal_access_tokens/" + id(own.ID)).want(200)

	b.as(b.root).delete("personal_access_tokens/"+id(own.ID)).text(204, "")
	b.as(ann).get("user").text(401, tokenRevoked)
	if got := len(b.as(b.root).get("personal_access_tokens?state=active&user_id=" + id(ann.ID)).list()); got != 0 {
		t.Errorf("%d active tokens are left", got)
	}
	b.with(b.token(bob.ID, "read_repository")).delete("personal_access_tokens/self").text(204, "")
}

func TestTokens_rotate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	var own, fresh tokenShape
	b.as(ann).get("personal_access_tokens/self").want(200).into(&own)
	b.as(ann).post("personal_access_tokens/"+id(own.ID)+"/rotate", map[string]any{"expires_at": "2001-01-01"}).want(400)
	b.as(ann).post("personal_access_tokens/"+id(own.ID)+"/rotate", nil).want(200).into(&fresh)
	if fresh.ID == own.ID || fresh.Token == "" || fresh.Name != own.Name || strings.Join(fresh.Scopes, " ") != "api" ||
		fresh.ExpiresAt != b.now.AddDate(0, 0, 7).Format(time.DateOnly) {
		t.Errorf("rotated: %+v", fresh)
	}
	b.as(ann).get("user").text(401, tokenRevoked)
	b.with(fresh.Token).get("user").want(200)
	b.as(b.root).post("personal_access_tokens/"+id(own.ID)+"/rotate", nil).want(400)
}

func TestTokens_rotateOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	own := b.token(b.root.ID, "api", "self_rotate")
	codes := make(chan int)
	const tries = 4
	for range tries {
		go func() { codes <- b.with(own).post("personal_access_tokens/self/rotate", nil).Code }()
	}
	good := 0
	for range tries {
		if <-codes == 200 {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d rotations of one token", good)
	}
}

func TestSudo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	sudo := b.with(b.token(b.root.ID, "api", "sudo"))
	for _, name := range []string{"ann", id(ann.ID)} {
		var me struct{ Username string }
		sudo.get("user?sudo=" + name).want(200).into(&me)
		if me.Username != "ann" {
			t.Errorf("sudo %s is %q", name, me.Username)
		}
	}
	sudo.post("users/"+id(ann.ID)+"/block", map[string]string{"sudo": "ann"}).text(403, `{"message":"403 Forbidden"}`)
	sudo.get("user?sudo=nobody").text(404, `{"message":"404 User with ID or username 'nobody' Not Found"}`)
	b.as(b.root).get("user?sudo=ann").want(403)
	b.with(b.token(ann.ID, "api", "sudo")).get("user?sudo=root").text(403, `{"message":"403 Forbidden - Must be admin to use sudo"}`)
	b.anonymous().get("projects?sudo=ann").text(401, unauthorized)
	if !strings.Contains(b.log.String(), `"user":"ann","token_id":`) || !strings.Contains(b.log.String(), `"sudoer":"root"`) {
		t.Errorf("no trace of sudo in the log: %s", b.log)
	}
}
