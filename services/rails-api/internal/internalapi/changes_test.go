package internalapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

func id(n int) string { return railstest.ID(n) }

// push sends what gitaly sends for a push of changes.
func (b *bench) push(u user.User, p project.Project, protocol string, changes ...string) answer {
	b.TB.Helper()
	return b.post("/allowed", map[string]any{
		"action": "git-receive-pack", "gl_repository": p.GLRepository(), "project": "/data/x.git", "protocol": protocol,
		"user_id": strconv.FormatInt(u.ID, 10), "changes": strings.Join(changes, "\n") + "\n",
		"env": `{"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE":["../objects"],"GIT_OBJECT_DIRECTORY_RELATIVE":"./objects/tmp_objdir-incoming-x"}`,
	})
}

// TestAllowed_changes: the texts of wire/internal-api.md §6.2, each with who gets it.
func TestAllowed_changes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Server.History = []string{id(1), id(2), id(3)}
	g := b.Group("team", visibility.Private)
	p := b.Inhabited(g.ID, "tool", visibility.Private)
	people := map[string]user.User{"admin": b.Admin("chief")}
	for name, level := range map[string]member.Level{
		"reporter": member.Reporter, "developer": member.Developer, "maintainer": member.Maintainer, "owner": member.Owner,
	} {
		people[name] = b.User(name)
		b.Member(member.OfNamespace(g.ID), people[name], level)
	}
	for _, r := range []protection.Rule{
		{Name: "stable-*", PushLevel: member.Maintainer, MergeLevel: member.Maintainer},
		{Name: "open-*", PushLevel: member.Developer, MergeLevel: member.Developer},
		{Name: "merge-*", PushLevel: member.NoAccess, MergeLevel: member.Developer},
		{Name: "loose", PushLevel: member.Developer, MergeLevel: member.Developer, AllowForcePush: true},
		{Name: "operators", PushLevel: member.Admin, MergeLevel: member.Admin},
		{Name: "closed", PushLevel: member.NoAccess, MergeLevel: member.NoAccess},
	} {
		r.ProjectID = p.ID
		_, err := protection.New(b.DB).Create(t.Context(), r)
		b.Must(err)
	}
	hash := strings.Repeat("0123456789", 4)
	create, update, force, remove := id(0)+" "+id(2)+" ", id(1)+" "+id(2)+" ", id(2)+" "+id(1)+" ", id(1)+" "+id(0)+" "
	for _, tc := range []struct {
		name, who, protocol, change, want string
	}{
		{"reporter pushes", "reporter", "ssh", update + "refs/heads/x", "You are not allowed to push code to this project."},
		{"unprotected branch", "developer", "ssh", update + "refs/heads/x", ""},
		{"unprotected force push", "developer", "ssh", force + "refs/heads/x", ""},
		{"unprotected branch deleted", "developer", "ssh", remove + "refs/heads/x", ""},
		{"delete the default branch", "owner", "ssh", remove + "refs/heads/main", "The default branch of a project cannot be deleted."},
		{"delete the default branch by web", "admin", "web", remove + "refs/heads/main", "The default branch of a project cannot be deleted."},
		{"push protected", "developer", "ssh", update + "refs/heads/main", "You are not allowed to push code to protected branches on this project."},
		{"push protected as maintainer", "maintainer", "ssh", update + "refs/heads/main", ""},
		{"push protected as admin", "admin", "ssh", update + "refs/heads/main", ""},
		{"force push protected", "owner", "ssh", force + "refs/heads/main", "You are not allowed to force push code to a protected branch on this project."},
		{"force push comes first", "developer", "ssh", force + "refs/heads/main", "You are not allowed to force push code to a protected branch on this project."},
		{"force push allowed", "developer", "ssh", force + "refs/heads/loose", ""},
		{"wildcard", "developer", "ssh", update + "refs/heads/stable-1/x", "You are not allowed to push code to protected branches on this project."},
		{"wildcard does not match", "developer", "ssh", update + "refs/heads/unstable-1", ""},
		{"wildcard for developers", "developer", "ssh", update + "refs/heads/open-1", ""},
		{"admins only", "owner", "ssh", update + "refs/heads/operators", "You are not allowed to push code to protected branches on this project."},
		{"admins only, admin", "admin", "ssh", update + "refs/heads/operators", ""},
		{"nobody, admin", "admin", "ssh", update + "refs/heads/closed", "You are not allowed to push code to protected branches on this project."},
		{
			"delete protected", "developer", "ssh", remove + "refs/heads/open-1",
			"You are not allowed to delete protected branches from this project. Only a project maintainer or owner can delete a protected branch.",
		},
		{"delete protected over ssh", "maintainer", "ssh", remove + "refs/heads/stable-1", "You can only delete protected branches using the web interface."},
		{"delete protected over http", "maintainer", "http", remove + "refs/heads/stable-1", "You can only delete protected branches using the web interface."},
		{"delete protected by web", "maintainer", "web", remove + "refs/heads/stable-1", ""},
		{"create protected", "developer", "ssh", create + "refs/heads/stable-2", "You are not allowed to create protected branches on this project."},
		{"create protected as maintainer", "maintainer", "ssh", create + "refs/heads/stable-2", ""},
		{"create protected from elsewhere", "developer", "web", id(0) + " " + id(9) + " refs/heads/merge-1", "You can only use an existing protected branch ref as the basis of a new protected branch."},
		{"name like a hash", "owner", "ssh", create + "refs/heads/" + hash, "You cannot create a branch with a SHA-1 or SHA-256 branch name."},
		{"name like a hash and more", "owner", "ssh", create + "refs/heads/" + hash + "-x", "You cannot create a branch with a SHA-1 or SHA-256 branch name."},
		{"name like a hash deleted", "owner", "ssh", remove + "refs/heads/" + hash, ""},
		{"bad name", "owner", "ssh", create + "refs/heads/-x", "You cannot create a branch with an invalid name."},
		{"HEAD", "owner", "ssh", create + "refs/heads/HEAD", "You cannot create a branch with an invalid name."},
		{"name of no UTF-8", "owner", "ssh", create + "refs/heads/a\ufffd", "You cannot create a branch with an invalid name."},
		{"spaces in a name", "owner", "ssh", create + "refs/heads/a b", "You cannot create a branch with an invalid name."},
		{"unicode name", "developer", "ssh", create + "refs/heads/日本", ""},
		{"new tag", "developer", "ssh", create + "refs/tags/v1", ""},
		{"changed tag", "developer", "ssh", update + "refs/tags/v1", ""},
		{"deleted tag", "developer", "ssh", remove + "refs/tags/v1", ""},
		{"tag as the default branch", "owner", "ssh", create + "refs/tags/main", "You cannot use default branch name to create a tag"},
		{"tag with refs/tags/", "owner", "ssh", create + "refs/tags/refs/tags/v1", "You cannot create a tag with a prohibited pattern."},
		{"bad tag name", "owner", "ssh", create + "refs/tags/-v1", "You cannot create a tag with a prohibited pattern."},
		{"tag like a hash", "owner", "ssh", create + "refs/tags/" + hash, "You cannot create a tag with a SHA-1 or SHA-256 tag name."},
		{"tag of no UTF-8", "owner", "ssh", create + "refs/tags/a\ufffd", "Tag names must be valid when converted to UTF-8 encoding"},
		{"notes", "developer", "ssh", create + "refs/notes/commits", ""},
		{"internal ref", "owner", "ssh", create + "refs/merge-requests/1/head", "You are not allowed to update the internal references of this project."},
		{"not a ref", "owner", "ssh", create + "x", "You are not allowed to update the internal references of this project."},
		{"reporter makes a tag", "reporter", "ssh", create + "refs/tags/v1", "You are not allowed to push code to this project."},
	} {
		checkVerdict(t, tc.name, b.push(people[tc.who], p, tc.protocol, tc.change), tc.want)
	}
	t.Run("one refusal refuses the whole push", func(t *testing.T) {
		got := b.push(people["developer"], p, "ssh", create+"refs/heads/fine", update+"refs/heads/main")
		checkVerdict(t, "both", got, "You are not allowed to push code to protected branches on this project.")
	})
	t.Run("a branch whose commit is protected already may be created by web", func(t *testing.T) {
		b.Server.Lock()
		b.Server.History = []string{id(1), id(2), id(3), "refs/heads/main"}
		b.Server.Unlock()
		checkVerdict(t, "web", b.push(people["developer"], p, "web", create+"refs/heads/merge-1"), "")
		checkVerdict(t, "ssh", b.push(people["developer"], p, "ssh", create+"refs/heads/merge-1"),
			"You can only create protected branches using the web interface and API.")
	})
	b.Server.Lock()
	defer b.Server.Unlock()
	if !slices.Contains(b.Server.Quarantines, "./objects/tmp_objdir-incoming-x") {
		t.Errorf("the quarantine was not sent back: %q", b.Server.Quarantines)
	}
}

func TestAllowed_firstPush(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.Group("team", visibility.Private)
	p := b.Project(g.ID, "tool", visibility.Private)
	developer, maintainer := b.User("developer"), b.User("maintainer")
	b.Member(member.OfNamespace(g.ID), developer, member.Developer)
	b.Member(member.OfNamespace(g.ID), maintainer, member.Maintainer)
	const refusal = "\nA default branch (e.g. main) does not yet exist for team/tool\nAsk a project Owner or Maintainer to create a default branch:\n\n" +
		"  https://git.example.test/team/tool/-/project_members\n\n"
	checkVerdict(t, "developer", b.push(developer, p, "ssh", id(0)+" "+id(1)+" refs/heads/main"), refusal)
	checkVerdict(t, "developer, other branch", b.push(developer, p, "ssh", id(0)+" "+id(1)+" refs/heads/x"), refusal)
	checkVerdict(t, "developer, tag", b.push(developer, p, "ssh", id(0)+" "+id(1)+" refs/tags/x"), "")
	checkVerdict(t, "maintainer", b.push(maintainer, p, "ssh", id(0)+" "+id(1)+" refs/heads/main"), "")
	// The record of the first push was lost: the default branch is protected all the same.
	b.Server.SetBranches(p.DiskPath, "refs/heads/main")
	checkVerdict(t, "developer, after a lost record", b.push(developer, p, "ssh", id(1)+" "+id(2)+" refs/heads/main"),
		"You are not allowed to force push code to a protected branch on this project.")
	checkVerdict(t, "developer, other branch after a lost record", b.push(developer, p, "ssh", id(0)+" "+id(2)+" refs/heads/x"), "")
}

func TestAllowed_changesUnusable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	checkVerdict(t, "no changes", b.push(ada, p, "ssh", ""), "")
	long := strings.Repeat("a", 64)
	checkVerdict(t, "SHA-256", b.push(ada, p, "ssh", strings.Repeat("0", 64)+" "+long+" refs/heads/x"), "")
	for name, changes := range map[string]string{
		"no ref": id(0) + " " + id(1), "short id": "0 " + id(1) + " refs/heads/x", "upper case": strings.Repeat("A", 40) + " " + id(1) + " refs/heads/x",
		"mixed lengths": id(0) + " " + long + " refs/heads/x", "empty line": id(0) + " " + id(1) + " refs/heads/x\n\n" + id(0) + " " + id(1) + " refs/heads/y",
		"text": "hello", "empty ref": id(0) + " " + id(1) + " ",
	} {
		if got := b.push(ada, p, "ssh", changes); got.status != http.StatusBadRequest || !strings.HasPrefix(got.message(t), "400 Bad request") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	body := map[string]any{"action": "git-receive-pack", "gl_repository": "wiki-1", "changes": "", "user_id": "1"}
	checkStatus(t, "wiki", b.post("/allowed", body), http.StatusNotFound)
	body["gl_repository"], body["gitaly_client_context_bin"] = p.GLRepository(), "no base64"
	checkStatus(t, "client context", b.post("/allowed", body), http.StatusBadRequest)
	body["gitaly_client_context_bin"], body["user_id"], body["env"] = "e30=", fmt.Sprint(ada.ID), "{"
	checkStatus(t, "env is no JSON", b.post("/allowed", body), http.StatusOK)
	b.Server.Stop()
	got := b.push(ada, p, "ssh", id(1)+" "+id(2)+" refs/heads/main")
	checkStatus(t, "gitaly down", got, http.StatusServiceUnavailable)
	if want := "The git server, Gitaly, is not available at this time. Please contact your administrator."; got.message(t) != want {
		t.Errorf("gitaly down: %q", got.message(t))
	}
}

func checkStatus(t *testing.T, name string, got answer, want int) {
	t.Helper()
	if got.status != want {
		t.Errorf("%s: %d %s, want %d", name, got.status, got.body, want)
	}
}
