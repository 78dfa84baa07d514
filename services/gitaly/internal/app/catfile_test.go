package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/netx"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// readers lists the git cat-file processes of a repository.
func readers(dir string) []string { return processesIn(dir, "\x00cat-file\x00") }

// processesIn lists the processes whose command line holds the repository and all words.
func processesIn(dir string, words ...string) (pids []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		raw, _ := os.ReadFile(path) // it may have ended
		lacks := func(word string) bool { return !strings.Contains(string(raw), word) }
		if !slices.ContainsFunc(append(words, dir), lacks) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// metrics reads the metrics of a gitaly that serves them on a socket in its directory.
func (b *bundle) metrics(t *testing.T) string {
	t.Helper()
	dial := netx.Dialer(b.cfg.PrometheusListenAddr)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gitaly/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestCatFiles: requests for one repository share a process, which sees what a push
// brought, and which goes with the repository.
func TestCatFiles(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *app.Config) { c.PrometheusListenAddr = c.SocketPath + ".metrics" })
	dir, c, ctx := b.create(t, rel), b.client(t), t.Context()
	commits := gitalypb.NewCommitServiceClient(b.conn)
	for i := range 3 {
		want := c.commit(t, "f", strings.Repeat("x", i+1))
		c.git(t, "push", "-q", remote(rel), "main")
		got, err := commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: repository(rel), Revision: []byte("main")})
		if err != nil || got.GetCommit().GetId() != want {
			t.Errorf("after push %d: commit %q, %v, want %q", i, got.GetCommit().GetId(), err, want)
		}
	}
	if pids := readers(dir); len(pids) != 1 {
		t.Errorf("readers %q, want one that waits", pids)
	}
	shown := b.metrics(t)
	for _, want := range []string{
		`gitaly_catfile_cache_total{type="hit"} 2`, `gitaly_catfile_cache_total{type="miss"} 1`, "gitaly_catfile_processes_total 1\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("metrics without %q", want)
		}
	}
	if _, err := gitalypb.NewRepositoryServiceClient(b.conn).RemoveRepository(ctx, &gitalypb.RemoveRepositoryRequest{Repository: repository(rel)}); err != nil {
		t.Fatal(err)
	}
	if pids := readers(dir); len(pids) != 0 {
		t.Errorf("readers %q of a removed repository", pids)
	}
	b.create(t, rel)
	got, err := commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: repository(rel), Revision: []byte("main")})
	if err != nil || got.GetCommit() != nil {
		t.Errorf("in a new repository at the same place: %v, %v", got, err)
	}
}

// TestCatFiles_cancelled: a reader whose client has left in the middle of an answer
// ends.
func TestCatFiles_cancelled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir, c := b.create(t, rel), b.client(t)
	c.commit(t, "large", strings.Repeat("0123456789abcdef", 1<<20))
	oid := c.git(t, "rev-parse", "HEAD:large")
	c.git(t, "push", "-q", remote(rel), "main")
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := gitalypb.NewBlobServiceClient(b.conn).GetBlob(ctx, &gitalypb.GetBlobRequest{Repository: repository(rel), Oid: oid, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if len(readers(dir)) != 1 {
		t.Error("no reader while a blob is sent")
	}
	cancel()
	if _, err := drain(stream); status.Code(err) != codes.Canceled {
		t.Errorf("err = %v, want canceled", err)
	}
	eventually(t, "the reader to end", func() bool { return len(readers(dir)) == 0 })
}
