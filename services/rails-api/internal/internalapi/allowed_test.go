package internalapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

const (
	notFound  = "The project you were looking for could not be found or you don't have permission to view it."
	noNamespc = "The namespace you were looking for could not be found."
)

// ask sends what gitlab-sshd sends.
func (b *bench) ask(who, id, action, path string) answer {
	b.TB.Helper()
	return b.post("/allowed", map[string]any{"action": action, "project": path, "changes": "_any", "protocol": "ssh", who: id, "check_ip": "198.51.100.4"})
}

func TestAllowed_answer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	soon := b.Time.Add(24 * time.Hour)
	k, _ := b.Key(ada, key.NewKey{ExpiresAt: &soon})
	g := b.Group("team", visibility.Private)
	sub := b.Group("sub", visibility.Private, g)
	p := b.Project(sub.ID, "tool", visibility.Private)
	b.Member(member.OfNamespace(g.ID), ada, member.Developer)
	got := b.ask("key_id", strconv.FormatInt(k.ID, 10), "git-receive-pack", "/team/sub/tool.git")
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	storage, err := b.Gitaly.Storage("default")
	b.Must(err)
	want := map[string]any{
		"status": true, "gl_repository": p.GLRepository(), "gl_project_path": "team/sub/tool", "gl_project_id": float64(p.ID),
		"gl_root_namespace_id": float64(g.ID), "gl_id": fmt.Sprintf("user-%d", ada.ID), "gl_username": "ada", "gl_key_type": "key", "gl_key_id": float64(k.ID),
		"git_config_options": []any{"uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true", "receive.maxInputSize=1048576"},
		"gitaly": map[string]any{
			"repository": map[string]any{
				"storage_name": "default", "relative_path": project.HashedPath(p.ID), "git_object_directory": "",
				"git_alternate_object_directories": []any{}, "gl_repository": p.GLRepository(), "gl_project_path": "team/sub/tool",
			},
			"address": storage.Address, "token": "gitaly-token", "features": map[string]any{},
		},
		"gl_console_messages": []any{"INFO: Your SSH key is expiring soon. Please generate a new key."}, "need_audit": false,
	}
	var have map[string]any
	b.Must(json.Unmarshal([]byte(got.body), &have))
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	k, err = key.New(b.DB).ByID(t.Context(), k.ID)
	if err != nil || k.LastUsedAt == nil || !k.LastUsedAt.Equal(b.Time) {
		t.Errorf("last use of the key: %v, %v", k.LastUsedAt, err)
	}
}

// TestAllowed_rights: the table of wire/internal-api.md §5 for every kind of actor.
func TestAllowed_rights(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.Group("team", visibility.Public)
	private, internal := b.Project(g.ID, "private", visibility.Private), b.Project(g.ID, "internal", visibility.Internal)
	b.Project(g.ID, "public", visibility.Public)
	people := map[string]user.User{"stranger": b.User("stranger"), "admin": b.Admin("chief")}
	for name, level := range map[string]member.Level{
		"guest": member.Guest, "planner": member.Planner, "reporter": member.Reporter, "developer": member.Developer,
		"maintainer": member.Maintainer, "owner": member.Owner, "pending": member.NoAccess,
	} {
		people[name] = b.User(name)
		b.Member(member.OfProject(private.ID), people[name], level)
	}
	b.Member(member.OfProject(internal.ID), people["reporter"], member.Reporter)
	const (
		noPull = "You are not allowed to download code from this project."
		noPush = "You are not allowed to push code to this project."
	)
	for _, tc := range []struct {
		who, path  string
		pull, push string
	}{
		{"stranger", "team/private", notFound, notFound},
		{"pending", "team/private", notFound, notFound},
		{"guest", "team/private", noPull, noPush},
		{"planner", "team/private", noPull, noPush},
		{"reporter", "team/private", "", noPush},
		{"developer", "team/private", "", ""},
		{"maintainer", "team/private", "", ""},
		{"owner", "team/private", "", ""},
		{"admin", "team/private", "", ""},
		{"stranger", "team/internal", "", noPush},
		{"reporter", "team/internal", "", noPush},
		{"stranger", "team/public", "", noPush},
		{"guest", "team/public", "", noPush},
		{"stranger", "team/absent", notFound, notFound},
		{"developer", "team/absent", notFound, notFound},
		{"stranger", "absent/absent", notFound, notFound},
		{"stranger", "absent", noNamespc, noNamespc},
		{"stranger", "", noNamespc, noNamespc},
		{"stranger", "team/%", notFound, notFound},
		{"stranger", "team/privat_", notFound, notFound},
		{"stranger", "team/../team/public", notFound, notFound},
		{"stranger", "/team/public.git", "", noPush},
		{"stranger", "TEAM/Public", "", noPush},
		{"stranger", "//team/public", notFound, notFound},
		{"stranger", "team/pübl\u202eic", notFound, notFound},
		{"stranger", "team/private.wiki", notFound, notFound},
	} {
		id := strconv.FormatInt(people[tc.who].ID, 10)
		for action, want := range map[string]string{"git-upload-pack": tc.pull, "git-upload-archive": tc.pull, "git-receive-pack": tc.push} {
			got := b.ask("user_id", id, action, tc.path)
			checkVerdict(t, fmt.Sprintf("%s, %s %s", tc.who, action, tc.path), got, want)
		}
	}
}

func checkVerdict(t *testing.T, name string, got answer, want string) {
	t.Helper()
	status := map[string]int{"": 200, notFound: 404, noNamespc: 404}[want]
	if status == 0 {
		status = 401
	}
	if got.status != status || got.message(t) != want {
		t.Errorf("%s: %d %q, want %d %q", name, got.status, got.message(t), status, want)
	}
	if want != "" && !strings.HasPrefix(got.body, `{"status":false,`) {
		t.Errorf("%s: body %s", name, got.body)
	}
}

func TestAllowed_anonymous(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.Group("team", visibility.Public)
	b.Project(g.ID, "public", visibility.Public)
	b.Project(g.ID, "internal", visibility.Internal)
	for _, who := range []string{"user_id", "key_id", "username"} {
		id := map[string]string{"username": "nobody"}[who]
		if id == "" {
			id = "999"
		}
		checkVerdict(t, who, b.ask(who, id, "git-upload-pack", "team/public"), "")
		checkVerdict(t, who, b.ask(who, id, "git-upload-pack", "team/internal"), notFound)
		checkVerdict(t, who, b.ask(who, id, "git-receive-pack", "team/public"), "You are not allowed to upload code for this project.")
	}
}

func TestAllowed_actor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page := "https://git.example.test/users/sign_in"
	for state, want := range map[user.State]string{
		user.Active:          "",
		user.Blocked:         "Your account has been blocked.",
		user.Banned:          "Your account has been blocked.",
		user.PendingApproval: "Your account is pending approval from your administrator and hence blocked.",
		user.Deactivated:     "Your account has been deactivated by your administrator. Please log back in from a web browser to reactivate your account at " + page,
	} {
		u := b.User(string(state))
		b.Project(u.NamespaceID, "p", visibility.Private)
		b.Must(user.New(b.DB).SetState(t.Context(), u.ID, state))
		k, _ := b.Key(u, keyOptions())
		checkVerdict(t, string(state), b.ask("key_id", strconv.FormatInt(k.ID, 10), "git-upload-pack", string(state)+"/p"), want)
		checkVerdict(t, string(state), b.ask("identifier", fmt.Sprintf("key-%d", k.ID), "git-upload-pack", string(state)+"/p"), want)
		checkVerdict(t, string(state), b.ask("username", strings.ToUpper(string(state)), "git-receive-pack", string(state)+"/p"), want)
	}
	ada := b.User("ada")
	past := b.Time.Add(-time.Second)
	expired, _ := b.Key(ada, key.NewKey{ExpiresAt: &past})
	checkVerdict(t, "expired key", b.ask("key_id", strconv.FormatInt(expired.ID, 10), "git-upload-pack", "ada/p"), "Your SSH key has expired.")
	checkVerdict(t, "unknown action", b.ask("user_id", strconv.FormatInt(ada.ID, 10), "rm", "ada/p"), "The command you're trying to execute is not allowed.")
	signing, _ := b.Key(ada, key.NewKey{UsageType: key.Signing})
	b.Project(ada.NamespaceID, "p", visibility.Private)
	checkVerdict(t, "signing key", b.ask("key_id", strconv.FormatInt(signing.ID, 10), "git-upload-pack", "ada/p"), notFound)
}

func TestAllowed_projectState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	id := strconv.FormatInt(ada.ID, 10)
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	yes := true
	_, err := project.New(b.DB).Update(t.Context(), p.ID, project.Changes{Archived: &yes})
	b.Must(err)
	checkVerdict(t, "archived", b.ask("user_id", id, "git-receive-pack", "ada/p"), "You can't push code to an archived project.")
	checkVerdict(t, "archived", b.ask("user_id", id, "git-upload-pack", "ada/p"), "")
	_, err = b.DB.Exec(t.Context(), "UPDATE projects SET repository_read_only = true")
	b.Must(err)
	checkVerdict(t, "read-only", b.ask("user_id", id, "git-receive-pack", "ada/p"), "The repository is temporarily read-only. Please try again later.")
	b.Must(b.Repositories.Delete(t.Context(), p))
	checkVerdict(t, "deleted", b.ask("user_id", id, "git-upload-pack", "ada/p"), notFound)
	got := b.post("/allowed", map[string]any{"action": "git-receive-pack", "gl_repository": p.GLRepository(), "changes": "", "user_id": id})
	checkVerdict(t, "deleted, by id", got, notFound)
}

func TestAllowed_pushToCreate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	id := strconv.FormatInt(ada.ID, 10)
	team, closed := b.Group("team", visibility.Private), b.Group("closed", visibility.Private)
	b.Member(member.OfNamespace(team.ID), ada, member.Developer)
	b.Member(member.OfNamespace(closed.ID), ada, member.Reporter)

	checkVerdict(t, "fetch", b.ask("user_id", id, "git-upload-pack", "ada/fresh"), notFound)
	for _, path := range []string{"eve/fresh", "closed/fresh", "snippets/fresh", "ada/a/b", "absent/fresh"} {
		checkVerdict(t, path, b.ask("user_id", id, "git-receive-pack", path), notFound)
	}
	for path, why := range map[string]string{
		"ada/bad name": "can contain only letters", "ada/tree": "is a reserved name", "ada/-x": "can contain only letters", "ada/": "can't be blank",
	} {
		got := b.ask("user_id", id, "git-receive-pack", path)
		if got.status != 422 || !strings.HasPrefix(got.message(t), "Could not create project: ") || !strings.Contains(got.message(t), why) {
			t.Errorf("%q: %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{"ada/fresh", "team/fresh"} {
		got := b.ask("user_id", id, "git-receive-pack", path)
		checkVerdict(t, path, got, "")
		p, _, err := project.New(b.DB).ByPath(t.Context(), path)
		if err != nil || p.Visibility != visibility.Private || *p.CreatorID != ada.ID || b.Server.Repository(p.DiskPath) == nil {
			t.Fatalf("%s: %+v, %v", path, p, err)
		}
		checkVerdict(t, "eve sees "+path, b.ask("user_id", strconv.FormatInt(eve.ID, 10), "git-upload-pack", path), notFound)
	}
	b.Server.Stop()
	if got := b.ask("user_id", id, "git-receive-pack", "ada/later"); got.status != 503 || !strings.HasPrefix(got.message(t), "The git server, Gitaly, is not available") {
		t.Errorf("gitaly down: %d %s", got.status, got.body)
	}
	if _, _, err := project.New(b.DB).ByPath(t.Context(), "ada/later"); err == nil {
		t.Error("a project without a repository is visible")
	}
}

func TestAllowed_moved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	g := b.Group("team", visibility.Private)
	b.Member(member.OfNamespace(g.ID), ada, member.Developer)
	p := b.Inhabited(g.ID, "tool", visibility.Private)
	path := "squad"
	_, err := namespace.New(b.DB).Update(t.Context(), g.ID, namespace.Changes{Path: &path})
	b.Must(err)
	k, _ := b.Key(ada, keyOptions())
	checkVerdict(t, "old path", b.ask("key_id", strconv.FormatInt(k.ID, 10), "git-receive-pack", "team/tool.git"), "")
	got := b.post("/post_receive", map[string]any{
		"gl_repository": p.GLRepository(), "identifier": fmt.Sprintf("key-%d", k.ID), "push_options": nil,
		"changes": railstest.ID(1) + " " + railstest.ID(2) + " refs/heads/main\n",
	})
	got.want(t, 200, `{"messages":[{"message":"Project 'team/tool' was moved to 'squad/tool'.\n\nPlease update your Git remote:\n\n`+
		`  git remote set-url origin ssh://git@git.example.test:2222/squad/tool.git","type":"basic"}],"reference_counter_decreased":true}`)
}

func TestAllowed_form(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	b.Project(ada.NamespaceID, "p", visibility.Private)
	form := url.Values{"action": {"git-upload-pack"}, "project": {"ada/p"}, "changes": {"_any"}, "user_id": {strconv.FormatInt(ada.ID, 10)}, "push_options[]": {"a"}}
	checkVerdict(t, "form", b.send("POST", "/allowed", "application/x-www-form-urlencoded", strings.NewReader(form.Encode())), "")
	number := fmt.Sprintf(`{"action":"git-upload-pack","project":"ada/p","changes":"_any","user_id":%d}`, ada.ID)
	checkVerdict(t, "number", b.send("POST", "/allowed", "application/json", strings.NewReader(number)), "")
}
