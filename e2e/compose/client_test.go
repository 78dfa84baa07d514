//go:build compose

package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// client is a person with a directory, who trusts what gitsplit shows, and no more.
type client struct {
	s     *stack
	dir   string
	env   []string
	token string
	http  *http.Client
}

// newClient fetches what clients need, as the first block of the banner does, and
// registers a key.
func (s *stack) newClient() *client {
	s.t.Helper()
	c := &client{s: s, dir: s.t.TempDir()}
	for _, what := range []string{"ca", "known-hosts", "token"} {
		text := s.compose("exec", "-T", "rails-api", "gitsplit", "show", what)
		if err := os.WriteFile(c.path(what), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		if what == "token" {
			c.token = strings.TrimSpace(text)
		}
	}
	helper := fmt.Sprintf("!f() { test \"$1\" = get && echo username=root && echo \"password=$(cat %s)\"; }; f", c.path("token"))
	c.env = append(slices.Clone(s.env), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=3", "GIT_SSL_CAINFO="+c.path("ca"),
		"GIT_CONFIG_KEY_0=credential.helper", "GIT_CONFIG_VALUE_0="+helper,
		"GIT_CONFIG_KEY_1=user.name", "GIT_CONFIG_VALUE_1=Root", "GIT_CONFIG_KEY_2=user.email", "GIT_CONFIG_VALUE_2=root@localhost",
		"GIT_SSH_COMMAND=ssh -F none -i "+c.path("key")+" -o IdentitiesOnly=yes -o UserKnownHostsFile="+c.path("known-hosts"))
	c.http = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: trusting(s.t, c.path("ca"))}}
	s.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.path("key"))
	key, err := os.ReadFile(c.path("key.pub"))
	if err != nil {
		s.t.Fatal(err)
	}
	c.api(http.MethodPost, "user/keys", map[string]any{"title": c.dir, "key": string(key)}, nil)
	return c
}

func (c *client) path(name string) string { return filepath.Join(c.dir, name) }

func (c *client) https(path string) string {
	return fmt.Sprintf("https://localhost:%d/%s", c.s.https, path)
}

func (c *client) ssh(path string) string {
	return fmt.Sprintf("ssh://git@localhost:%d/%s", c.s.ssh, path)
}

// api asks the REST API over HTTPS and decodes the answer into answer.
func (c *client) api(method, path string, body, answer any) {
	c.s.t.Helper()
	if err := c.tryAPI(method, path, body, answer); err != nil {
		c.s.t.Fatal(err)
	}
}

func (c *client) tryAPI(method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(c.s.t.Context(), method, c.https("api/v4/"+path), bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("PRIVATE-TOKEN", c.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s %w", method, path, res.StatusCode, got, err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}

// git runs git and returns what it printed.
func (c *client) git(dir string, args ...string) string {
	c.s.t.Helper()
	out, err := c.tryGit(dir, args...)
	if err != nil {
		c.s.t.Fatal(err)
	}
	return out
}

func (c *client) tryGit(dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = dir, c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %v: %w\n%s", args, err, out)
	}
	if strings.Contains(string(out), "fatal:") {
		return "", fmt.Errorf("git %v, though well:\n%s", args, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// repository makes one with a commit.
func (c *client) repository(name string) string {
	c.s.t.Helper()
	dir := c.path(name)
	c.git(c.dir, "init", "--quiet", "--initial-branch=main", dir)
	c.git(dir, "commit", "--quiet", "--allow-empty", "--message", "first")
	return dir
}
