package access_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

// TestChecker_Git_lfs: a push needs the files that it points at, and leaves alone what others have locked.
func TestChecker_Git_lfs(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ctx, files := t.Context(), lfs.New(b.DB)
	ada, eve := b.User("ada"), b.User("eve")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	robot, _ := b.DeployKey(ada, p, key.NewKey{}, true)
	stored, absent := strings.Repeat("a", 64), strings.Repeat("b", 64)
	foreign := strings.Repeat("c", 64) // another project has it
	other := b.Project(eve.NamespaceID, "other", visibility.Public)
	for oid, owner := range map[string]project.Project{stored: p, foreign: other} {
		o, err := files.Reserve(ctx, oid, 1)
		b.Must(err)
		b.Must(files.Publish(ctx, owner.ID, o))
	}
	_, err := files.LockFile(ctx, p.ID, eve.ID, "art/logo.psd")
	b.Must(err)
	_, err = files.LockFile(ctx, p.ID, ada.ID, "mine.psd")
	b.Must(err)
	quarantine := gitaly.Quarantine{ObjectDirectory: "objects/tmp_objdir-incoming-x", Alternates: []string{"objects"}}
	update := access.Change{Old: railstest.ID(1), New: railstest.ID(2), Ref: "refs/heads/x"}
	removal := access.Change{Old: railstest.ID(1), New: railstest.ID(0), Ref: "refs/heads/x"}
	user, key := access.Who{UserID: ada.ID}, access.Who{KeyID: robot.ID}
	changed := func(paths ...string) map[string][]string {
		return map[string][]string{railstest.ID(2): {"README"}, railstest.ID(3): paths}
	}
	const missing = `LFS objects are missing. Ensure LFS is properly set up or try a manual "git lfs push --all".`
	const locked = "'art/logo.psd' is locked in Git LFS by @eve"
	for _, tc := range []struct {
		name   string
		who    access.Who
		change access.Change
		pushed gitalytest.Pushed
		want   string
	}{
		{"nothing of LFS", user, update, gitalytest.Pushed{}, ""},
		{"stored", user, update, gitalytest.Pushed{Pointers: []string{stored, stored}}, ""},
		{"absent", user, update, gitalytest.Pushed{Pointers: []string{stored, absent}}, missing},
		{"of another project", user, update, gitalytest.Pushed{Pointers: []string{foreign}}, missing},
		{"absent, by a deploy key", key, update, gitalytest.Pushed{Pointers: []string{absent}}, missing},
		{"removal", user, removal, gitalytest.Pushed{Pointers: []string{absent}}, ""},
		{"locked", user, update, gitalytest.Pushed{Changes: changed("art/logo.psd")}, locked},
		{"locked, by a deploy key", key, update, gitalytest.Pushed{Changes: changed("art/logo.psd")}, locked},
		{"own lock", user, update, gitalytest.Pushed{Changes: changed("mine.psd")}, ""},
		{"not locked", user, update, gitalytest.Pushed{Changes: changed("art/logo.psd/x", "art/logo.ps")}, ""},
		{"paths that nobody can lock", user, update, gitalytest.Pushed{Changes: changed("\xff", "a\x00b")}, ""},
	} {
		b.Server.SetPushed(p.DiskPath, tc.pushed)
		for _, q := range []gitaly.Quarantine{quarantine, {}} {
			_, err := b.Access.Git(ctx, access.GitRequest{
				Who: tc.who, Abilities: access.All(), Action: access.ReceivePack, ProjectID: p.ID, Protocol: "ssh",
				Changes: []access.Change{tc.change}, Quarantine: q,
			})
			if (err != nil) != (tc.want != "") || errs.Message(err) != tc.want {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
			}
		}
	}
}

// TestChecker_Git_lfsOff: without LFS a pointer is a file like others; without gitaly nothing is accepted.
func TestChecker_Git_lfsOff(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	b.Server.SetPushed(p.DiskPath, gitalytest.Pushed{Pointers: []string{strings.Repeat("b", 64)}})
	push := func(c *access.Checker) error {
		_, err := c.Git(t.Context(), access.GitRequest{
			Who: access.Who{UserID: ada.ID}, Abilities: access.All(), Action: access.ReceivePack, ProjectID: p.ID, Protocol: "ssh",
			Changes: []access.Change{{Old: railstest.ID(1), New: railstest.ID(2), Ref: "refs/heads/x"}},
		})
		return err
	}
	if err := push(b.Access); errs.KindOf(err) != errs.Denied {
		t.Errorf("with LFS: %v", err)
	}
	d := b.Deps()
	d.WithoutLFS = true
	if err := push(access.New(d)); err != nil {
		t.Errorf("an installation without LFS: %v", err)
	}
	b.Server.SetFail(status.Error(codes.Unavailable, "down"))
	if err := push(b.Access); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("gitaly down: %v", err)
	}
	b.Server.SetFail(nil)
	off := false
	_, err := project.New(b.DB).Update(t.Context(), p.ID, project.Changes{LFSEnabled: &off})
	b.Must(err)
	if err := push(b.Access); err != nil {
		t.Errorf("a project without LFS: %v", err)
	}
}

// TestChecker_Git_lfsFork: a push to a fork may bring pointers to what the source has, by who reads that.
func TestChecker_Git_lfsFork(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	ada, eve := b.User("ada"), b.User("eve")
	source := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	fork, err := b.Repositories.Fork(t.Context(), source, project.NewProject{NamespaceID: ada.NamespaceID, Path: "f"}, "")
	b.Must(err)
	b.Member(member.OfProject(fork.ID), eve, member.Maintainer)
	b.Server.SetPushed(fork.DiskPath, gitalytest.Pushed{Pointers: []string{b.LFSObject(source, "later").OID}})
	for _, tc := range []struct {
		who     int64
		refused bool
	}{{eve.ID, true}, {ada.ID, false}, {eve.ID, false}} { // the fork has it from then on
		_, err := b.Access.Git(t.Context(), access.GitRequest{
			Who: access.Who{UserID: tc.who}, Abilities: access.All(), Action: access.ReceivePack, ProjectID: fork.ID, Protocol: "ssh",
			Changes: []access.Change{{Old: railstest.ID(1), New: railstest.ID(2), Ref: "refs/heads/x"}},
		})
		if (errs.KindOf(err) == errs.Denied) != tc.refused || (err != nil && !tc.refused) {
			t.Errorf("user %d: %v", tc.who, err)
		}
	}
}
