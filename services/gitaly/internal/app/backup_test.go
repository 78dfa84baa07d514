package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// TestRepositoryService_Backup backs a repository up in steps and restores each.
func TestRepositoryService_Backup(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b := setup(t, func(c *app.Config) { c.Backup.GoCloudURL = "file://" + store })
	x := odd{bundle: b, repo: repository(rel), repos: gitalypb.NewRepositoryServiceClient(b.conn), dir: b.create(t, rel)}
	ctx := t.Context()
	backup := func(id string, incremental bool) error {
		_, err := x.repos.BackupRepository(ctx, &gitalypb.BackupRepositoryRequest{
			Repository: x.repo, VanityRepository: &gitalypb.Repository{StorageName: "vanity", RelativePath: "team/tool.git"},
			BackupId: id, Incremental: incremental,
		})
		return err
	}
	restore := func(to, id string) error {
		_, err := x.repos.RestoreRepository(ctx, &gitalypb.RestoreRepositoryRequest{
			Repository: repository(to), VanityRepository: &gitalypb.Repository{StorageName: "vanity", RelativePath: "team/tool.git"}, BackupId: id,
		})
		return err
	}
	commit := func(branch, from string) {
		x.feed(t, fmt.Appendf(nil, "commit refs/heads/%s\ncommitter C <c@example.com> 1700000000 +0000\ndata %d\n%s\n%s", branch, len(branch), branch, from),
			"fast-import", "--quiet", "--force")
	}
	states := map[string]string{}
	step := func(id string, incremental bool) {
		t.Helper()
		if err := backup(id, incremental); err != nil {
			t.Fatalf("backup %s: %v", id, err)
		}
		states[id] = x.feed(t, nil, "show-ref", "--head") + x.feed(t, nil, "symbolic-ref", "HEAD")
	}
	commit("main", "")
	x.feed(t, nil, "tag", "-a", "-m", "a note", "v1", "main")
	if err := setHooks(ctx, b, x.repo, hookTar(t, map[string]string{"update": "exit 0"})); err != nil {
		t.Fatal(err)
	}
	step("1", false)
	if err := backup("1b", true); status.Code(err) != codes.FailedPrecondition || len(status.Convert(err).Details()) != 1 ||
		status.Convert(err).Message() != "backup repository: no changes to bundle" {
		t.Errorf("nothing new: %v", err)
	}
	commit("topic", "from refs/heads/main\n")
	step("2", true)
	x.feed(t, nil, "update-ref", "refs/heads/kept", "main") // what main leaves behind is reached by a reference that is in no bundle
	commit("main", "from refs/heads/topic\n")
	step("3", true)
	x.feed(t, nil, "update-ref", "-d", "refs/heads/topic") // nothing but a deletion
	x.feed(t, nil, "symbolic-ref", "HEAD", "refs/heads/kept")
	if err := setHooks(ctx, b, x.repo, nil); err != nil {
		t.Fatal(err)
	}
	step("4", true)
	commit("later", "from refs/heads/kept\n")
	step("5", true)

	for _, id := range []string{"5", "1", "3", "2", "4"} { // each replaces the one before
		if err := restore("restored.git", id); err != nil {
			t.Errorf("restore %s: %v", id, err)
			continue
		}
		got := odd{dir: filepath.Join(b.dir, "restored.git")}
		if refs := got.feed(t, nil, "show-ref", "--head") + got.feed(t, nil, "symbolic-ref", "HEAD"); refs != states[id] {
			t.Errorf("restored %s:\n%s\nwant\n%s", id, refs, states[id])
		}
		got.feed(t, nil, "fsck", "--strict")
		if _, err := os.Stat(got.dir + "/custom_hooks/update"); (err == nil) != (id < "4") {
			t.Errorf("restored %s: custom hook: %v", id, err)
		}
	}
	if err := restore(rel, ""); err != nil || x.feed(t, nil, "show-ref", "--head")+x.feed(t, nil, "symbolic-ref", "HEAD") != states["5"] {
		t.Errorf("the latest one in the old place: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(b.dir, "+gitaly/tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	damaged := filepath.Join(store, "vanity/team/tool.git/2/002.bundle")
	if err := os.WriteFile(damaged, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := x.feed(t, nil, "show-ref")
	if err := restore(rel, "2"); status.Code(err) != codes.FailedPrecondition || x.feed(t, nil, "show-ref") != before {
		t.Errorf("a damaged backup: %v", err)
	}
	if err := os.Remove(filepath.Join(store, "vanity/team/tool.git/1/001.refs")); err != nil {
		t.Fatal(err)
	}
	if err := restore(rel, "1"); status.Code(err) != codes.FailedPrecondition || x.feed(t, nil, "show-ref") != before {
		t.Errorf("an incomplete backup: %v", err)
	}
}

// TestRepositoryService_Backup_again: a second backup under one name leaves those alone
// that build on the first.
func TestRepositoryService_Backup_again(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b := setup(t, func(c *app.Config) { c.Backup.GoCloudURL = "file://" + store })
	x, ctx, repos := odd{dir: b.create(t, rel)}, t.Context(), gitalypb.NewRepositoryServiceClient(b.conn)
	commit := func(branch, from string) {
		x.feed(t, fmt.Appendf(nil, "commit refs/heads/%s\ncommitter C <c@example.com> 1700000000 +0000\ndata 0\n%s", branch, from), "fast-import", "--quiet", "--force")
	}
	backup := func(id string, incremental bool) {
		if _, err := repos.BackupRepository(ctx, &gitalypb.BackupRepositoryRequest{Repository: repository(rel), BackupId: id, Incremental: incremental}); err != nil {
			t.Fatalf("backup %s: %v", id, err)
		}
	}
	states := map[string]string{}
	commit("main", "")
	commit("topic", "from refs/heads/main\n")
	backup("a", false)
	commit("next", "from refs/heads/topic\n")
	backup("b", true)
	states["b"] = x.feed(t, nil, "show-ref")
	x.feed(t, nil, "update-ref", "-d", "refs/heads/topic")
	x.feed(t, nil, "update-ref", "-d", "refs/heads/next")
	backup("a", false)
	states["a"] = x.feed(t, nil, "show-ref")
	for id, want := range states {
		if _, err := repos.RestoreRepository(ctx, &gitalypb.RestoreRepositoryRequest{Repository: repository(rel), BackupId: id}); err != nil {
			t.Errorf("restore %s: %v", id, err)
		} else if got := x.feed(t, nil, "show-ref"); got != want {
			t.Errorf("restored %s:\n%s\nwant\n%s", id, got, want)
		}
	}
}

func TestRepositoryService_Backup_refused(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b := setup(t, func(c *app.Config) { c.Backup.GoCloudURL = "file://" + store })
	b.create(t, rel)
	repos, ctx := gitalypb.NewRepositoryServiceClient(b.conn), t.Context()
	vanity := func(storage, path string) *gitalypb.Repository {
		return &gitalypb.Repository{StorageName: storage, RelativePath: path}
	}
	for _, tc := range []struct {
		req  *gitalypb.BackupRepositoryRequest
		code codes.Code
		text string
	}{
		{&gitalypb.BackupRepositoryRequest{}, codes.InvalidArgument, "empty BackupId"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "../x"}, codes.InvalidArgument, "backup repository: invalid backup id"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "+latest"}, codes.InvalidArgument, "backup repository: invalid backup id"},
		{&gitalypb.BackupRepositoryRequest{BackupId: strings.Repeat("x", 1<<20)}, codes.InvalidArgument, "backup repository: invalid backup id"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "1", Incremental: true, LatestBackupId: "a/b"}, codes.InvalidArgument, "backup repository: invalid backup id"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "1", Incremental: true, LatestBackupId: "0"}, codes.NotFound, "backup repository: no such file in the backup"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "1", VanityRepository: vanity("..", "x")}, codes.InvalidArgument, "invalid vanity repository"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "1", VanityRepository: vanity("v", "../../x")}, codes.InvalidArgument, "invalid vanity repository"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "1", VanityRepository: vanity("v", "a\x00")}, codes.InvalidArgument, "invalid vanity repository"},
		{&gitalypb.BackupRepositoryRequest{BackupId: "1", VanityRepository: vanity("v", ".")}, codes.InvalidArgument, "invalid vanity repository"},
	} {
		tc.req.Repository = repository(rel)
		_, err := repos.BackupRepository(ctx, tc.req)
		if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%.80v: %v, want %v %q", tc.req, err, tc.code, tc.text)
		}
	}
	if left, _ := os.ReadDir(store); len(left) > 0 {
		t.Errorf("refused backups have left %v", left)
	}
	for _, tc := range []struct {
		req  *gitalypb.RestoreRepositoryRequest
		code codes.Code
	}{
		{&gitalypb.RestoreRepositoryRequest{Repository: repository("none.git")}, codes.FailedPrecondition},
		{&gitalypb.RestoreRepositoryRequest{Repository: repository(rel), BackupId: "1", AlwaysCreate: true}, codes.FailedPrecondition},
		{&gitalypb.RestoreRepositoryRequest{Repository: repository(rel), BackupId: "../x"}, codes.InvalidArgument},
		{&gitalypb.RestoreRepositoryRequest{Repository: repository(rel), AlwaysCreate: true}, codes.OK},
		{&gitalypb.RestoreRepositoryRequest{Repository: repository("new.git"), AlwaysCreate: true, UseLatest: true, BackupId: "x"}, codes.OK},
	} {
		_, err := repos.RestoreRepository(ctx, tc.req)
		details := len(status.Convert(err).Details())
		if status.Code(err) != tc.code || (details == 1) != (tc.code == codes.FailedPrecondition) {
			t.Errorf("%v: %v, want %v", tc.req, err, tc.code)
		}
	}
	for name, exists := range map[string]bool{rel: true, "new.git": true, "none.git": false} {
		if r, err := repos.RepositoryExists(ctx, &gitalypb.RepositoryExistsRequest{Repository: repository(name)}); err != nil || r.GetExists() != exists {
			t.Errorf("%s exists: %v, %v, want %v", name, r.GetExists(), err, exists)
		}
	}
	// An empty repository can be backed up and comes back empty.
	if _, err := repos.BackupRepository(ctx, &gitalypb.BackupRepositoryRequest{Repository: repository(rel), BackupId: "1"}); err != nil {
		t.Errorf("nothing to back up: %v", err)
	}
	if _, err := repos.RestoreRepository(ctx, &gitalypb.RestoreRepositoryRequest{Repository: repository(rel), BackupId: "1"}); err != nil {
		t.Errorf("nothing to restore: %v", err)
	}

	off := setup(t)
	off.create(t, rel)
	_, err := gitalypb.NewRepositoryServiceClient(off.conn).BackupRepository(ctx, &gitalypb.BackupRepositoryRequest{Repository: repository(rel), BackupId: "1"})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "backup repository: server-side backups are not configured" {
		t.Errorf("no backups configured: %v", err)
	}
	_, err = gitalypb.NewRepositoryServiceClient(off.conn).RestoreRepository(ctx, &gitalypb.RestoreRepositoryRequest{Repository: repository(rel)})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "restore repository: server-side backups are not configured" {
		t.Errorf("no backups configured: %v", err)
	}
}
