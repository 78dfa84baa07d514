package app_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
)

// mainRef asks for the references as a client of protocol 0 and returns main's commit.
func (b *bundle) mainRef(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := gitalyclient.InfoRefs(ctx, b.conn, "git-upload-pack", &gitalypb.InfoRefsRequest{Repository: repository(rel)}, &out)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out.String()) {
		if id, found := strings.CutSuffix(strings.TrimSpace(line), " refs/heads/main"); found && len(id) > 40 {
			return id[len(id)-40:], nil
		}
	}
	return "", fmt.Errorf("no main in %q", out.String())
}

// TestInfoRefs_cached: the same question twice costs one git, until something changes.
func TestInfoRefs_cached(t *testing.T) {
	t.Parallel()
	tr, traced := newTrace(t)
	b := setup(t, traced)
	b.create(t, rel)
	c := b.client(t)
	for round := range 2 {
		id := c.commit(t, fmt.Sprint(round), "x")
		c.git(t, "push", "-q", remote(rel), "main")
		before := tr.count(t, "upload-pack")
		for range 3 {
			if got, err := b.mainRef(t.Context()); err != nil || got != id {
				t.Errorf("round %d: %s, %v, want %s", round, got, err, id)
			}
		}
		if n := tr.count(t, "upload-pack") - before; n != 1 {
			t.Errorf("round %d: upload-pack ran %d times", round, n)
		}
	}
	if _, err := gitalypb.NewRepositoryServiceClient(b.conn).RemoveRepository(t.Context(), &gitalypb.RemoveRepositoryRequest{Repository: repository(rel)}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.mainRef(t.Context()); err == nil {
		t.Errorf("references of a removed repository: %s", got)
	}
}

// TestInfoRefs_kinds: each kind of client has its own answer, and each costs one git.
func TestInfoRefs_kinds(t *testing.T) {
	t.Parallel()
	tr, traced := newTrace(t)
	b := setup(t, traced)
	b.create(t, rel)
	ask := func(protocol string, options ...string) string {
		var out bytes.Buffer
		req := &gitalypb.InfoRefsRequest{Repository: repository(rel), GitProtocol: protocol, GitConfigOptions: options}
		if err := gitalyclient.InfoRefs(t.Context(), b.conn, "git-upload-pack", req, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	plain, filter := "uploadpack.allowFilter=false", "uploadpack.allowFilter=true"
	for range 2 {
		if got := ask("version=2", filter); !strings.Contains(got, "version 2") || !strings.Contains(got, "filter") {
			t.Errorf("protocol 2: %q", got)
		}
		if got := ask("version=2", plain); !strings.Contains(got, "version 2") || strings.Contains(got, "filter") {
			t.Errorf("protocol 2 without filters: %q", got)
		}
		if got := ask("", plain); strings.Contains(got, "version 2") {
			t.Errorf("protocol 0: %q", got)
		}
	}
	if n := tr.count(t, "upload-pack"); n != 3 {
		t.Errorf("upload-pack ran %d times", n)
	}
}

// TestInfoRefs_concurrently: whoever asks after a change was reported sees it, however
// many ask meanwhile.
func TestInfoRefs_concurrently(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	c := b.client(t)
	const changes = 12
	var ids []string
	for range changes {
		c.git(t, "commit", "-q", "--allow-empty", "-m", fmt.Sprint(len(ids)))
		ids = append(ids, c.git(t, "rev-parse", "HEAD"))
	}
	c.git(t, "push", "-q", remote(rel), ids[0]+":refs/heads/main", ids[changes-1]+":refs/heads/all")
	var reported atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				least := reported.Load()
				got, err := b.mainRef(t.Context())
				if at := slices.Index(ids, got); err != nil || int64(at) < least {
					t.Errorf("after change %d: change %d, %v", least, at, err)
					return
				}
			}
		})
	}
	refs := gitalypb.NewRepositoryServiceClient(b.conn)
	for i := 1; i < changes; i++ {
		if i%4 == 0 {
			c.git(t, "push", "-q", remote(rel), ids[i]+":refs/heads/main")
		} else if _, err := refs.WriteRef(t.Context(), &gitalypb.WriteRefRequest{
			Repository: repository(rel), Ref: []byte("refs/heads/main"), Revision: []byte(ids[i]),
		}); err != nil {
			t.Error(err)
		}
		reported.Store(int64(i))
	}
	stop()
	readers.Wait()
}
