package admin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/visibility"
)

// TestRun_storages adds a storage that the configuration does not name, has new projects go there and nowhere else, and asks for a move.
func TestRun_storages(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	second := gitalytest.New(t)
	second.Storage = "second"
	network := gitalytest.Network{"default": c.Server, "second": second}
	client, err := gitaly.New(network, []gitaly.Storage{{Name: "default", Address: "default", Weight: 1}}, func(int) int { return 0 })
	c.Must(err)
	client.Also(func(name string) (gitaly.Storage, error) { return c.deps.Added.Load(t.Context(), name) })
	c.deps.Storages = client
	ada := c.User("ada")
	first := c.Project(ada.NamespaceID, "first", visibility.Private)

	if _, err := c.run("storage", "add", "third", "second"); err == nil || !strings.Contains(err.Error(), `no storage "third"`) {
		t.Errorf("a server without that storage: %v", err)
	}
	if _, err := c.run("storage", "add", "second", "nowhere"); err == nil {
		t.Error("a server that is not there was added")
	}
	c.in = "a token of the second gitaly\n"
	c.must("storage add second second --weight 7 --token-stdin")
	if _, err := c.run("storage", "add", "second", "second"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("added twice: %v", err)
	}
	s, err := client.Storage("second")
	if err != nil || s.Token != "a token of the second gitaly" {
		t.Errorf("%+v, %v", s, err)
	}
	var sealed []byte
	c.Must(c.DB.QueryRow(t.Context(), "SELECT gitaly_token FROM storages WHERE name = 'second'").Scan(&sealed))
	if strings.Contains(string(sealed), "token of") {
		t.Error("the token stands open in the database")
	}
	c.must("storage weight default 0")
	want := [][]string{{"default", "default", "0", "1", "true"}, {"second", "second", "7", "0", "true"}}
	if diff := cmp.Diff(want, c.must("storage list")); diff != "" {
		t.Errorf("list: %s", diff)
	}
	p, err := projectrepo.New(c.DB, client, c.deps.Jobs, c.Log, c.Now).Create(t.Context(), project.NewProject{NamespaceID: ada.NamespaceID, Path: "next"})
	if err != nil || p.Storage != "second" || second.Repository(p.DiskPath) == nil {
		t.Errorf("the next project is on %q, %v", p.Storage, err)
	}

	if got := c.must("project move ada/first second --background"); len(got) != 1 || got[0][4] != "scheduled" {
		t.Errorf("move: %q", got)
	}
	if got := c.must("project moves"); len(got) != 1 || got[0][1] != first.FullPath || got[0][3] != "second" {
		t.Errorf("moves: %q", got)
	}
	for line, want := range map[string]string{
		"project move ada/first second": "being moved already", "project move ada/next second": "already",
		"project move ada/next third": `there is no storage "third"`,
	} {
		if _, err := c.run(strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
	if got, err := gitstorage.Weights(t.Context(), c.DB); err != nil || !cmp.Equal(got, map[string]int{"default": 0, "second": 7}) {
		t.Errorf("weights %v, %v", got, err)
	}
}

// TestRun_moveEnds prints the steps of a move and how it ended.
func TestRun_moveEnds(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	client, err := gitaly.New(gitalytest.Network{"default": c.Server, "second": c.Server}, []gitaly.Storage{
		{Name: "default", Address: "default", Weight: 1}, {Name: "second", Address: "second"},
	}, func(int) int { return 0 })
	c.Must(err)
	c.deps.Storages = client
	c.Project(c.User("ada").NamespaceID, "app", visibility.Private)
	for state, want := range map[string]string{"finished": "", "failed": "ada/app was not moved: why"} {
		_, err := c.DB.Exec(t.Context(), `CREATE OR REPLACE FUNCTION done() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN NEW.state = '`+state+`'; NEW.note = 'why'; RETURN NEW; END $$`)
		c.Must(err)
		_, err = c.DB.Exec(t.Context(), "CREATE OR REPLACE TRIGGER done BEFORE INSERT ON repository_moves FOR EACH ROW EXECUTE FUNCTION done()")
		c.Must(err)
		text, err := c.run("project", "move", "ada/app", "second")
		if !strings.Contains(text, state) || (want == "") != (err == nil) || err != nil && err.Error() != want {
			t.Errorf("%s: %v\n%s", state, err, text)
		}
	}
}
