package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

const shortOfMemory = "the server is short of memory: try again later"

// tight gives each git process too little memory for the blob of fill, and has it take
// the blob into memory as a whole.
func tight(c *app.Config) {
	c.Limits.ChildMemoryBytes = 256 << 20
	c.Git.Config = []app.GitConfig{{Key: "core.bigFileThreshold", Value: "1g"}}
}

// fill makes a client with a big blob on branch main and a small one on branch small,
// and two repositories that have them without gitaly's doing.
func (b *bundle) fill(t *testing.T) *client {
	t.Helper()
	c := b.client(t)
	c.commit(t, "file", strings.Repeat("\x00", 260<<20))
	c.git(t, "checkout", "-q", "--orphan", "small")
	c.git(t, "rm", "-q", "-rf", ".")
	c.commit(t, "file", "small")
	for name, branch := range map[string]string{"big.git": "main", "small.git": "small"} {
		dir := b.create(t, name)
		if err := writeFile(filepath.Join(dir, "objects/info/alternates"), c.dir+"/.git/objects\n"); err != nil {
			t.Fatal(err)
		}
		c.git(t, "--git-dir", dir, "update-ref", "refs/heads/main", c.git(t, "rev-parse", branch))
	}
	return c
}

// TestOutOfMemory: a git that runs out of memory ends alone and leaves nothing, and the
// client does not read that the repository is damaged.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	b := setup(t, tight)
	c := b.fill(t)
	out, err := c.try(t, "clone", "--bare", remote("big.git"), filepath.Join(t.TempDir(), "c"))
	if err == nil || !strings.Contains(out, "remote: "+shortOfMemory) || strings.Contains(out, "corruption") {
		t.Errorf("clone: %v\n%s", err, out)
	}
	var body strings.Builder
	id := c.git(t, "rev-parse", "main")
	err = gitalyclient.PostUploadPack(t.Context(), b.conn, &gitalypb.PostUploadPackWithSidechannelRequest{Repository: repository("big.git")},
		strings.NewReader("0040want "+id+" side-band-64k\n00000009done\n"), &body)
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != shortOfMemory ||
		!strings.Contains(body.String(), "\x03"+shortOfMemory) || strings.Contains(body.String(), "corruption") {
		t.Errorf("over HTTP: %v\n%q", err, body.String())
	}
	c.git(t, "clone", "--bare", remote("small.git"), filepath.Join(t.TempDir(), "c"))

	dir := b.create(t, rel)
	out, err = c.try(t, "push", remote(rel), "main")
	if err == nil || !strings.Contains(out, "Out of memory") || !strings.Contains(out, "remote: error: "+shortOfMemory) {
		t.Errorf("push: %v\n%s", err, out)
	}
	b.assertClean(t, dir)
	c.git(t, "push", remote(rel), "small")
}
