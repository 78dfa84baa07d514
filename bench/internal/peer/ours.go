package peer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/e2e/stack"
)

// Ours is a running gitsplit, with a user for the benchmark.
type Ours struct {
	*stack.Stack
	account
	site  *Site
	Token string // of the user
	ID    int64  // of the user
	ids   map[string]int64
}

// Username is the user that all of the benchmark's own pushes and fetches come from.
const Username = "bench"

// userPassword is the user's; Git over HTTP uses the token.
const userPassword = "correct-horse-battery" //nolint:gosec // of this run

// Up starts the programs in bin with their state in home. The user and the key are
// made at the first start. Extra variables go to its environment.
func Up(ctx context.Context, s *Site, bin, home string, extra ...string) (*Ours, error) {
	o := &Ours{site: s, ids: map[string]int64{}, account: newAccount(filepath.Base(home))}
	err := o.group.Start(func() (err error) {
		o.Stack, err = stack.Start(ctx, bin, home, extra...)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, o.group.Close())
	}
	if o.ID, o.Token, err = o.User(ctx, Username, s.Key+".pub"); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// User makes a user with a token and, unless publicKey is "", an SSH key. One that
// is there already gets a new token only.
func (o *Ours) User(ctx context.Context, name, publicKey string) (id int64, token string, err error) {
	root, err := o.Stack.Token()
	if err != nil {
		return 0, "", err
	}
	var made struct {
		ID    int64  `json:"id"`
		Token string `json:"token"`
	}
	var there []struct {
		ID int64 `json:"id"`
	}
	if err := o.Must(ctx, root, http.MethodGet, "users?username="+name, nil, &there); err != nil {
		return 0, "", err
	}
	if len(there) == 1 {
		id = there[0].ID
	} else {
		err := o.Must(ctx, root, http.MethodPost, "users", map[string]any{
			"username": name, "name": name, "email": name + "@example.test", "password": userPassword, "skip_confirmation": true,
		}, &made)
		if err != nil {
			return 0, "", err
		}
		id = made.ID
	}
	path := fmt.Sprintf("users/%d/personal_access_tokens", id)
	if err := o.Must(ctx, root, http.MethodPost, path, map[string]any{"name": "bench", "scopes": []string{"api"}}, &made); err != nil {
		return 0, "", err
	}
	if publicKey == "" || len(there) == 1 {
		return id, made.Token, nil
	}
	key, err := os.ReadFile(publicKey) //nolint:gosec // made for this run
	if err != nil {
		return 0, "", err
	}
	return id, made.Token, o.Must(ctx, made.Token, http.MethodPost, "user/keys", map[string]any{"title": "bench", "key": string(key)}, nil)
}

// public is the name of the copy of a repository that needs no credentials.
func public(repo string) string { return repo + "-public" }

// Place makes a private project and a public one, puts the content on disk, and pushes
// main, so that the instance learns of it as of any first push.
func (o *Ours) Place(ctx context.Context, name string, r fixture.Repo) error {
	for _, project := range []string{name, public(name)} {
		if err := o.Fill(ctx, o.Token, project, project != name, r); err != nil {
			return err
		}
	}
	return nil
}

// Fill makes a project in the name space of the token's owner and fills it.
func (o *Ours) Fill(ctx context.Context, token, name string, open bool, r fixture.Repo) error {
	dir, err := o.create(ctx, token, name, open)
	if err != nil {
		return err
	}
	if err := fixture.Place(r, dir); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-C", dir, "update-ref", "-d", "refs/heads/main"},
		{"--git-dir", r.Dir, "push", "--quiet", o.web(o.HTTP, "oauth2", token)(o.owner(ctx, token), name), r.Tip + ":refs/heads/main"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // git
		cmd.Env = o.site.Env()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[2], err, out)
		}
	}
	return nil
}

// owner names the user of a token.
func (o *Ours) owner(ctx context.Context, token string) string {
	var me struct {
		Username string `json:"username"`
	}
	_ = o.Must(ctx, token, http.MethodGet, "user", nil, &me) // the push says what is wrong
	return me.Username
}

// Empty makes an empty private project.
func (o *Ours) Empty(ctx context.Context, name string) error {
	_, err := o.create(ctx, o.Token, name, false)
	return err
}

// create makes a project and returns where its repository is (wire/gitaly.md §3.1).
func (o *Ours) create(ctx context.Context, token, name string, open bool) (dir string, err error) {
	visibility := "private"
	if open {
		visibility = "public"
	}
	var made struct {
		ID int64 `json:"id"`
	}
	if err := o.Must(ctx, token, http.MethodPost, "projects", map[string]any{"name": name, "path": name, "visibility": visibility}, &made); err != nil {
		return "", err
	}
	o.ids[name] = made.ID
	return o.Dir(made.ID), nil
}

// Dir is where the repository of a project lies.
func (o *Ours) Dir(project int64) string {
	h := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, project)))
	return filepath.Join(o.Home, "data", "repositories", "@hashed", h[:2], h[2:4], h+".git")
}

// Project returns the id of a project that was placed.
func (o *Ours) Project(name string) int64 { return o.ids[name] }

// Processes names the supervised processes, by their pids.
func (o *Ours) Processes() map[string]int {
	raw, err := os.ReadFile(filepath.Join(o.Home, "run", "status.json"))
	var status struct {
		Processes []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"processes"`
	}
	if err != nil || json.Unmarshal(raw, &status) != nil {
		return nil
	}
	out := map[string]int{}
	for _, p := range status.Processes {
		if p.PID != 0 {
			out[p.Name] = p.PID
		}
	}
	return out
}

// Roots are all services, with PostgreSQL and Redis.
func (o *Ours) Roots() []int {
	var out []int
	for _, pid := range o.Processes() {
		out = append(out, pid)
	}
	return out
}

// CPU is what all of them and git have used.
func (o *Ours) CPU() time.Duration { return o.used(o.Roots()) }

// Close stops the instance.
func (o *Ours) Close() error { return errors.Join(o.Stop(), o.group.Close()) }

// web returns URLs on one of the instance's addresses, with credentials or without.
func (o *Ours) web(base, user, token string) func(owner, repo string) string {
	if user != "" {
		base = strings.Replace(base, "://", "://"+user+":"+token+"@", 1)
	}
	return func(owner, repo string) string { return fmt.Sprintf("%s/%s/%s.git", base, owner, repo) }
}

// SSH is the instance over SSH.
func (o *Ours) SSH() (Remote, error) {
	shell, err := gitwire.NewShell(o.SSHHost+":"+o.SSHPort, "git", o.site.Key)
	return Remote{
		Name: "gitsplit SSH", Server: o, Shell: &shell, Env: []string{"GIT_SSH_COMMAND=" + o.site.SSHCommand()},
		URL: func(repo string) string {
			return fmt.Sprintf("ssh://git@%s:%s/%s/%s.git", o.SSHHost, o.SSHPort, Username, repo)
		},
		Path: func(repo string) string { return Username + "/" + repo + ".git" },
	}, err
}

// Web is the instance over HTTP and HTTPS: the public projects without credentials,
// then the private ones with them.
func (o *Ours) Web() ([]Remote, error) {
	var out []Remote
	for _, v := range []struct {
		name, base, user string
		repo             func(string) string
	}{
		{"gitsplit HTTP", o.HTTP, "", public},
		{"gitsplit HTTPS", o.HTTPS, "", public},
		{"gitsplit HTTP", o.HTTP, Username, func(s string) string { return s }},
		{"gitsplit HTTPS", o.HTTPS, Username, func(s string) string { return s }},
	} {
		kept, err := gitwire.Kept(128, o.CA)
		if err != nil {
			return nil, err
		}
		url, bare := o.web(v.base, v.user, o.Token), o.web(v.base, "", "")
		out = append(out, Remote{
			Name: v.name, Server: o, Args: []string{"-c", "http.sslCAInfo=" + o.CA},
			URL: func(repo string) string { return url(Username, v.repo(repo)) },
			Web: func(repo string) gitwire.Web {
				return gitwire.Web{Client: kept, URL: bare(Username, v.repo(repo)), User: v.user, Password: o.Token}
			},
		})
	}
	return out, nil
}
