package inforefs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/inforefs"
	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/streamcache"
)

// notes writes down what becomes of requests.
type notes struct{ results []string }

func (n *notes) InfoRefs(result string) { n.results = append(n.results, result) }
func (n *notes) Invalidated()           {}

func newCache(t *testing.T) (*inforefs.Cache, *notes) {
	t.Helper()
	streams, err := streamcache.New(streamcache.Options{Dir: t.TempDir(), MaxAge: time.Minute, MaxBytes: 1 << 20, Log: logging.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = streams.Close() })
	n := &notes{}
	return inforefs.New(streams, n), n
}

func repo(rel string) *storage.Repo {
	return &storage.Repo{Storage: &storage.Storage{Name: "default"}, RelativePath: rel}
}

// ask returns what the cache answers while the repository says text.
func ask(t *testing.T, c *inforefs.Cache, r *storage.Repo, text string) string {
	t.Helper()
	var out bytes.Buffer
	err := c.Serve(t.Context(), r, "", &out, func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCache(t *testing.T) {
	t.Parallel()
	c, n := newCache(t)
	a, b := repo("a"), repo("b")
	var got []string
	got = append(got, ask(t, c, a, "1"), ask(t, c, a, "x"), ask(t, c, b, "of b"))
	first := c.Write(a)
	got = append(got, ask(t, c, a, "2")) // not kept
	second := c.Write(repo("a"))
	first()
	got = append(got, ask(t, c, a, "3"))
	second()
	got = append(got, ask(t, c, a, "4"), ask(t, c, a, "x"), ask(t, c, b, "x"))
	if want := []string{"1", "1", "of b", "2", "3", "4", "4", "of b"}; !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	if want := []string{"miss", "hit", "miss", "err", "err", "miss", "hit", "hit"}; !slices.Equal(n.results, want) {
		t.Errorf("results %q, want %q", n.results, want)
	}
}

// TestCache_variants: clients of different kinds have answers of their own.
func TestCache_variants(t *testing.T) {
	t.Parallel()
	c, n := newCache(t)
	var got []string
	for _, variant := range []string{"a", "b", "a", "b"} {
		var out bytes.Buffer
		err := c.Serve(t.Context(), repo("r"), variant, &out, func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, variant)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, out.String())
	}
	if !slices.Equal(got, []string{"a", "b", "a", "b"}) || !slices.Equal(n.results, []string{"miss", "miss", "hit", "hit"}) {
		t.Errorf("answers %q, results %q", got, n.results)
	}
}

// TestCache_lateMaker: what was begun before a change is not found after it.
func TestCache_lateMaker(t *testing.T) {
	t.Parallel()
	c, _ := newCache(t)
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- c.Serve(context.Background(), repo("a"), "", io.Discard, func(_ context.Context, w io.Writer) error {
			close(began)
			<-goOn
			_, err := io.WriteString(w, "old")
			return err
		})
	}()
	<-began
	c.Write(repo("a"))()
	if got := ask(t, c, repo("a"), "new"); got != "new" {
		t.Errorf("during the old one: %q", got)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := ask(t, c, repo("a"), "newer"); got != "new" {
		t.Errorf("after the old one: %q", got)
	}
}

func TestCache_manyRepositories(t *testing.T) {
	t.Parallel()
	c, _ := newCache(t)
	done := c.Write(repo("0"))
	for i := range 4200 {
		ask(t, c, repo(fmt.Sprint(i)), "1")
	}
	if got := ask(t, c, repo("0"), "2"); got != "2" {
		t.Errorf("a writer was forgotten: %q", got)
	}
	done()
}

// locator finds every repository but one.
type locator struct{}

func (locator) Locate(r *gitalypb.Repository) (*storage.Repo, error) {
	if r.GetRelativePath() == "" {
		return nil, io.ErrUnexpectedEOF
	}
	return repo(r.GetRelativePath()), nil
}

type stream struct {
	grpc.ServerStream
	req *gitalypb.SSHReceivePackRequest
}

func (s stream) RecvMsg(m any) error {
	m.(*gitalypb.SSHReceivePackRequest).Repository = s.req.GetRepository()
	return nil
}

func TestInterceptors(t *testing.T) {
	t.Parallel()
	c, _ := newCache(t)
	i := inforefs.Interceptors{Cache: c, Locator: locator{}}
	text := 0
	fresh := func() bool { // whether the answer is made anew
		text++
		return ask(t, c, repo("a"), fmt.Sprint(text)) == fmt.Sprint(text)
	}
	inside := func(method string, req any) bool {
		fresh()
		var during bool
		_, err := i.Unary(t.Context(), req, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
			during = fresh()
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
		return during
	}
	a := &gitalypb.Repository{StorageName: "default", RelativePath: "a"}
	if !inside("/gitaly.RepositoryService/WriteRef", &gitalypb.WriteRefRequest{Repository: a}) || !fresh() {
		t.Error("a unary write is not noticed")
	}
	if inside("/gitaly.RefService/RefExists", &gitalypb.RefExistsRequest{Repository: a}) || fresh() {
		t.Error("reading counts as a write")
	}
	if inside("/gitaly.RepositoryService/WriteRef", &gitalypb.WriteRefRequest{}) {
		t.Error("a write of nothing is one of this repository")
	}
	fresh()
	err := i.Stream(nil, stream{req: &gitalypb.SSHReceivePackRequest{Repository: a}}, &grpc.StreamServerInfo{FullMethod: "/gitaly.SSHService/SSHReceivePack"},
		func(_ any, s grpc.ServerStream) error {
			before := fresh()
			for range 2 {
				if err := s.RecvMsg(&gitalypb.SSHReceivePackRequest{}); err != nil {
					return err
				}
			}
			if before || !fresh() || !fresh() {
				t.Error("a push is not noticed with its first message")
			}
			return nil
		})
	if err != nil || !fresh() || fresh() {
		t.Errorf("after a push: %v", err)
	}
}
