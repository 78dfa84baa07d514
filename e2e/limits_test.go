package e2e_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
)

// The sizes of what TestLimits sends. E2E_LIMITS=full are those that a hostile or an
// unlucky user comes with; the others fit into every test run.
type sizes struct{ refs, message, tree, advertised int }

func limitSizes() sizes {
	if os.Getenv("E2E_LIMITS") == "full" {
		return sizes{refs: 100_000, message: 1 << 30, tree: 1_000_000, advertised: 1_000_000}
	}
	return sizes{refs: 2_000, message: 64 << 20, tree: 100_000, advertised: 100_000}
}

// mostResident is what no service may hold in memory, whatever is pushed or asked for.
const mostResident = 250 << 20

// TestLimits pushes and asks for what is too large in every way there is. Each ends by
// a limit or completes, others are served meanwhile, and no service holds it in memory.
func TestLimits(t *testing.T) {
	t.Parallel()
	dir := instanceDir(t)
	s, err := stack.Start(t.Context(), bin, filepath.Join(dir, "home"), "RAILS_API_RECEIVE_MAX_INPUT_SIZE=32")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	size := limitSizes()
	for _, tc := range []struct {
		name, transport string
		run             func(t *testing.T, c *client)
	}{
		{"delta bomb", "ssh", deltaBomb},
		{"push over its limit", "http", pushOverLimit},
		{"many references in one push", "ssh", func(t *testing.T, c *client) { t.Helper(); manyRefs(t, c, size.refs) }},
		{"long commit message", "http", func(t *testing.T, c *client) { t.Helper(); longMessage(t, c, size.message) }},
		{"wide tree", "ssh", func(t *testing.T, c *client) { t.Helper(); wideTree(t, c, size.tree) }},
		{"many references advertised", "http", func(t *testing.T, c *client) { t.Helper(); manyAdvertised(t, s, c, size.advertised) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, s, tc.transport)
			others := othersAreServed(t, newClient(t, s, tc.transport))
			tc.run(t, c)
			others()
			for _, program := range []string{"gitaly", "gitlab-workhorse", "gitlab-sshd", "rails-api", "sidekiq"} {
				held := resident(t, s, program)
				t.Logf("%s held %d MiB at most", program, held>>20)
				if held > mostResident {
					t.Errorf("%s held %d MiB, want at most %d", program, held>>20, mostResident>>20)
				}
			}
			eventually(t, restTime, func() string {
				left, err := s.Leftovers(t.Context())
				if err != nil {
					return err.Error()
				}
				return strings.Join(left, "\n")
			})
		})
	}
}

// othersAreServed pushes and fetches small things until the returned function is called
// or the test ends.
func othersAreServed(t *testing.T, c *client) (done func()) {
	t.Helper()
	dir := c.worktree("small")
	stop, rounds := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				rounds <- n
				return
			default:
			}
			for _, args := range [][]string{{"commit", "-q", "--allow-empty", "-m", "more"}, {"push", "-q", "origin", "main"}, {"fetch", "-q"}} {
				if out, err := c.cmd(context.WithoutCancel(t.Context()), dir, args...).CombinedOutput(); err != nil {
					t.Errorf("another user's git %s: %v\n%s", args[0], err, out)
				}
			}
			n++
		}
	}()
	done = sync.OnceFunc(func() {
		close(stop)
		t.Logf("%d pushes and fetches of another user meanwhile", <-rounds)
	})
	t.Cleanup(done)
	return done
}

// feed runs git with input that is written while it reads.
func (c *client) feed(dir string, write func(w *bufio.Writer), args ...string) string {
	c.tb.Helper()
	cmd := c.cmd(c.tb.Context(), dir, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		c.tb.Fatal(err)
	}
	go func() {
		w := bufio.NewWriter(in)
		write(w)
		_ = w.Flush() // if git ended, it says why
		_ = in.Close()
	}()
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// count runs git and counts the lines of its output. That has a pipe of its own: ssh
// makes the one that it shares with git non-blocking, and ls-remote then loses lines.
func (c *client) count(args ...string) int {
	c.tb.Helper()
	cmd := c.cmd(c.tb.Context(), ".", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return bytes.Count(out, []byte("\n"))
}

// refuse pushes and returns what git says when that fails.
func (c *client) refuse(dir string, args ...string) string {
	c.tb.Helper()
	out, err := c.cmd(c.tb.Context(), dir, append([]string{"push"}, args...)...).CombinedOutput()
	if err == nil {
		c.tb.Fatalf("git push %s was accepted:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

func pushOverLimit(t *testing.T, c *client) {
	t.Helper()
	dir := c.worktree("large")
	noise := exec.CommandContext(t.Context(), "dd", "if=/dev/urandom", "of="+filepath.Join(dir, "noise"), "bs=1M", "count=40", "status=none") //nolint:gosec // test
	if out, err := noise.CombinedOutput(); err != nil {
		t.Fatalf("dd: %v\n%s", err, out)
	}
	c.git(dir, "add", "noise")
	c.git(dir, "-c", "core.compression=0", "commit", "-q", "-m", "noise")
	if said := c.refuse(dir, "origin", "main"); !strings.Contains(said, "pack exceeds maximum allowed size (32.00 MiB)") {
		t.Errorf("git says:\n%s", said)
	}
}

func manyRefs(t *testing.T, c *client, n int) {
	t.Helper()
	dir := c.worktree("names")
	tip := c.git(dir, "rev-parse", "main")
	writePackedRefs(t, filepath.Join(dir, ".git"), "refs/tags/n/", tip, n)
	c.git(dir, "push", "-q", "origin", "--tags")
	if got := c.count("ls-remote", "--tags", c.url("names")); got != n {
		t.Errorf("%d tags arrived, want %d", got, n)
	}
}

func longMessage(t *testing.T, c *client, n int) {
	t.Helper()
	dir := c.worktree("message")
	head := fmt.Sprintf("tree %s\nparent %s\nauthor A <a@example.test> 1 +0000\ncommitter A <a@example.test> 1 +0000\n\n", c.git(dir, "rev-parse", "main^{tree}"), c.git(dir, "rev-parse", "main"))
	line := strings.Repeat("y", 127) + "\n"
	id := c.feed(dir, func(w *bufio.Writer) {
		_, _ = w.WriteString(head)
		for range n / len(line) {
			_, _ = w.WriteString(line)
		}
	}, "hash-object", "-t", "commit", "-w", "--stdin")
	c.git(dir, "-c", "core.compression=1", "push", "-q", "origin", id+":refs/heads/long")
	if got := c.git(".", "ls-remote", c.url("message"), "refs/heads/long"); !strings.HasPrefix(got, id) {
		t.Errorf("the branch is %q, want %s", got, id)
	}
}

func wideTree(t *testing.T, c *client, n int) {
	t.Helper()
	dir := c.worktree("wide")
	blob := c.feed(dir, func(w *bufio.Writer) { _, _ = w.WriteString("content\n") }, "hash-object", "-w", "--stdin")
	tree := c.feed(dir, func(w *bufio.Writer) {
		for i := range n {
			fmt.Fprintf(w, "100644 blob %s\tfile-%07d\n", blob, i)
		}
	}, "mktree")
	commit := c.git(dir, "commit-tree", tree, "-p", "main", "-m", "wide")
	c.git(dir, "-c", "core.compression=1", "push", "-q", "origin", commit+":refs/heads/main")
	clone := filepath.Join(t.TempDir(), "clone")
	c.git(".", "clone", "-q", "--bare", c.url("wide"), clone)
	if got := c.git(clone, "rev-parse", "main"); got != commit {
		t.Errorf("cloned %s, want %s", got, commit)
	}
}

func manyAdvertised(t *testing.T, s *stack.Stack, c *client, n int) {
	t.Helper()
	before, err := s.Repositories()
	if err != nil {
		t.Fatal(err)
	}
	dir := c.worktree("advertised")
	tip := c.git(dir, "rev-parse", "main")
	writePackedRefs(t, newRepository(t, s, before), "refs/heads/n/", tip, n)
	// Protocol 0 tells all of them before the first word of the client.
	for _, version := range []string{"0", "2"} {
		if got := c.count("-c", "protocol.version="+version, "ls-remote", "--heads", c.url("advertised")); got != n+1 {
			t.Errorf("protocol %s: %d branches, want %d", version, got, n+1)
		}
	}
	c.git(dir, "commit", "-q", "--allow-empty", "-m", "more")
	c.git(dir, "push", "-q", "origin", "main")
}

// writePackedRefs gives a repository n references, as years of work would.
func writePackedRefs(t *testing.T, repo, prefix, oid string, n int) {
	t.Helper()
	var packed bytes.Buffer
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range n {
		fmt.Fprintf(&packed, "%s %s%07d\n", oid, prefix, i)
	}
	if err := os.WriteFile(filepath.Join(repo, "packed-refs"), packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newRepository returns the directory of the repository that was not there before.
func newRepository(t *testing.T, s *stack.Stack, before []string) string {
	t.Helper()
	now, err := s.Repositories()
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]bool{}
	for _, dir := range before {
		old[dir] = true
	}
	for _, dir := range now {
		if !old[dir] {
			return dir
		}
	}
	t.Fatal("no new repository")
	return ""
}

// deltaBomb pushes a pack of a few kilobytes with an object of 16 GiB in it: a delta
// that copies the same 16 MiB again and again.
func deltaBomb(t *testing.T, c *client) {
	t.Helper()
	dir := c.worktree("bomb")
	const base, copies = 1<<24 - 1, 1024
	content := make([]byte, base)
	var pack bytes.Buffer
	pack.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x02")
	packEntry(t, &pack, 3, nil, content)
	sum := sha1.New() //nolint:gosec // git's object ids
	fmt.Fprintf(sum, "blob %d\x00", base)
	_, _ = sum.Write(content)
	delta := append(varint(base), varint(base*copies)...)
	for range copies {
		delta = append(delta, 0xf0, 0xff, 0xff, 0xff) // copy 0xffffff bytes from 0
	}
	packEntry(t, &pack, 7, sum.Sum(nil), delta)
	whole := sha1.Sum(pack.Bytes()) //nolint:gosec // git's checksum
	pack.Write(whole[:])

	// No git would send it: the protocol is spoken by hand.
	old, id := c.git(dir, "rev-parse", "main"), hex.EncodeToString(sum.Sum(nil))
	answer := rawPush(t, c, "bomb", fmt.Sprintf("%040d %s refs/tags/bomb\x00report-status side-band-64k", 0, id), pack.Bytes())
	if !strings.Contains(answer, "unpack ") || strings.Contains(answer, "unpack ok") {
		t.Errorf("the server answers %q", answer)
	}
	if got := c.git(".", "ls-remote", c.url("bomb")); strings.Contains(got, "bomb") || !strings.Contains(got, old) {
		t.Errorf("references afterwards:\n%s", got)
	}
}

// rawPush sends one command and a pack over SSH and returns all that comes back.
func rawPush(t *testing.T, c *client, project, command string, pack []byte) string {
	t.Helper()
	name, port, _ := strings.Cut(strings.TrimPrefix(c.remote, "ssh://"), ":")
	args := append(strings.Fields(user.SSHCommand(c.home, c.actor.KeyFile)), "-p", port, name, "git-receive-pack '"+c.actor.Username+"/"+project+".git'")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...) //nolint:gosec // test
	cmd.Env = append(os.Environ(), c.actor.Env(c.home)...)
	cmd.Stdin = io.MultiReader(strings.NewReader(fmt.Sprintf("%04x%s0000", len(command)+4, command)), bytes.NewReader(pack))
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	t.Logf("ssh: %v %s", err, stderr.String())
	return out.String()
}

// packEntry appends an object to a pack (gitformat-pack): kind 3 is a blob, 7 a delta
// against the object named by ref.
func packEntry(t *testing.T, pack *bytes.Buffer, kind int, ref, content []byte) {
	t.Helper()
	n := len(content)
	b := byte(kind<<4 | n&15) //nolint:gosec // as the format has it
	for n >>= 4; n > 0; n >>= 7 {
		pack.WriteByte(b | 0x80)
		b = byte(n & 0x7f)
	}
	pack.WriteByte(b)
	pack.Write(ref)
	z := zlib.NewWriter(pack)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func varint(n uint64) []byte { return binary.AppendUvarint(nil, n) }
