package e2e_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestFailedSignIns: after too many wrong passwords nothing from the address is heard, by Git and by the API; without credentials
// everything public goes on, until it is too much in a minute. The instance is its own, since on others failures from this host do not
// count, and its limits would stop the other tests.
func TestFailedSignIns(t *testing.T) {
	t.Parallel()
	s := startOwn(t, "RAILS_API_FAILED_LOGIN_EXEMPT=", "RAILS_API_FAILED_LOGIN_LIMIT=2", "RAILS_API_API_ADDRESS_LIMIT=3")
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
	tooMany(t, s.HTTP+"/api/v4/projects")
	if out := c.git(dir, "ls-remote", "origin"); !strings.Contains(out, "refs/heads/main") {
		t.Errorf("Git after too many requests of the API: %s", out)
	}
}

// tooMany asks without a token until the limit of the address, 3 in a minute, is reached. A minute may end in between.
func tooMany(t *testing.T, url string) {
	t.Helper()
	for range 9 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		switch {
		case err != nil:
			t.Fatal(err)
		case res.StatusCode == http.StatusTooManyRequests:
			if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 || string(body) != `{"message":"Retry later"}` {
				t.Errorf("answer %q, %v", body, res.Header)
			}
			return
		case res.StatusCode != http.StatusOK:
			t.Fatalf("answer %d %s", res.StatusCode, body)
		}
	}
	t.Error("no limit was reached")
}
