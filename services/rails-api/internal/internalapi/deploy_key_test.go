package internalapi_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

// TestDeployKey: what a key that opens a project, and no account, may do
// (wire/internal-api.md §5, rows 11 to 13e).
func TestDeployKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.Admin("ada") // what she may do, her deploy key may not
	g := b.Group("team", visibility.Public)
	p := b.Inhabited(g.ID, "attached", visibility.Private)
	b.Inhabited(g.ID, "private", visibility.Private)
	b.Inhabited(g.ID, "internal", visibility.Internal)
	b.Inhabited(g.ID, "public", visibility.Public)
	keys := key.New(b.DB)
	reads, blob := b.DeployKey(ada, p, key.NewKey{}, false)
	writes, _ := b.DeployKey(ada, p, key.NewKey{}, true)
	past := b.Time.Add(-time.Second)
	expired, _ := b.DeployKey(ada, p, key.NewKey{ExpiresAt: &past}, true)
	const (
		readOnly = "This deploy key does not have write access to this project."
		pull     = "git-upload-pack"
		push     = "git-receive-pack"
	)
	for _, tc := range []struct {
		name         string
		k            int64
		action, path string
		want         string
	}{
		{"reader fetches", reads.ID, pull, "team/attached", ""},
		{"reader archives", reads.ID, "git-upload-archive", "team/attached", ""},
		{"reader pushes", reads.ID, push, "team/attached", readOnly},
		{"writer fetches", writes.ID, pull, "team/attached", ""},
		{"writer pushes", writes.ID, push, "team/attached", ""},
		{"elsewhere, private", writes.ID, pull, "team/private", notFound},
		{"elsewhere, private, push", writes.ID, push, "team/private", notFound},
		{"elsewhere, internal", writes.ID, pull, "team/internal", notFound},
		{"elsewhere, public", writes.ID, pull, "team/public", ""},
		{"elsewhere, public, push", writes.ID, push, "team/public", readOnly},
		{"makes no project", writes.ID, push, "ada/fresh", notFound},
		{"expired", expired.ID, pull, "team/attached", "Your SSH key has expired."},
	} {
		checkVerdict(t, tc.name, b.ask("key_id", strconv.FormatInt(tc.k, 10), tc.action, tc.path), tc.want)
	}
	fields := map[string]any{}
	got := b.ask("key_id", strconv.FormatInt(writes.ID, 10), push, "team/attached")
	b.Must(json.Unmarshal([]byte(got.body), &fields))
	if fields["gl_key_type"] != "deploy_key" || fields["gl_key_id"] != float64(writes.ID) || fields["gl_id"] != fmt.Sprintf("user-%d", ada.ID) ||
		fields["gl_username"] != "ada" {
		t.Errorf("answer: %s", got.body)
	}
	if got := b.get("/authorized_keys", map[string][]string{"key": {blob}}); got.status != 200 {
		t.Errorf("login: %d %s", got.status, got.body)
	}

	b.Must(protection.New(b.DB).Delete(t.Context(), p.ID, "main"))
	_, err := protection.New(b.DB).Create(t.Context(), protection.Rule{ProjectID: p.ID, Name: "stable", PushLevel: 30, MergeLevel: 30})
	b.Must(err)
	for ref, want := range map[string]string{
		"refs/heads/topic":  "",
		"refs/tags/v1":      "",
		"refs/heads/stable": "You are not allowed to create protected branches on this project.",
		"refs/tmp/x":        "You are not allowed to update the internal references of this project.",
	} {
		changes := railstest.ID(0) + " " + railstest.ID(1) + " " + ref + "\n"
		body := map[string]any{"action": push, "gl_repository": p.GLRepository(), "changes": changes, "protocol": "ssh", "key_id": strconv.FormatInt(writes.ID, 10)}
		checkVerdict(t, ref, b.post("/allowed", body), want)
		body["key_id"] = strconv.FormatInt(reads.ID, 10)
		checkVerdict(t, ref+", reader", b.post("/allowed", body), readOnly)
	}

	// The key outlives who added it, and then has no name.
	b.Must(user.New(b.DB).Delete(t.Context(), ada.ID))
	got = b.ask("key_id", strconv.FormatInt(writes.ID, 10), push, "team/attached")
	checkVerdict(t, "adder gone", got, "")
	if got := b.get("/discover", map[string][]string{"key_id": {strconv.FormatInt(writes.ID, 10)}}); got.body != "null" {
		t.Errorf("discover: %s", got.body)
	}
	b.Must(keys.Detach(t.Context(), writes.ID, p.ID))
	checkVerdict(t, "detached", b.ask("key_id", strconv.FormatInt(writes.ID, 10), pull, "team/attached"), notFound)
}
