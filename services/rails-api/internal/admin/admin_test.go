package admin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/riverqueue/river"

	"gitsplit/services/rails-api/internal/admin"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/jobs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
	"gitsplit/services/rails-api/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type console struct {
	*railstest.Bench
	deps admin.Deps
	in   string
}

func newConsole(t *testing.T) *console {
	t.Helper()
	b := railstest.New(t)
	inserter, err := worker.Inserter(b.DB, b.Log)
	b.Must(err)
	return &console{Bench: b, deps: admin.Deps{
		Passwords: railstest.Passwords(),
		DB:        b.DB, Projects: b.Repositories, Storages: b.Gitaly, Added: gitstorage.New(b.DB, b.Box), Jobs: inserter, Now: b.Now,
	}}
}

// run runs a command and returns what it prints.
func (c *console) run(line ...string) (string, error) {
	c.TB.Helper()
	var out bytes.Buffer
	d := c.deps
	d.In, d.Out = strings.NewReader(c.in), &out
	err := admin.Run(c.TB.Context(), d, line)
	return out.String(), err
}

// must is run for a command that succeeds; it returns the cells of the rows.
func (c *console) must(line string) [][]string {
	c.TB.Helper()
	text, err := c.run(strings.Fields(line)...)
	if err != nil {
		c.TB.Fatalf("%s: %v", line, err)
	}
	var rows [][]string
	for i, row := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i > 0 {
			rows = append(rows, strings.Split(row, "\t"))
		}
	}
	return rows
}

func TestRun_users(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	made := c.must("user create ada ada@example.org --admin --name Ada")
	if len(made) != 1 || made[0][1] != "ada" || len(made[0][2]) < 20 {
		t.Fatalf("created: %q", made)
	}
	signIn := func(name, password string) string {
		_, err := c.Auth(0).Login(t.Context(), auth.Credentials{Username: name, Password: password, Address: "192.0.2.1"})
		if err != nil {
			return err.Error()
		}
		return ""
	}
	if why := signIn("ada", made[0][2]); why != "" {
		t.Errorf("the printed password: %s", why)
	}
	c.in = "correct horse battery\n"
	if got := c.must("user password ada --password-stdin"); got[0][2] != "-" {
		t.Errorf("a password that was given is printed: %q", got)
	}
	if why := signIn("ada", "correct horse battery"); why != "" {
		t.Errorf("the given password: %s", why)
	}
	c.must("user block ada")
	if got := c.must("user list --state blocked"); len(got) != 1 || got[0][1] != "ada" || got[0][3] != "true" {
		t.Errorf("blocked: %q", got)
	}
	c.must("user unblock ada")
	if got := c.must("user list --state blocked"); len(got) != 0 {
		t.Errorf("still blocked: %q", got)
	}
	text, err := c.run("user", "list", "--json")
	var list []map[string]any
	if err != nil || json.Unmarshal([]byte(text), &list) != nil || len(list) != 1 || list[0]["name"] != "Ada" {
		t.Errorf("as JSON: %v %s", err, text)
	}
	if text, err := c.run("user", "list", "--search", "nobody", "--json"); err != nil || text != "[]\n" {
		t.Errorf("an empty list: %v %q", err, text)
	}
}

func TestRun_tokensAndKeys(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.User("ada")
	made := c.must("token create ada laptop --scopes read_api,read_user")
	if len(made) != 1 || !strings.HasPrefix(made[0][1], "glpat-") {
		t.Fatalf("created: %q", made)
	}
	if got := c.must("token list ada"); len(got) != 1 || got[0][3] != "read_api,read_user" || got[0][4] != "true" {
		t.Errorf("tokens: %q", got)
	}
	c.must("token revoke --yes " + made[0][0])
	if got := c.must("token list"); len(got) != 1 || got[0][4] != "false" {
		t.Errorf("revoked: %q", got)
	}
	c.in = "ssh-ed25519 " + c.Blob() + " somebody@somewhere\n"
	added := c.must("key add ada --title laptop")
	if got := c.must("key list ada"); len(got) != 1 || got[0][0] != added[0][0] || got[0][1] != "laptop" {
		t.Errorf("keys: %q", got)
	}
	c.must("key delete " + added[0][0] + " --yes")
	if got := c.must("key list ada"); len(got) != 0 {
		t.Errorf("deleted: %q", got)
	}
}

func TestRun_projectsAndJobs(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	p := c.Project(c.User("ada").NamespaceID, "app", visibility.Private)
	if got := c.must("project list --search app"); len(got) != 1 || got[0][1] != "ada/app" || got[0][4] != p.DiskPath {
		t.Errorf("projects: %q", got)
	}
	if _, err := c.run("project", "delete", "ada/app"); !isUsage(err) {
		t.Errorf("deleted without --yes: %v", err)
	}
	c.must("project delete ada/app --yes")
	if got := c.must("project list"); len(got) != 0 {
		t.Errorf("deleted: %q", got)
	}
	if got := c.must("job queues"); len(got) == 0 || got[0][1] != "project_cleanup" {
		t.Errorf("queues: %q", got)
	}
	for range 3 {
		_, err := c.deps.Jobs.Insert(t.Context(), jobs.ProjectCleanup{ProjectID: p.ID}, &river.InsertOpts{})
		c.Must(err)
	}
	_, err := c.DB.Exec(t.Context(), "UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE state = 'available'")
	c.Must(err)
	failed := c.must("job list")
	if len(failed) < 3 || failed[0][2] != "discarded" {
		t.Fatalf("failed: %q", failed)
	}
	c.must("job retry " + failed[0][0])
	c.must("job discard --yes " + failed[1][0])
	if got := c.must("job retry --all"); len(got) != len(failed)-2 {
		t.Errorf("retried: %q of %q", got, failed)
	}
	if got := c.must("job list"); len(got) != 0 {
		t.Errorf("still failed: %q", got)
	}
}

func isUsage(err error) bool {
	var usage *admin.UsageError
	return errors.As(err, &usage)
}

func TestRun_refuses(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.User("ada")
	for line, want := range map[string]string{
		"user":                              "which command?",
		"user destroy ada":                  `there is no command "user destroy"`,
		"user create ada":                   "usage: user create USERNAME EMAIL",
		"user block ada bob":                "usage: user block USERNAME",
		"user list --loud":                  "-loud",
		"token revoke x --yes":              `"x" is no id`,
		"token revoke 1":                    "add --yes",
		"job retry":                         "id of a job, or --all",
		"job list --state sleeping":         `no state "sleeping"`,
		"!user block nobody":                `there is no user "nobody"`,
		"!user create ADA ada2@example.org": "username has already been taken",
		"!user create -- -x x@example.org":  "username",
		"!user create bob nowhere":          "email is invalid",
		"!user create bob b@example.org --password-stdin": "password is too short",
		"!token create ada t --scopes all":                "scopes can only contain available scopes",
		"!token create ada t --expires soon":              "is no day",
		"!token create ada t --expires 2999-01-01":        "must be after today",
		"!token revoke 999 --yes":                         "token not found",
		"!key add ada":                                    "key",
		"!key delete 999 --yes":                           "key not found",
		"storage weight default many":                     `"many" is no number`,
		"!storage weight default 10001":                   "not between 0 and 10000",
		"!storage weight none 1":                          `there is no storage "none"`,
		"!storage add default tcp://x:1":                  "already",
		"!project move ada/none default":                  `there is no project "ada/none"`,
		"!project delete ada/none --yes":                  `there is no project "ada/none"`,
		"!job retry 999":                                  "there is no job 999",
		"!job discard 999 --yes":                          "there is no job 999",
	} {
		text, failure := strings.CutPrefix(line, "!")
		out, err := c.run(strings.Fields(text)...)
		if err == nil || !strings.Contains(err.Error(), want) || isUsage(err) == failure {
			t.Errorf("%s: %v (usage: %v), want %q", text, err, isUsage(err), want)
		}
		if strings.Count(out, "\n") > 1 {
			t.Errorf("%s printed %q", text, out)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	text := admin.Usage("gitsplit admin")
	for _, want := range []string{"user create USERNAME EMAIL [--admin] [--name NAME]", "project delete PATH --yes", "job retry [ID] [--all]"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", strconv.Quote(want), text)
		}
	}
}
