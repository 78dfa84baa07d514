package pack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	zero, oid := strings.Repeat("0", 40), strings.Repeat("a", 40)
	creates := func(n int) (lines []string) {
		for i := range n {
			caps := map[bool]string{true: "\x00 report-status side-band-64k"}[i == 0]
			lines = append(lines, fmt.Sprintf("%s %s refs/heads/b%d%s", zero, oid, i, caps))
		}
		return lines
	}
	with := func(line string) string { return pkt(append(creates(bulkFrom), line, "0000")...) }
	for name, tc := range map[string]struct {
		head string
		bulk bool
	}{
		"many":            {pkt(append(creates(bulkFrom), "0000")...), true},
		"few":             {pkt(append(creates(bulkFrom-1), "0000")...), false},
		"none":            {"0000", false},
		"one moves":       {with(oid + " " + strings.Repeat("b", 40) + " refs/heads/x"), false},
		"one goes":        {with(oid + " " + zero + " refs/heads/x"), false},
		"one never was":   {with(zero + " " + zero + " refs/heads/x"), false},
		"two formats":     {with(zero + " " + strings.Repeat("a", 64) + " refs/heads/x"), false},
		"shallow":         {pkt("shallow "+oid) + with(zero+" "+oid+" refs/heads/x"), false},
		"certificate":     {pkt("push-cert\x00caps\n", "0000"), false},
		"no packets":      {"PACK" + strings.Repeat("x", 100), false},
		"too short":       {"0003", false},
		"cut in a packet": {with("x")[:3000], false},
		"SHA-256":         {sha256Creates(), true},
	} {
		rest := "PACK and so on"
		if strings.HasPrefix(name, "cut") {
			rest = ""
		}
		c := newCommands(iotest.HalfReader(strings.NewReader(tc.head+rest)), &storage.Repo{Repo: gitcmd.Repo{Dir: t.TempDir()}})
		c.file = true // whatever file system this is
		got, err := io.ReadAll(c)
		if tc.bulk {
			if string(got) != "0000" || err != nil || !c.bulk.Load() {
				t.Errorf("%s: first git gets %.100q, %v", name, got, err)
			}
			got, err = io.ReadAll(c.again(gitcmd.Spec{}).Stdin)
		}
		if string(got) != tc.head+rest || err != nil || c.bulk.Load() != tc.bulk {
			t.Errorf("%s: git gets %.100q, %v; bulk %v", name, got, err, c.bulk.Load())
		}
	}
}

func sha256Creates() string {
	var lines []string
	for i := range bulkFrom {
		lines = append(lines, strings.Repeat("0", 64)+" "+strings.Repeat("a", 64)+fmt.Sprintf(" refs/tags/b%d", i))
	}
	return pkt(append(lines, "0000")...)
}

// TestCommands_bound: a push that makes more than can be held is one like others.
func TestCommands_bound(t *testing.T) {
	t.Parallel()
	line := pkt(strings.Repeat("0", 40) + " " + strings.Repeat("a", 40) + " " + strings.Repeat("r", 60_000))
	many := strings.Repeat(line, maxCommands/len(line)+1) + "0000"
	if head, creates, err := readCommands(strings.NewReader(many)); creates != 0 || err != nil || len(head) > maxCommands+len(line) {
		t.Errorf("%d commands, %d bytes, %v", creates, len(head), err)
	}
}

// TestCommands_broken: git gets what came, and then the error.
func TestCommands_broken(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	c := newCommands(io.MultiReader(strings.NewReader("00"), iotest.ErrReader(broken)), &storage.Repo{Repo: gitcmd.Repo{Dir: t.TempDir()}})
	if got, err := io.ReadAll(c); string(got) != "00" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCommands_fileSystem: on one that may not tell what it could not write, git syncs.
func TestCommands_fileSystem(t *testing.T) {
	t.Parallel()
	c := newCommands(strings.NewReader(sha256Creates()), &storage.Repo{Repo: gitcmd.Repo{Dir: "/proc"}})
	if got, err := io.ReadAll(c); string(got) != sha256Creates() || err != nil || c.bulk.Load() {
		t.Errorf("%.100q, %v; bulk %v", got, err, c.bulk.Load())
	}
}

// TestCommands_reftable: one file holds many references there.
func TestCommands_reftable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "reftable"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := newCommands(strings.NewReader(sha256Creates()), &storage.Repo{Repo: gitcmd.Repo{Dir: dir}})
	if got, err := io.ReadAll(c); string(got) != sha256Creates() || err != nil || c.bulk.Load() {
		t.Errorf("%.100q, %v; bulk %v", got, err, c.bulk.Load())
	}
}

func FuzzCommands(f *testing.F) {
	f.Add([]byte(sha256Creates()))
	f.Add([]byte("0003zz"))
	f.Fuzz(func(t *testing.T, in []byte) {
		head, creates, err := readCommands(strings.NewReader(string(in)))
		if !strings.HasPrefix(string(in), string(head)) || creates > len(in)/80 || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%d of %d bytes, %d commands, %v", len(head), len(in), creates, err)
		}
	})
}
