package app_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// hookTar packs scripts by their path below custom_hooks.
func hookTar(t *testing.T, scripts map[string]string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, body := range scripts {
		path := filepath.Join(dir, "custom_hooks", name)
		if err := writeFile(path, "#!/bin/sh\n"+body+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	return []byte(runProgram(t, nil, "tar", "-c", "-C", dir, "custom_hooks"))
}

// setHooks sends a tar file in pieces.
func setHooks(ctx context.Context, b *bundle, repo *gitalypb.Repository, data []byte) error {
	stream, err := gitalypb.NewRepositoryServiceClient(b.conn).SetCustomHooks(ctx)
	if err != nil {
		return err
	}
	req := &gitalypb.SetCustomHooksRequest{Repository: repo}
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), 1000)
		req.Data, data = data[:n], data[n:]
		_ = stream.Send(req) // an error of the server comes with CloseAndRecv
		req = &gitalypb.SetCustomHooksRequest{}
	}
	_, err = stream.CloseAndRecv()
	return err
}

// TestPush_customHooks pushes through hooks of the repository and of the server.
func TestPush_customHooks(t *testing.T) {
	t.Parallel()
	server := t.TempDir()
	b := setup(t, func(c *app.Config) { c.Hooks.CustomHooksDir = server })
	dir := b.create(t, rel)
	set := func(scripts map[string]string) {
		t.Helper()
		if err := setHooks(t.Context(), b, repository(rel), hookTar(t, scripts)); err != nil {
			t.Fatal(err)
		}
	}
	// The server's hooks are the operator's files: here they come out of a tar file too.
	runProgram(t, hookTar(t, map[string]string{"pre-receive.d/50": `echo "4 $0" | sed "s|$PWD||"`}), "tar", "-x", "-C", server, "--strip-components=1")

	c := b.client(t)
	oid := c.commit(t, "a", "a")
	set(map[string]string{
		"pre-receive":          `echo "1 $(cat)"; pwd; git rev-parse --git-dir; echo "$GL_ID $GL_USERNAME $GL_PROTOCOL $GL_REPOSITORY $GL_PROJECT_PATH"`,
		"pre-receive.d/20":     `echo 3 >&2`,
		"pre-receive.d/10":     `echo "2 $(cat)"`,
		"pre-receive.d/15~":    `echo a backup file; exit 1`,
		"update":               `echo "5 $*"`,
		"post-receive.d/hello": `printf '6 gr\303\274\303\237e\033[2J\n'; echo "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0"`,
	})
	change := strings.Repeat("0", 40) + " " + oid + " refs/heads/main"
	out := c.git(t, "push", "-o", "ci.skip", remote(rel), "main")
	var said []string
	for line := range strings.Lines(out) {
		if text, ok := strings.CutPrefix(line, "remote: "); ok {
			said = append(said, strings.TrimSpace(text))
		}
	}
	want := []string{
		"1 " + change, dir, dir, "key-7 ada ssh project-1 team/tool", "2 " + change, "3", "4 " + server + "/pre-receive.d/50",
		"5 refs/heads/main " + strings.Repeat("0", 40) + " " + oid, "6 grüße[2J", "1 ci.skip",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("the user reads (-want +got):\n%s", diff)
	}

	c.commit(t, "b", "b")
	for _, tc := range []struct {
		name    string
		scripts map[string]string
		want    []string // in what the user reads
	}{
		{"pre-receive says no", map[string]string{"pre-receive.d/x": "echo not today >&2; exit 3", "pre-receive.d/y": "echo not reached"},
			[]string{"remote: not today", "(pre-receive hook declined)"}},
		{"update says no", map[string]string{"update.d/x": "echo not this one; exit 1"}, []string{"remote: not this one", "(hook declined)"}},
		{"references from inside of the quarantine", map[string]string{"pre-receive": `read old new ref; git update-ref refs/heads/evil $new && echo moved; exit 1`},
			[]string{"ref updates forbidden inside quarantine environment", "(pre-receive hook declined)"}},
		{"no program", map[string]string{"pre-receive": "kill -9 $$"}, []string{"(pre-receive hook declined)"}},
	} {
		set(tc.scripts)
		out, err := c.try(t, "push", remote(rel), "main")
		for _, text := range tc.want {
			if err == nil || !strings.Contains(out, text) || strings.Contains(out, "not reached") || strings.Contains(out, "moved") {
				t.Errorf("%s: %v, want %q in\n%s", tc.name, err, text, out)
			}
		}
	}
	if refs := c.git(t, "ls-remote", "--heads", remote(rel)); !strings.HasPrefix(refs, oid) || strings.Contains(refs, "evil") {
		t.Errorf("references after refused pushes: %s", refs)
	}
	if err := setHooks(t.Context(), b, repository(rel), nil); err != nil {
		t.Fatal(err)
	}
	c.git(t, "push", "-q", remote(rel), "main")
	b.assertClean(t, dir)
}

func TestRepositoryService_CustomHooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	repos, ctx := gitalypb.NewRepositoryServiceClient(b.conn), t.Context()
	get := func() []byte {
		t.Helper()
		data, err := gather(repos.GetCustomHooks(ctx, &gitalypb.GetCustomHooksRequest{Repository: repository(rel)}))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if data := get(); len(data) != 0 {
		t.Errorf("%d bytes of hooks that are not there", len(data))
	}
	if err := setHooks(ctx, b, repository(rel), hookTar(t, map[string]string{"update": "exit 0", "update.d/x": "exit 1"})); err != nil {
		t.Fatal(err)
	}
	list := func(data []byte) string { return runProgram(t, data, "tar", "-t", "-v", "--numeric-owner") }
	first := get()
	for _, want := range []string{"drwx------", "-rwx------", "custom_hooks/update\n", "custom_hooks/update.d/x\n"} {
		if !strings.Contains(list(first), want) {
			t.Errorf("no %q in\n%s", want, list(first))
		}
	}
	if err := setHooks(ctx, b, repository(rel), first); err != nil || list(get()) == "" {
		t.Errorf("what was got is not taken back: %v", err)
	}
	first = get() // the files are new ones, with other times
	entries := func(entries ...tar.Header) []byte {
		var buf bytes.Buffer
		tw := tar.NewWriter(&buf)
		for _, h := range entries {
			if h.Typeflag == tar.TypeReg {
				h.Size = 1
			}
			if err := tw.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				_, _ = tw.Write([]byte("x"))
			}
		}
		_ = tw.Close()
		return buf.Bytes()
	}
	var large bytes.Buffer
	if err := tar.NewWriter(&large).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/large", Size: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	many := make([]tar.Header, 1001)
	for i := range many {
		many[i] = tar.Header{Typeflag: tar.TypeDir, Name: "custom_hooks/d"}
	}
	for name, data := range map[string][]byte{
		"garbage":                    bytes.Repeat([]byte("junk"), 1000),
		"half of one":                first[:700],
		"up":                         entries(tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/../../evil"}),
		"absolute":                   entries(tar.Header{Typeflag: tar.TypeReg, Name: "/custom_hooks/evil"}),
		"elsewhere":                  entries(tar.Header{Typeflag: tar.TypeReg, Name: "objects/evil"}),
		"a file in the place of all": entries(tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks"}),
		"a link in the place of all": entries(tar.Header{Typeflag: tar.TypeSymlink, Name: "custom_hooks", Linkname: "/tmp"}),
		"through a link": entries(tar.Header{Typeflag: tar.TypeSymlink, Name: "custom_hooks/l", Linkname: b.dir},
			tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/l/evil"}),
		"onto a link": entries(tar.Header{Typeflag: tar.TypeSymlink, Name: "custom_hooks/l", Linkname: b.dir + "/evil"},
			tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/l"}),
		"twice":       entries(tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/x"}, tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/x"}),
		"a hard link": entries(tar.Header{Typeflag: tar.TypeLink, Name: "custom_hooks/l", Linkname: b.dir + "/.gitaly-metadata"}),
		"a device":    entries(tar.Header{Typeflag: tar.TypeChar, Name: "custom_hooks/null", Devmajor: 1, Devminor: 3}),
		"a pipe":      entries(tar.Header{Typeflag: tar.TypeFifo, Name: "custom_hooks/pipe"}),
		"too large":   large.Bytes(),
		"many":        entries(many...),
		"a long name": entries(tar.Header{Typeflag: tar.TypeReg, Name: "custom_hooks/" + strings.Repeat("x", 300)}),
	} {
		if err := setHooks(ctx, b, repository(rel), data); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want invalid argument", name, err)
		}
		if !bytes.Equal(get(), first) {
			t.Errorf("%s: the hooks have changed", name)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(b.dir, "evil")); len(found) > 0 {
		t.Errorf("a tar file has written %q", found)
	}

	leaving, cancel := context.WithCancel(ctx)
	stream, err := repos.SetCustomHooks(leaving)
	if err == nil {
		err = stream.Send(&gitalypb.SetCustomHooksRequest{Repository: repository(rel), Data: first[:1000]})
	}
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(b.dir, "+gitaly/tmp")
	eventually(t, "nothing left behind", func() bool {
		left, err := os.ReadDir(tmp)
		return err == nil && len(left) == 0
	})
	if !bytes.Equal(get(), first) {
		t.Error("a client that left has changed the hooks")
	}
	if err := setHooks(ctx, b, repository(rel), nil); err != nil || len(get()) != 0 {
		t.Errorf("hooks that were removed: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "custom_hooks")); !os.IsNotExist(err) {
		t.Errorf("custom_hooks: %v", err)
	}
}
