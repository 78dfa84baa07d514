package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const rel = "@hashed/6b/86/6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b.git"

func TestPushAndClone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	for name, url := range map[string]string{"ssh": remote(rel), "http": b.httpBridge(t) + "/" + rel} {
		c := b.client(t)
		c.commit(t, "first", "first")
		id := c.commit(t, name+".txt", strings.Repeat("content of "+name+"\n", 10))
		out := c.git(t, "push", url, "HEAD:refs/heads/"+name)
		if !strings.Contains(out, "[new branch]") {
			t.Errorf("push: %s", out)
		}
		for _, protocol := range []string{"0", "1", "2"} {
			v := "protocol.version=" + protocol
			if got := c.git(t, "-c", v, "ls-remote", url, "refs/heads/"+name); !strings.HasPrefix(got, id) {
				t.Errorf("%s, protocol %s: ls-remote = %q, want %s", name, protocol, got, id)
			}
			clone := b.client(t)
			clone.git(t, "-c", v, "clone", "-q", "-b", name, url, "copy")
			clone.git(t, "-c", v, "clone", "-q", "-b", name, "--depth", "1", url, "shallow")
			clone.git(t, "-c", v, "clone", "-q", "-b", name, "--filter", "blob:none", "--no-checkout", url, "partial")
			for _, copy := range []string{"copy", "shallow", "partial"} {
				if got := clone.git(t, "-C", copy, "rev-parse", "HEAD"); got != id {
					t.Errorf("%s, protocol %s, %s: cloned %s, want %s", name, protocol, copy, got, id)
				}
			}
			clone.git(t, "-C", "shallow", "-c", v, "fetch", "-q", "--unshallow")
		}
	}
	b.assertClean(t, dir)
}

func TestPush_refsAndOptions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	c := b.client(t)
	c.commit(t, "a", "a")
	c.git(t, "tag", "-a", "-m", "note", "v1")
	c.git(t, "push", "--atomic", "-o", "ci.skip", "-o", "x=ä y", remote(rel), "HEAD:refs/heads/one", "HEAD:refs/heads/two", "v1")
	body := b.api.bodies[0]
	if options, _ := json.Marshal(body["push_options"]); string(options) != `["ci.skip","x=ä y"]` {
		t.Errorf("push options = %s", options)
	}
	if lines := strings.Count(fmt.Sprint(body["changes"]), "\n"); lines != 3 {
		t.Errorf("changes = %q", body["changes"])
	}
	var env struct {
		Object     string   `json:"GIT_OBJECT_DIRECTORY_RELATIVE"`
		Alternates []string `json:"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE"`
	}
	if err := json.Unmarshal([]byte(fmt.Sprint(body["env"])), &env); err != nil ||
		!strings.HasPrefix(env.Object, "objects/tmp_objdir-incoming-") || !slices.Equal(env.Alternates, []string{"objects"}) {
		t.Errorf("env = %v, %v", body["env"], err)
	}
	c.git(t, "push", "-q", remote(rel), ":refs/heads/two")
	if got := c.git(t, "ls-remote", "--heads", remote(rel)); strings.Contains(got, "two") || !strings.Contains(got, "one") {
		t.Errorf("branches after the deletion: %s", got)
	}
	out := c.git(t, "archive", "--remote="+remote(rel), "--format=tar", "one", "a")
	if !strings.Contains(out, "ustar") {
		t.Errorf("archive: %.100q", out)
	}
	b.assertClean(t, dir)
}

// TestPush_chain: the steps of one push, in the documented order, under one
// correlation id.
func TestPush_chain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	c := b.client(t)
	c.commit(t, "a", "a")
	b.api.set(func() {
		b.api.postRecv = reply(200, `{"reference_counter_decreased":true,"messages":[{"type":"basic","message":"To create a merge request for x, visit:\n  https://x"}]}`)
	})
	out := c.git(t, "push", remote(rel), "main")
	if want := "remote: \nremote: To create a merge request for x, visit:"; !strings.Contains(regexpTrailing(out), want) {
		t.Errorf("push printed %q, want %q", out, want)
	}
	steps := b.api.steps()
	id := strings.Fields(steps[0])[1]
	if diff := cmp.Diff([]string{"/allowed " + id, "/pre_receive " + id, "/post_receive " + id}, steps); diff != "" {
		t.Errorf("API (-want +got):\n%s", diff)
	}
	if err := b.stop(); err != nil { // so that all lines are written
		t.Fatal(err)
	}
	var rpcs []string
	for line := range strings.Lines(b.log.String()) {
		var entry struct {
			Msg, RPC, Code, User, Project string
			ID                            string `json:"correlation_id"`
			Started                       string `json:"started_at"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg != "access" || entry.ID != id {
			continue
		}
		rpcs = append(rpcs, entry.Started+" "+entry.RPC[strings.LastIndex(entry.RPC, "/")+1:])
		if entry.Code != "OK" || entry.User != "ada" || entry.Project != "team/tool" {
			t.Errorf("access line %s", line)
		}
	}
	slices.Sort(rpcs)
	for i := range rpcs {
		rpcs[i] = strings.Fields(rpcs[i])[1]
	}
	want := []string{"SSHReceivePack", "PreReceiveHook", "PostReceiveHook"}
	if diff := cmp.Diff(want, rpcs); diff != "" {
		t.Errorf("RPCs of the push (-want +got):\n%s", diff)
	}
}

// regexpTrailing takes the blanks off that git puts behind side-band lines.
func regexpTrailing(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
		if lines[i] == "remote:" {
			lines[i] = "remote: "
		}
	}
	return strings.Join(lines, "\n")
}

// TestPush_refused has the words that the user reads.
func TestPush_refused(t *testing.T) {
	t.Parallel()
	hang := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		panic(http.ErrAbortHandler)
	}
	for _, tc := range []struct {
		name string
		set  func(f *fakeAPI)
		want string
	}{
		{"denied", func(f *fakeAPI) {
			f.allowed = reply(401, `{"status":false,"message":"You are not allowed to push code to protected branches on this project."}`)
		}, "remote: GitLab: You are not allowed to push code to protected branches on this project."},
		{"API broken", func(f *fakeAPI) { f.allowed = reply(500, `oops`) }, "remote: GitLab: Internal API error (500)"},
		{"API hangs up", func(f *fakeAPI) { f.allowed = hang }, "remote: GitLab: Internal API unreachable"},
		{"rate limit", func(f *fakeAPI) { f.allowed = reply(429, `{"message":"slow"}`) }, "remote: error executing git hook"},
		{"counter call fails", func(f *fakeAPI) { f.preRecv = reply(500, `{"message":"x"}`) },
			"remote: calling pre_receive endpoint: http post to gitlab api /pre_receive endpoint: x"},
		{"counter not increased", func(f *fakeAPI) { f.preRecv = reply(200, `{"reference_counter_increased":false}`) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			dir := b.create(t, rel)
			tc.set(b.api)
			c := b.client(t)
			c.commit(t, "a", "a")
			out, err := c.try(t, "push", remote(rel), "main")
			if err == nil || !strings.Contains(out, tc.want) || !strings.Contains(out, "! [remote rejected] main -> main (pre-receive hook declined)") {
				t.Errorf("push: %v\n%s\nwant %q", err, out, tc.want)
			}
			if got := c.git(t, "ls-remote", remote(rel)); got != "" {
				t.Errorf("refs after a refused push: %s", got)
			}
			b.assertClean(t, dir)
		})
	}
}

func TestPush_concurrently(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	base := b.client(t)
	base.commit(t, "base", "base")
	base.git(t, "push", "-q", remote(rel), "main")
	var wg sync.WaitGroup
	clients := make([]*client, 4)
	won := make([]bool, 4)
	ids := make([]string, 4)
	for i := range clients {
		clients[i] = b.client(t)
		clients[i].git(t, "pull", "-q", remote(rel), "main")
		ids[i] = clients[i].commit(t, "file", fmt.Sprint(i))
	}
	arrived, goOn := b.atAllowed()
	for i, c := range clients {
		wg.Go(func() {
			_, err := c.command(context.Background(), "push", "-q", remote(rel), "main").CombinedOutput()
			won[i] = err == nil
		})
	}
	for range clients {
		<-arrived
	}
	goOn()
	wg.Wait()
	head := strings.Fields(base.git(t, "ls-remote", remote(rel), "refs/heads/main"))[0]
	winners := 0
	for i := range won {
		if won[i] {
			winners++
			if ids[i] != head {
				t.Errorf("push %d won with %s, but main is %s", i, ids[i], head)
			}
		}
	}
	if winners != 1 {
		t.Errorf("%d pushes won, want 1", winners)
	}
	b.assertClean(t, dir)
}

// atAllowed makes the API wait at /allowed until the returned function is called,
// and tells when it got there.
func (b *bundle) atAllowed() (arrived chan struct{}, goOn func()) {
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	b.api.set(func() {
		b.api.allowed = func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
			reply(200, `{"status":true}`)(w, r)
		}
	})
	return arrived, sync.OnceFunc(func() { close(release) })
}

// startPush begins a push and returns what kills the client and its ssh.
func (c *client) startPush(t *testing.T, refs ...string) (cmd *exec.Cmd, kill func()) {
	t.Helper()
	cmd = c.command(context.Background(), append([]string{"push", "-q", remote(rel)}, refs...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
}

// eventually waits for a condition that other processes bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

// TestPush_clientKilled: a client that dies while its push waits for permission
// leaves nothing, and the next push goes through.
func TestPush_clientKilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	arrived, goOn := b.atAllowed()
	defer goOn()
	c := b.client(t)
	c.commit(t, "a", "a")
	_, kill := c.startPush(t, "main")
	<-arrived
	if found, _ := filepath.Glob(dir + "/objects/tmp_objdir-*"); len(found) != 1 {
		t.Errorf("quarantines during the push: %q", found)
	}
	kill()
	eventually(t, "the quarantine is gone", func() bool {
		found, _ := filepath.Glob(dir + "/objects/tmp_objdir-*")
		return len(found) == 0
	})
	goOn()
	c.git(t, "push", "-q", remote(rel), "main")
	eventually(t, "the killed push is canceled", func() bool { return strings.Contains(b.log.String(), `"code":"Canceled"`) })
	b.assertClean(t, dir)
}

// TestPush_clientKilledAfterAccept: once pre-receive has said yes, the push is
// finished and reported although nobody listens.
func TestPush_clientKilledAfterAccept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	arrived, release := make(chan struct{}), make(chan struct{})
	b.api.postRecv = func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		reply(200, `{"reference_counter_decreased":true,"messages":[]}`)(w, r)
	}
	c := b.client(t)
	c.commit(t, "a", "a")
	_, kill := c.startPush(t, "main")
	<-arrived
	kill()
	eventually(t, "gitaly has noticed", func() bool { return strings.Contains(b.log.String(), "client left an accepted push") })
	close(release)
	eventually(t, "the post-receive hook has ended well", func() bool {
		return strings.Contains(b.log.String(), `"rpc":"/gitaly.HookService/PostReceiveHook","code":"OK"`)
	})
	if got := c.git(t, "ls-remote", remote(rel)); !strings.Contains(got, "refs/heads/main") {
		t.Errorf("refs = %q", got)
	}
	b.assertClean(t, dir)
}

// TestPush_gitKilled: SIGKILL for git itself leaves locks and a quarantine, which
// are gone before the next push.
func TestPush_gitKilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	arrived, goOn := b.atAllowed()
	defer goOn()
	c := b.client(t)
	c.commit(t, "a", "a")
	cmd, _ := c.startPush(t, "main")
	<-arrived
	if err := os.WriteFile(filepath.Join(dir, "refs/heads/main.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	killGit(t, "receive-pack", dir)
	if err := cmd.Wait(); err == nil {
		t.Error("the push succeeded")
	}
	goOn()
	c.git(t, "push", "-q", remote(rel), "main")
	b.assertClean(t, dir)
}

// killGit kills the processes whose command line holds both words.
func killGit(t *testing.T, command, dir string) {
	t.Helper()
	killed := 0
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil || !bytes.Contains(raw, []byte("\x00"+command+"\x00")) || !bytes.Contains(raw, []byte(dir)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(p, "/proc/%d/", &pid); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	if killed == 0 {
		t.Fatalf("no git %s in %s", command, dir)
	}
}

// TestStop: a stop in the middle of a push ends it and leaves nothing.
func TestStop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	arrived, goOn := b.atAllowed()
	defer goOn()
	c := b.client(t)
	c.commit(t, "a", "a")
	cmd, _ := c.startPush(t, "main")
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	if err := cmd.Wait(); err == nil {
		t.Error("the push succeeded")
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	b.assertClean(t, dir)
	if entries, _ := filepath.Glob(filepath.Join(b.cfg.RuntimeDir, "gitaly-*")); len(entries) > 0 {
		t.Errorf("runtime directory is left: %q", entries)
	}
}

// TestRestart: leftovers of a gitaly that was killed go when the next one starts.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(b.cfg.RuntimeDir, "gitaly-999999999")
	orphan := exec.Command("sleep", "1000") //nolint:noctx // it shall outlive
	orphan.Env = []string{"X=" + dead + "/hooks-x.d"}
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "objects/tmp_objdir-incoming-x"), 0o700), os.Mkdir(dead, 0o700),
		os.WriteFile(filepath.Join(dir, "refs/heads/main.lock"), nil, 0o600), orphan.Start())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = orphan.Wait()
		close(ended)
	}()
	b.start(t)
	<-ended
	eventually(t, "leftovers are gone", func() bool {
		_, lock := os.Stat(filepath.Join(dir, "refs/heads/main.lock"))
		_, quarantine := os.Stat(filepath.Join(dir, "objects/tmp_objdir-incoming-x"))
		_, run := os.Stat(dead)
		return os.IsNotExist(lock) && os.IsNotExist(quarantine) && os.IsNotExist(run)
	})
}

// TestPush_manyRefs: a custom update hook is asked for each reference; without one
// nothing is started for it.
func TestPush_manyRefs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	c := b.client(t)
	id := c.commit(t, "a", "a")
	var in strings.Builder
	for i := range 60 {
		fmt.Fprintf(&in, "create refs/heads/b%d %s\n", i, id)
	}
	cmd := c.command(t.Context(), "update-ref", "--stdin")
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.git(t, "push", "-q", remote(rel), "refs/heads/b*:refs/heads/x*")
	if n := strings.Count(b.log.String(), "HookService/UpdateHook"); n != 0 {
		t.Errorf("%d update hooks without need", n)
	}
	install := exec.CommandContext(t.Context(), "install", "-D", "-m", "0700", "/dev/stdin", filepath.Join(dir, "custom_hooks/update"))
	install.Stdin = strings.NewReader("#!/bin/sh\nexit 1\n")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := c.try(t, "push", remote(rel), "refs/heads/b*:refs/heads/y*"); err == nil || strings.Count(out, "(hook declined)") != 60 {
		t.Errorf("push past a custom update hook: %v\n%s", err, out)
	}
	if refs := c.git(t, "ls-remote", "--heads", remote(rel)); strings.Count(refs, "/x") != 60 || strings.Contains(refs, "/y") {
		t.Errorf("refs:\n%s", refs)
	}
	if left, _ := filepath.Glob(filepath.Join(b.cfg.RuntimeDir, "gitaly-*/hooks-*.d")); len(left) != 0 {
		t.Errorf("hook directories: %q", left)
	}
	b.assertClean(t, dir)
}
