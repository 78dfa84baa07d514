package diff

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/gitaly/internal/gitcmd"
)

const (
	none = "0000000000000000000000000000000000000000"
	one  = "1111111111111111111111111111111111111111"
	two  = "2222222222222222222222222222222222222222"
)

// raw joins fields as git does with -z.
func raw(fields ...string) string { return strings.Join(fields, "\x00") + "\x00" }

// readAll reads every change, and says how it ended.
func readAll(in string, allPaths bool) (out []string, err error) {
	r := newRawReader(strings.NewReader(in))
	r.allPaths = allPaths
	next := splitTypes(r.next)
	for {
		c, err := next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, fmt.Sprintf("%c%d %o %o %.1s %.1s %s %s %s", c.Status, c.Score, c.OldMode, c.NewMode, c.OldID, c.NewID, c.OldPath, c.NewPath, c.Commit))
	}
}

func TestRawReader(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		allPaths bool
		want     []string
	}{
		{"nothing", "", false, nil},
		{"modified", raw(":100644 100755 "+one+" "+two+" M", "a\nb"), false, []string{"M0 100644 100755 1 2 a\nb a\nb "}},
		{"renamed", raw(":100644 100644 "+one+" "+one+" R086", "a", "b"), false, []string{"R86 100644 100644 1 1 a b "}},
		{"another type", raw(":100644 120000 "+one+" "+two+" T", "a"), false, []string{"D0 100644 0 1 0 a a ", "A0 0 120000 0 2 a a "}},
		{"of a commit", raw(one, ":000000 100644 "+none+" "+one+" A", "a"), false, []string{"A0 0 100644 0 1 a a " + one}},
		{"of trees", one + " " + two + "\n" + raw(":000000 100644 "+none+" "+one+" A", "a"), false, []string{"A0 0 100644 0 1 a a "}},
		{"merge", raw(one, "::100644 000000 100644 "+one+" "+none+" "+two+" MA", "a"), false,
			[]string{"M0 100644 100644 1 2 a a " + one, "A0 0 100644 0 2 a a " + one}},
		{"merge with renames", raw(one, "::100644 100644 100644 "+one+" "+two+" "+two+" RM", "old", "new", "new"), true,
			[]string{"R0 100644 100644 1 2 old new " + one, "M0 100644 100644 2 2 new new " + one}},
	} {
		got, err := readAll(tc.in, tc.allPaths)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	for _, bad := range []string{
		":", raw(":"), raw(":100644 100644 " + one + " M"), raw(":1 2 3 4 M"), raw(":100644 100644 "+one+" "+two+" X", "a"),
		raw(":100644 100644 "+one+" "+two+" R101", "a", "b"), raw(":100644 100644 "+one+" "+two+" R", "a"), raw(":9 100644 "+one+" "+two+" M", "a"),
		raw(":100644 100644 "+one+" "+two+" M") + "a", raw("::100644 100644 100644 "+one+" "+two+" "+two+" M", "a"), one, strings.Repeat("x", 2000),
		raw(":100644 100644 "+one+" "+two+" M", strings.Repeat("x", maxPath)),
	} {
		if got, err := readAll(bad, false); err == nil {
			t.Errorf("%.100q: %q", bad, got)
		}
	}
}

func FuzzRawReader(f *testing.F) {
	f.Add(raw(one, "::100644 000000 100644 "+one+" "+none+" "+two+" MA", "a"), true)
	f.Add(one+" "+two+"\n"+raw(":100644 100644 "+one+" "+one+" R086", "a", "b"), false)
	f.Fuzz(func(t *testing.T, in string, allPaths bool) {
		if got, err := readAll(in, allPaths); len(got) > len(in) {
			t.Errorf("%d changes in %d bytes, %v", len(got), len(in), err)
		}
	})
}

// TestHeader compares with what git prints.
func TestHeader(t *testing.T) {
	t.Parallel()
	var every []byte
	for b := 1; b < 256; b++ {
		if b != '/' {
			every = append(every, byte(b))
		}
	}
	for _, p := range []string{"a", "a b", "é", "a\tb", string(every), "-x/y z"} {
		dir := t.TempDir()
		git := func(stdin string, args ...string) string {
			cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", dir, "-c", "core.quotePath=true"}, args...)...)
			cmd.Stdin = strings.NewReader(stdin)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("git %q: %v", args, err)
			}
			return strings.TrimSpace(string(out))
		}
		git("", "init", "-q", "--bare")
		git("100644 "+git("x", "hash-object", "-w", "--stdin")+" 0\t"+p+"\x00", "update-index", "-z", "--index-info")
		out := git("", "diff-tree", "-r", "-p", git("", "hash-object", "-t", "tree", "-w", "/dev/null"), git("", "write-tree"))
		want, _, _ := strings.Cut(out, "\n")
		if got := string(Change{OldPath: []byte(p), NewPath: []byte(p)}.header()); got != want {
			t.Errorf("header of %q:\n%s, want\n%s", p, got, want)
		}
	}
}

// walked renders what a sink receives.
func walked(facts, patches string, o Options) (out []string, err error) {
	began := false
	err = walk(strings.NewReader(facts), strings.NewReader(patches), o, func(f *File, data []byte, last bool) error {
		if !began {
			out = append(out, string(f.NewPath)+":")
		}
		out[len(out)-1] += string(data)
		if began = !last; last {
			out[len(out)-1] += fmt.Sprintf(" +%d-%d %d", f.Added, f.Removed, f.Size)
		}
		return nil
	})
	return out, err
}

func TestWalk(t *testing.T) {
	t.Parallel()
	modified := func(p string) string { return raw(":100644 100644 "+one+" "+two+" M", p) }
	patch := func(p, body string) string {
		return "diff --git a/" + p + " b/" + p + "\nindex 1..2 100644\n--- a/" + p + "\n+++ b/" + p + "\n" + body
	}
	hunk := "@@ -1 +1 @@\n-a\n+b\n"
	for _, tc := range []struct {
		name, facts, patches string
		want                 []string
		fails                bool
	}{
		{"two files", modified("a") + modified("b"), patch("a", hunk) + patch("b", hunk), []string{"a:" + hunk + " +1-1 18", "b:" + hunk + " +1-1 18"}, false},
		{"the first has no patch", modified("a") + modified("b"), patch("b", hunk), []string{"a: +0-0 0", "b:" + hunk + " +1-1 18"}, false},
		{"the last has no patch", modified("a") + modified("b"), patch("a", hunk), []string{"a:" + hunk + " +1-1 18", "b: +0-0 0"}, false},
		{"no hunks", modified("a") + modified("b"), patch("a", "") + patch("b", hunk), []string{"a: +0-0 0", "b:" + hunk + " +1-1 18"}, false},
		{"lines like headers", modified("a"), patch("a", "@@ -1,2 +1 @@\n--- a/x\n-diff --git a/x b/x\n+++ b/x\n"),
			[]string{"a:@@ -1,2 +1 @@\n--- a/x\n-diff --git a/x b/x\n+++ b/x\n +1-2 50"}, false},
		{"no line break at the end", modified("a"), patch("a", "@@ -1 +1 @@\n-a\n+b"), []string{"a:@@ -1 +1 @@\n-a\n+b +1-1 17"}, false},
		{"a patch of no file", modified("a"), patch("a", hunk) + patch("b", hunk), []string{"a:" + hunk + " +1-1 18"}, true},
		{"out of order", modified("a") + modified("b"), patch("b", hunk) + patch("a", hunk), []string{"a: +0-0 0", "b:" + hunk + " +1-1 18"}, true},
		{"no patch at all", modified("a"), "", []string{"a: +0-0 0"}, false},
		{"facts that are none", "x", "", nil, true},
	} {
		got, err := walked(tc.facts, tc.patches, Options{})
		if diff := cmp.Diff(tc.want, got); diff != "" || (err != nil) != tc.fails {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
}

// TestWalk_bounded: however large a patch is, little of it is held.
func TestWalk_bounded(t *testing.T) {
	t.Parallel()
	facts := raw(":100644 100644 "+one+" "+two+" M", "a")
	line := "+" + strings.Repeat("x", 1<<20) + "\n"
	patches := "diff --git a/a b/a\n@@ -0,0 +1,9 @@\n" + strings.Repeat(line, 9)
	for _, limits := range []Limits{{}, {Enforce: true, PatchOnly: true, PatchBytes: 100}, {Collapse: true, SafeFiles: 1, SafeLines: 100, SafeBytes: 1 << 30}} {
		total, largest := 0, 0
		var end *File
		err := walk(strings.NewReader(facts), strings.NewReader(patches), Options{Limits: limits}, func(f *File, data []byte, _ bool) error {
			total, largest, end = total+len(data), max(largest, len(data)), f
			return nil
		})
		if err != nil || end.Added != 9 || end.Size != len(patches)-19 || largest > holdMax || (total == end.Size) != limits.streamed() {
			t.Errorf("%+v: %d bytes in parts of up to %d, %v", limits, total, largest, err)
		}
	}
}

// streamed reports whether the patch of this test arrives.
func (l Limits) streamed() bool { return !l.Enforce && !l.Collapse }

func FuzzWalk(f *testing.F) {
	f.Add(raw(":100644 100644 "+one+" "+two+" M", "a"), "diff --git a/a b/a\n@@ -1 +1 @@\n-a\n+b\n", true, 10)
	f.Add(raw(":100644 120000 "+one+" "+two+" T", "a"), "diff --git a/a b/a\ndiff --git a/a b/a\nBinary files a and b\n", false, 0)
	f.Fuzz(func(t *testing.T, facts, patches string, enforce bool, n int) {
		size := 0
		limits := Limits{Enforce: enforce, Files: n, Lines: n, Bytes: n, PatchBytes: n}
		_ = walk(strings.NewReader(facts), strings.NewReader(patches), Options{Limits: limits}, func(_ *File, data []byte, _ bool) error {
			size += len(data)
			return nil
		})
		if size > len(patches) {
			t.Errorf("%d bytes of patches in %d", size, len(patches))
		}
	})
}

func FuzzReadStat(f *testing.F) {
	f.Add([]byte("1\t2\tpath\x00-\t-\t\x00old\x00new\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		for {
			s, err := readStat(r)
			if err != nil {
				return
			}
			if s.Added < 0 || s.Removed < 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestReadRanges(t *testing.T) {
	t.Parallel()
	pair := func(n, relation, m, title string) string {
		return fmt.Sprintf("%2s:  %s %s %2s:  %s %s\n", n, one, relation, m, two, title)
	}
	long := strings.Repeat("y", 3*maxPart)
	in := pair("1", "=", "1", "same") + pair("2", "!", "3", "other: 1") + "    @@ f: x\n      1:  " + one + " = 1:  " + two + " text\n    +" + long + "\n    \n" +
		pair("-", ">", "10", long)
	var got []string
	began := false
	collect := func(p *CommitPair, data []byte, last bool) error {
		if !began {
			got = append(got, fmt.Sprintf("%c %s|", p.Relation, p.Title))
		}
		if len(data) > maxPart {
			t.Errorf("a part of %d bytes", len(data))
		}
		got[len(got)-1] += string(data)
		began = !last
		return nil
	}
	want := []string{"= same|", "! other: 1|@@ f: x\n  1:  " + one + " = 1:  " + two + " text\n+" + long + "\n\n"}
	if err := readRanges(strings.NewReader(in), collect); err != nil || len(got) != 3 || !strings.HasPrefix(got[2], "> yyy") {
		t.Fatalf("%d pairs, %v", len(got), err)
	}
	if diff := cmp.Diff(want, got[:2]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := readRanges(strings.NewReader("fatal: no\n"), collect); err == nil {
		t.Error("what is no pair was taken for one")
	}
}

func FuzzReadRanges(f *testing.F) {
	f.Add(" 1:  " + one + " = -:  ------- title\n    patch\n")
	f.Fuzz(func(t *testing.T, in string) {
		size := 0
		_ = readRanges(strings.NewReader(in), func(p *CommitPair, data []byte, _ bool) error {
			if size += len(data); p == nil {
				t.Error("a part of no pair")
			}
			return nil
		})
		if size > len(in) {
			t.Errorf("%d bytes in %d", size, len(in))
		}
	})
}

func TestReadUntil(t *testing.T) {
	t.Parallel()
	if _, err := readUntil(bufio.NewReader(strings.NewReader(strings.Repeat("x", 100)+"\n")), '\n', 100); !errors.Is(err, gitcmd.ErrTooLong) {
		t.Errorf("err = %v, want too long", err)
	}
}
