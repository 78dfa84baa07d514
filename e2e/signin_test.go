package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestFailedSignIns: after too many wrong passwords nothing from the address is heard, by Git and by the API; without credentials
// everything public goes on. The instance is its own, since on others failures from this host do not count.
func TestFailedSignIns(t *testing.T) {
	t.Parallel()
	s := startOwn(t, "RAILS_API_FAILED_LOGIN_EXEMPT=", "RAILS_API_FAILED_LOGIN_LIMIT=2")
	c := newClient(t, s, "http")
	dir := c.worktree("app")
	if err := s.Must(t.Context(), c.actor.Token, http.MethodPut, "projects/"+c.actor.Username+"%2Fapp", map[string]any{"visibility": "public"}, nil); err != nil {
		t.Fatal(err)
	}
	good := c.actor.Password
	push := func(password string) string {
		t.Helper()
		c.actor.Password = password
		out, _ := c.cmd(t.Context(), dir, "push", "origin", "main:refs/heads/x").CombinedOutput()
		return string(out)
	}
	for range 2 {
		if out := push("wrong"); !strings.Contains(out, "HTTP Basic: Access denied") {
			t.Errorf("a wrong password: %s", out)
		}
	}
	const banned = "remote: Too many failed sign-ins from your address."
	if out := push(good); !strings.Contains(out, banned) || !strings.Contains(out, "403") {
		t.Errorf("a push with the right password: %s", out)
	}
	status, body, err := s.API(t.Context(), c.actor.Token, http.MethodGet, "user", nil)
	if err != nil || status != http.StatusForbidden || !strings.Contains(string(body), "Too many failed sign-ins") {
		t.Errorf("the API: %d %s %v", status, body, err)
	}
	c.git(dir, "ls-remote", "origin") // asked for no credentials, git sends none
	status, body, err = s.API(t.Context(), "", http.MethodGet, "projects/"+c.actor.Username+"%2Fapp", nil)
	if err != nil || status != http.StatusOK {
		t.Errorf("a public project: %d %s %v", status, body, err)
	}
}
