package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/pktline"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// shareAll makes the cache be asked for the smallest of packs.
func shareAll(c *app.Config) { c.PackObjectsCache.ShareFrom = 0 }

// trace counts the git processes that gitaly starts, and those that they start.
type trace struct{ file string }

func newTrace(t testing.TB) (*trace, func(*app.Config)) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	tr := &trace{filepath.Join(t.TempDir(), "trace")}
	wrapper := filepath.Join(filepath.Dir(tr.file), "git")
	script := fmt.Sprintf("#!/bin/sh\nGIT_TRACE2_EVENT=%s exec %s \"$@\"\n", tr.file, git)
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return tr, func(c *app.Config) { c.Git.BinPath = wrapper }
}

// count returns how often a sub-command has run.
func (tr *trace) count(t testing.TB, name string) int {
	t.Helper()
	raw, err := os.ReadFile(tr.file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, `"event":"cmd_name"`) && strings.Contains(line, `"name":"`+name+`"`) {
			n++
		}
	}
	return n
}

// random returns bytes that do not get smaller.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return string(b)
}

// fetchPack asks for a commit over HTTP, protocol 2, and writes the pack to w.
func (b *bundle) fetchPack(ctx context.Context, id string, w io.Writer) error {
	body := pktText("command=fetch\n", "object-format=sha1\n") + "0001" + pktText("ofs-delta\n", "want "+id+"\n", "done\n") + "0000"
	return gitalyclient.PostUploadPack(ctx, b.conn, &gitalypb.PostUploadPackWithSidechannelRequest{
		Repository: repository(rel), GitProtocol: "version=2",
	}, strings.NewReader(body), w)
}

func pktText(lines ...string) string {
	var out bytes.Buffer
	for _, l := range lines {
		_ = pktline.Write(&out, []byte(l))
	}
	return out.String()
}

// packOf takes the pack out of an answer.
func packOf(t testing.TB, answer *bytes.Buffer) string {
	t.Helper()
	var pack bytes.Buffer
	s := pktline.NewScanner(answer)
	defer s.Close()
	for s.Scan() {
		if p := s.Payload(); len(p) > 0 && p[0] == pktline.BandData {
			pack.Write(p[1:])
		}
	}
	if err := s.Err(); err != nil || !strings.HasPrefix(pack.String(), "PACK") {
		t.Errorf("no pack: %v", err)
	}
	return pack.String()
}

// TestPacks_shared: a hundred identical clones at once cost one git pack-objects. It runs
// alone: the protocol gives a client five seconds to greet its sidechannel, and a hundred
// of them are much for a slow machine.
func TestPacks_shared(t *testing.T) { //nolint:paralleltest // see above
	tr, traced := newTrace(t)
	b := setup(t, shareAll, traced)
	b.create(t, rel)
	c := b.client(t)
	id := c.commit(t, "blob", random(300<<10))
	c.git(t, "push", "-q", remote(rel), "main")
	const clones = 32 // a sidechannel has five seconds, also where all of them start at once on two busy processors
	answers := make([]bytes.Buffer, clones)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			if err := b.fetchPack(t.Context(), id, &answers[i]); err != nil {
				t.Errorf("clone %d: %v", i, err)
			}
		})
	}
	all.Wait()
	first := packOf(t, &answers[0])
	for i := range answers[1:] {
		if packOf(t, &answers[i+1]) != first {
			t.Errorf("clone %d has another pack", i+1)
		}
	}
	if n := tr.count(t, "pack-objects"); n != 1 {
		t.Errorf("git pack-objects ran %d times for %d clones", n, clones)
	}
}

// TestPacks_cached: real clients of both transports, one after the other, and what is
// pushed between them.
func TestPacks_cached(t *testing.T) {
	t.Parallel()
	tr, traced := newTrace(t)
	b := setup(t, shareAll, traced, func(c *app.Config) { c.PackObjectsCache.MinOccurrences = 0 }) // kept, however slow the clones are
	dir := b.create(t, rel)
	c := b.client(t)
	http := b.httpBridge(t) + "/" + rel
	for round := range 2 {
		id := c.commit(t, fmt.Sprint(round), random(50<<10))
		c.git(t, "tag", "-a", "-m", "note", fmt.Sprint("v", round))
		c.git(t, "push", "-q", "--follow-tags", remote(rel), "main")
		for i, url := range []string{remote(rel), remote(rel), http} {
			for _, args := range [][]string{nil, {"--depth", "1"}} {
				clone := filepath.Join(t.TempDir(), "clone.git")
				c.git(t, append(append([]string{"clone", "-q", "--bare", "--no-local"}, args...), url, clone)...)
				if got := c.git(t, "-C", clone, "rev-parse", "main"); got != id {
					t.Errorf("round %d, clone %d %q: %s, want %s", round, i, args, got, id)
				}
			}
		}
	}
	if n := tr.count(t, "pack-objects"); n != 2*2*2 {
		t.Errorf("git pack-objects ran %d times, want once for each round, transport and kind of clone", n)
	}
	if left, _ := os.ReadDir(filepath.Join(b.dir, "+gitaly/PackObjectsCache")); len(left) != 0 {
		t.Errorf("files with names in the cache: %v", left)
	}
	b.assertClean(t, dir)
}

// TestPacks_direct: in protocol 2 the pack does not pass through upload-pack.
func TestPacks_direct(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"0": `"pack_direct":false`, "2": `"pack_direct":true`} {
		t.Run("protocol "+version, func(t *testing.T) {
			t.Parallel()
			b := setup(t, shareAll)
			b.create(t, rel)
			c := b.client(t)
			id := c.commit(t, "blob", random(300<<10))
			c.git(t, "push", "-q", remote(rel), "main")
			for _, url := range []string{remote(rel), b.httpBridge(t) + "/" + rel} {
				clone := filepath.Join(t.TempDir(), "clone.git")
				c.git(t, "-c", "protocol.version="+version, "clone", "-q", "--bare", url, clone)
				if got := c.git(t, "-C", clone, "rev-parse", "main"); got != id {
					t.Errorf("%s: got %s, want %s", url, got, id)
				}
			}
			eventually(t, "both packs are in the log", func() bool { return strings.Count(b.log.String(), want) == 2 })
		})
	}
}

// TestPacks_small: a lone clone of a small repository does without gitaly-hooks.
func TestPacks_small(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(*app.Config){
		"small": func(*app.Config) {}, "off": func(c *app.Config) { c.PackObjectsCache.Enabled = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, alter)
			b.create(t, rel)
			c := b.client(t)
			id := c.commit(t, "a", "a")
			c.git(t, "push", "-q", remote(rel), "main")
			if got := c.git(t, "ls-remote", remote(rel), "main"); !strings.HasPrefix(got, id) {
				t.Errorf("ls-remote: %s", got)
			}
			c.git(t, "clone", "-q", remote(rel), "copy")
			if strings.Contains(b.log.String(), "PackObjectsHook") {
				t.Error("gitaly-hooks was asked for the pack")
			}
		})
	}
}

// TestPacks_leaves: a client that goes away in the middle ends everything.
func TestPacks_leaves(t *testing.T) {
	t.Parallel()
	b := setup(t, shareAll)
	b.create(t, rel)
	c := b.client(t)
	id := c.commit(t, "blob", random(24<<20)) // more than all pipes and windows hold
	c.git(t, "push", "-q", remote(rel), "main")
	ctx, leave := context.WithCancel(t.Context())
	began := sync.OnceFunc(leave)
	err := b.fetchPack(ctx, id, writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("PACK")) {
			began()
			<-ctx.Done()
		}
		return len(p), nil
	}))
	if status.Code(err) != codes.Canceled && !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	eventually(t, "git has ended", func() bool { return len(programsIn(b.dir)) == 0 })
	var whole bytes.Buffer
	if err := b.fetchPack(t.Context(), id, &whole); err != nil {
		t.Errorf("the next clone: %v", err)
	}
	packOf(t, &whole)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// programsIn lists the command lines of processes that work below a directory.
func programsIn(dir string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		if raw, err := os.ReadFile(p); err == nil && strings.Contains(string(raw), dir+"/") {
			found = append(found, strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
	return found
}

// TestPackObjects_refused: what only a stranger on the internal socket would ask. The
// token for it is in the environment of our children.
func TestPackObjects_refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	client := gitalypb.NewHookServiceClient(b.internal(t))
	dir := short(t)
	ln, err := net.Listen("unix", dir+"/sidechannel")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.UnixConn).CloseWrite()
		}
	}()
	good := []string{"pack-objects", "--revs", "--stdout"}
	for _, tc := range []struct {
		name   string
		args   []string
		socket string
		code   codes.Code
		want   string
	}{
		{"another command", []string{"gc"}, dir + "/sidechannel", codes.InvalidArgument, "missing pack-objects"},
		{"nothing", nil, dir + "/sidechannel", codes.InvalidArgument, "missing pack-objects"},
		{"a file name", []string{"pack-objects", "--stdout", "/tmp/x"}, dir + "/sidechannel", codes.InvalidArgument, `argument of pack-objects is not a flag: "/tmp/x"`},
		{"a shallow file", append([]string{"--shallow-file", "/tmp/x"}, good...), dir + "/sidechannel", codes.InvalidArgument, "missing pack-objects"},
		{"NUL", []string{"pack-objects", "--stdout", "--filter=a\x00b"}, dir + "/sidechannel", codes.InvalidArgument, `argument of pack-objects is not a flag: "--filter=a\x00b"`},
		{"to a file", []string{"pack-objects", "--revs"}, dir + "/sidechannel", codes.InvalidArgument, "pack-objects without --stdout"},
		{"another socket", good, dir + "/other", codes.InvalidArgument, "sidechannel: not the socket of a hook"},
		{"a relative socket", good, "sidechannel", codes.InvalidArgument, "sidechannel: not the socket of a hook"},
		{"no hook listens", good, "/nonexistent/sidechannel", codes.Internal, "sidechannel: connect to hook: dial unix /nonexistent/sidechannel: connect: no such file or directory"},
		{"a flag that is not in the table", append(good, "--window=9"), dir + "/sidechannel", codes.Internal, `git pack-objects: flag "--window=9" is not permitted`},
		{"no repository", good, dir + "/sidechannel", codes.NotFound, "repository not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			repo := repository(rel)
			if tc.code == codes.NotFound {
				repo = repository("@hashed/none.git")
			}
			ctx := metadata.AppendToOutgoingContext(t.Context(), "gitaly-sidechannel-socket", tc.socket)
			_, err := client.PackObjectsHookWithSidechannel(ctx, &gitalypb.PackObjectsHookWithSidechannelRequest{Repository: repo, Args: tc.args})
			if status.Code(err) != tc.code || status.Convert(err).Message() != tc.want {
				t.Errorf("err = %v, want %v, %q", err, tc.code, tc.want)
			}
		})
	}
}

// internal connects to the internal socket, as a hook does.
func (b *bundle) internal(t *testing.T) *grpc.ClientConn {
	t.Helper()
	arrived, goOn := b.atAllowed()
	c := b.client(t)
	c.commit(t, "a", "a")
	push, _ := c.startPush(t, "main")
	<-arrived
	var payload hookpayload.Payload
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		raw, _ := os.ReadFile(path)
		if p, err := hookpayload.FromEnv(strings.Split(string(raw), "\x00")); err == nil && strings.HasPrefix(p.RuntimeDir, b.cfg.RuntimeDir+"/") {
			payload = p
		}
	}
	goOn()
	if err := push.Wait(); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix:"+payload.InternalSocket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(gitalyauth.Credentials(payload.InternalSocketToken)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// BenchmarkPacks is a lone clone of a small repository, with gitaly-hooks and the cache
// and without.
func BenchmarkPacks(b *testing.B) {
	for name, alter := range map[string]func(*app.Config){"cache": shareAll, "git alone": func(*app.Config) {}} {
		b.Run(name, func(b *testing.B) {
			g := setup(b, alter)
			g.create(b, rel)
			c := g.client(b)
			id := c.commit(b, "a", "a")
			c.git(b, "push", "-q", remote(rel), "main")
			for b.Loop() {
				if err := g.fetchPack(b.Context(), id, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
