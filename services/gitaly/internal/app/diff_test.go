package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// emptyTree is what an initial commit is compared with.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// changes is a history with a change of every kind; the names are hard to tell apart.
func changes() string {
	numbers := func(from, to int) string {
		var s strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintln(&s, "line", i)
		}
		return s.String()
	}
	return commitOf("main", "one", map[string]string{
		"edit": "100644 a\nb\nc\n", "gone": "100644 x\n", "moved": "100644 " + numbers(0, 20), "mode": "100644 m\n", "kind": "100644 target",
		"bin": "100644 \x00\x01", "space": "100644 a b\n", "a b/x": "100644 1\n", "q\"\n\xff": "100644 1\n",
		"sub": "160000 " + strings.Repeat("1", 40), "end": "100644 no newline",
	}) + commitOf("main", "two", map[string]string{
		"edit": "100644 a\nB\nc\nd\n", "gone": "D", "moved": "D", "to b/moved": "100644 " + numbers(1, 20), "mode": "100755 m\n", "kind": "120000 target",
		"bin": "100644 \x00\x02", "space": "100644 a  b\n", "a b/x": "100644 2\n", "q\"\n\xff": "100644 2\n",
		"sub": "160000 " + strings.Repeat("2", 40), "end": "100644 still no newline", "new empty": "100644 ",
		"diff --git a/x b/x": "100644 diff --git a/x b/x\n",
	})
}

// diffed is a file put together from its messages.
type diffed struct {
	From, To, Facts, Patch string
	Added, Removed         int32
	Binary                 bool
}

// commitDiff renders what CommitDiff answers, and checks the framing of it.
func commitDiff(t *testing.T, b *bundle, req *gitalypb.CommitDiffRequest) ([]diffed, error) {
	t.Helper()
	messages, err := drain(ignore(gitalypb.NewDiffServiceClient(b.conn).CommitDiff(t.Context(), req)))
	var out []diffed
	began := false
	for _, m := range messages {
		if !began {
			out = append(out, diffed{
				From: string(m.GetFromPath()), To: string(m.GetToPath()), Added: m.GetLinesAdded(), Removed: m.GetLinesRemoved(), Binary: m.GetBinary(),
				Facts: strings.TrimSpace(fmt.Sprintf("%o %o %s", m.GetOldMode(), m.GetNewMode(), flagsOf(m))),
			})
		} else if len(m.GetToPath()) > 0 || m.GetFromId() != "" {
			t.Errorf("facts in the middle of a file: %v", m)
		}
		out[len(out)-1].Patch += string(m.GetRawPatchData())
		began = !m.GetEndOfPatch()
	}
	if began && err == nil {
		t.Error("the last file has no end")
	}
	return out, err
}

func flagsOf(m *gitalypb.CommitDiffResponse) string {
	var flags []string
	for name, on := range map[string]bool{"overflow": m.GetOverflowMarker(), "collapsed": m.GetCollapsed(), "too large": m.GetTooLarge()} {
		if on {
			flags = append(flags, name)
		}
	}
	return strings.Join(flags, ",")
}

// everything is what changes() changed, line by line.
func everything() []diffed {
	return []diffed{
		{From: "a b/x", To: "a b/x", Facts: "100644 100644", Patch: "@@ -1 +1 @@\n-1\n+2\n", Added: 1, Removed: 1},
		{From: "bin", To: "bin", Facts: "100644 100644", Patch: "Binary files a/bin and b/bin differ\n", Binary: true},
		{From: "diff --git a/x b/x", To: "diff --git a/x b/x", Facts: "0 100644", Patch: "@@ -0,0 +1 @@\n+diff --git a/x b/x\n", Added: 1},
		{From: "edit", To: "edit", Facts: "100644 100644", Patch: "@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d\n", Added: 2, Removed: 1},
		{From: "end", To: "end", Facts: "100644 100644", Added: 1, Removed: 1,
			Patch: "@@ -1 +1 @@\n-no newline\n\\ No newline at end of file\n+still no newline\n\\ No newline at end of file\n"},
		{From: "gone", To: "gone", Facts: "100644 0", Patch: "@@ -1 +0,0 @@\n-x\n", Removed: 1},
		{From: "kind", To: "kind", Facts: "100644 0", Patch: "@@ -1 +0,0 @@\n-target\n\\ No newline at end of file\n", Removed: 1},
		{From: "kind", To: "kind", Facts: "0 120000", Patch: "@@ -0,0 +1 @@\n+target\n\\ No newline at end of file\n", Added: 1},
		{From: "mode", To: "mode", Facts: "100644 100755"},
		{From: "new empty", To: "new empty", Facts: "0 100644"},
		{From: "q\"\n\xff", To: "q\"\n\xff", Facts: "100644 100644", Patch: "@@ -1 +1 @@\n-1\n+2\n", Added: 1, Removed: 1},
		{From: "space", To: "space", Facts: "100644 100644", Patch: "@@ -1 +1 @@\n-a b\n+a  b\n", Added: 1, Removed: 1},
		{From: "sub", To: "sub", Facts: "160000 160000", Added: 1, Removed: 1,
			Patch: "@@ -1 +1 @@\n-Subproject commit " + strings.Repeat("1", 40) + "\n+Subproject commit " + strings.Repeat("2", 40) + "\n"},
		{From: "moved", To: "to b/moved", Facts: "100644 100644", Patch: "@@ -1,4 +1,3 @@\n-line 0\n line 1\n line 2\n line 3\n", Removed: 1},
	}
}

func TestDiffService_CommitDiff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, _ := b.history(t, rel, changes(), false)
	req := func(alter func(*gitalypb.CommitDiffRequest)) *gitalypb.CommitDiffRequest {
		r := &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"}
		alter(r)
		return r
	}
	without := func(path string) (out []diffed) { // the patch of that path
		for _, d := range everything() {
			if d.To == path {
				d.Patch, d.Added, d.Removed = "", 0, 0
			}
			out = append(out, d)
		}
		return out
	}
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.CommitDiffRequest)
		want  []diffed
	}{
		{"everything", func(*gitalypb.CommitDiffRequest) {}, everything()},
		{"amount of white space", func(r *gitalypb.CommitDiffRequest) {
			r.WhitespaceChanges = gitalypb.CommitDiffRequest_WHITESPACE_CHANGES_IGNORE
		}, without("space")},
		{"all white space", func(r *gitalypb.CommitDiffRequest) {
			r.WhitespaceChanges = gitalypb.CommitDiffRequest_WHITESPACE_CHANGES_IGNORE_ALL
		}, without("space")},
		{"words", func(r *gitalypb.CommitDiffRequest) {
			r.DiffMode, r.Paths = gitalypb.CommitDiffRequest_WORDDIFF, [][]byte{[]byte("edit")}
		}, []diffed{{From: "edit", To: "edit", Facts: "100644 100644", Patch: "@@ -1,3 +1,4 @@\n a\n~\n-b\n+B\n~\n c\n~\n+d\n~\n"}}},
		{"a path", func(r *gitalypb.CommitDiffRequest) { r.Paths = [][]byte{[]byte("gone")} }, everything()[5:6]},
		{"a directory", func(r *gitalypb.CommitDiffRequest) { r.Paths = [][]byte{[]byte("a b")} }, everything()[:1]},
		{"no such path", func(r *gitalypb.CommitDiffRequest) { r.Paths = [][]byte{[]byte("*"), []byte(":/"), []byte("-x")} }, nil},
		{"no difference", func(r *gitalypb.CommitDiffRequest) { r.LeftCommitId = "main" }, nil},
		{"initial commit", func(r *gitalypb.CommitDiffRequest) {
			r.LeftCommitId, r.RightCommitId, r.Paths = emptyTree, "main~1", [][]byte{[]byte("gone")}
		}, []diffed{{From: "gone", To: "gone", Facts: "0 100644", Patch: "@@ -0,0 +1 @@\n+x\n", Added: 1}}},
	} {
		got, err := commitDiff(t, b, req(tc.alter))
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
}

// TestDiffService_limits: what is left out, and where it ends.
func TestDiffService_limits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, _ := b.history(t, rel, commitOf("main", "one", map[string]string{
		"1.txt": "100644 a\nb\n", "2.md": "100644 a\nb\nc\nd\n", "3.txt": "100644 e\n", "4": "100644 f\n",
	}), false)
	limits := func(alter func(*gitalypb.CommitDiffRequest)) *gitalypb.CommitDiffRequest {
		r := &gitalypb.CommitDiffRequest{
			Repository: repo, LeftCommitId: emptyTree, RightCommitId: "main",
			MaxFiles: 100, MaxLines: 1000, MaxBytes: 100_000, MaxPatchBytes: 10_000, SafeMaxFiles: 100, SafeMaxLines: 1000, SafeMaxBytes: 100_000,
		}
		alter(r)
		return r
	}
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.CommitDiffRequest)
		want  string // of each file its patch's number of lines, and flags
	}{
		{"none is reached", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.CollapseDiffs = true, true }, "1.txt 3, 2.md 5, 3.txt 2, 4 2"},
		{"not enforced", func(r *gitalypb.CommitDiffRequest) { r.MaxFiles, r.MaxLines, r.MaxBytes, r.MaxPatchBytes = 0, 0, 0, 0 }, "1.txt 3, 2.md 5, 3.txt 2, 4 2"},
		{"files", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.MaxFiles = true, 2 }, "1.txt 3, 2.md 5,  0 overflow"},
		{"lines", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.MaxLines = true, 7 }, "1.txt 3, 2.md 5,  0 overflow"},
		{"bytes", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.MaxBytes = true, 18 }, "1.txt 3,  0 overflow"},
		{"all paths", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.MaxFiles, r.CollectAllPaths = true, 2, true },
			"1.txt 3, 2.md 5, 3.txt 0 overflow, 4 0 overflow"},
		{"one patch", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.MaxPatchBytes = true, 26 }, "1.txt 3, 2.md 0 too large, 3.txt 2, 4 2"},
		{"by extension", func(r *gitalypb.CommitDiffRequest) {
			r.EnforceLimits, r.MaxPatchBytesForFileExtension = true, map[string]int32{".txt": 1, "4": 1}
		}, "1.txt 0 too large, 2.md 5, 3.txt 0 too large, 4 0 too large"},
		{"a patch that is too large uses nothing", func(r *gitalypb.CommitDiffRequest) {
			r.EnforceLimits, r.MaxLines, r.MaxPatchBytes = true, 5, 26
		}, "1.txt 3, 2.md 0 too large, 3.txt 2, 4 2"},
		{"safe files", func(r *gitalypb.CommitDiffRequest) { r.CollapseDiffs, r.SafeMaxFiles = true, 3 }, "1.txt 3, 2.md 5, 3.txt 2, 4 0 collapsed"},
		{"safe lines", func(r *gitalypb.CommitDiffRequest) { r.CollapseDiffs, r.SafeMaxLines = true, 4 }, "1.txt 3, 2.md 0 collapsed, 3.txt 2, 4 2"},
		{"safe bytes", func(r *gitalypb.CommitDiffRequest) { r.CollapseDiffs, r.SafeMaxBytes = true, 9 }, "1.txt 3, 2.md 0 collapsed, 3.txt 2, 4 0 collapsed"},
		{"nothing is safe", func(r *gitalypb.CommitDiffRequest) { r.CollapseDiffs, r.SafeMaxFiles = true, 0 },
			"1.txt 0 collapsed, 2.md 0 collapsed, 3.txt 0 collapsed, 4 0 collapsed"},
		{"limits of zero", func(r *gitalypb.CommitDiffRequest) { r.EnforceLimits, r.MaxFiles = true, 0 }, " 0 overflow"},
	} {
		files, err := commitDiff(t, b, limits(tc.alter))
		var got []string
		for _, f := range files {
			_, flags, _ := strings.Cut(strings.TrimPrefix(f.Facts, "0 "), " ")
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %d %s", f.To, strings.Count(f.Patch, "\n"), flags)))
			if f.To != "" && f.Added != map[string]int32{"1.txt": 2, "2.md": 4, "3.txt": 1, "4": 1}[f.To] {
				t.Errorf("%s: %d lines added to %s", tc.name, f.Added, f.To)
			}
		}
		if text := strings.Join(got, ", "); strings.ReplaceAll(text, " ", "") != strings.ReplaceAll(tc.want, " ", "") || err != nil {
			t.Errorf("%s: %s, %v, want %s", tc.name, text, err, tc.want)
		}
	}
}

// TestDiffService_largePatch: a patch of long lines comes in messages that are small,
// and is cut where a limit says so.
func TestDiffService_largePatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("x", 3<<20)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{"f": "100644 " + long + "\n" + long + "\n", "g": "100644 1\n"}), false)
	want := "@@ -0,0 +1,2 @@\n+" + long + "\n+" + long + "\n"
	files, err := commitDiff(t, b, &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: emptyTree, RightCommitId: "main"})
	if err != nil || len(files) != 2 || files[0].Patch != want || files[1].Patch == "" {
		t.Errorf("whole: %d files, %v", len(files), err)
	}
	files, err = commitDiff(t, b, &gitalypb.CommitDiffRequest{
		Repository: repo, LeftCommitId: emptyTree, RightCommitId: "main", EnforceLimits: true, MaxFiles: 10, MaxLines: 10, MaxBytes: 100 << 20,
		MaxPatchBytes: 100 << 20, MaxPatchBytesForFileExtension: map[string]int32{"g": 100},
	})
	if err != nil || len(files) != 2 || files[0].Patch != "" || !strings.HasSuffix(files[0].Facts, "too large") || files[0].Added != 2 || files[1].Patch == "" {
		t.Errorf("limited: %d files, %v", len(files), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := gitalypb.NewDiffServiceClient(b.conn).CommitDiff(ctx, &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: emptyTree, RightCommitId: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || len(m.GetRawPatchData()) > 128<<10 {
		t.Fatalf("first message of %d bytes, %v", len(m.GetRawPatchData()), err)
	}
	cancel()
	if _, err := drain(stream); status.Code(err) != codes.Canceled {
		t.Errorf("err = %v, want canceled", err)
	}
	eventually(t, "git to end", func() bool { return len(processesIn(dir)) == 0 })
}

// TestDiffService_attributes: .gitattributes of HEAD say what is text, where git can
// read them from a tree.
func TestDiffService_attributes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{"f": "100644 1\n"})+
		commitOf("main", "two", map[string]string{"f": "100644 2\n", ".gitattributes": "100644 f -diff\n"}), false)
	want := []diffed{{From: "f", To: "f", Facts: "100644 100644", Patch: "@@ -1 +1 @@\n-1\n+2\n", Added: 1, Removed: 1}}
	if strings.Contains(plainGit(t, dir, "", "-c", "attr.tree=HEAD", "check-attr", "diff", "f"), "unset") {
		want = []diffed{{From: "f", To: "f", Facts: "100644 100644", Patch: "Binary files a/f and b/f differ\n", Binary: true}}
	}
	files, err := commitDiff(t, b, &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main", Paths: [][]byte{[]byte("f")}})
	if diff := cmp.Diff(want, files); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestDiffService_sha256 compares in a repository with long ids.
func TestDiffService_sha256(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, _ := b.history(t, rel, commitOf("main", "one", map[string]string{"f": "100644 1\n"})+commitOf("main", "two", map[string]string{"f": "100644 2\n"}), true)
	files, err := commitDiff(t, b, &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"})
	want := []diffed{{From: "f", To: "f", Facts: "100644 100644", Patch: "@@ -1 +1 @@\n-1\n+2\n", Added: 1, Removed: 1}}
	if diff := cmp.Diff(want, files); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	client := gitalypb.NewDiffServiceClient(b.conn)
	deltas := all(t, ignore(client.CommitDelta(t.Context(), &gitalypb.CommitDeltaRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"})), nil)
	if len(deltas) != 1 || len(deltas[0].GetDeltas()[0].GetToId()) != 64 {
		t.Errorf("CommitDelta = %v", deltas)
	}
	id, err := client.GetPatchID(t.Context(), &gitalypb.GetPatchIDRequest{Repository: repo, OldRevision: []byte("main~1"), NewRevision: []byte("main")})
	if err != nil || id.GetPatchId() == "" {
		t.Errorf("GetPatchID = %v, %v", id, err)
	}
	pair := &gitalypb.DiffBlobsRequest_BlobPair{LeftBlob: []byte(strings.Repeat("0", 64)), RightBlob: []byte("main:f")}
	blobs := all(t, ignore(client.DiffBlobs(t.Context(), &gitalypb.DiffBlobsRequest{Repository: repo, BlobPairs: []*gitalypb.DiffBlobsRequest_BlobPair{pair}})), nil)
	if len(blobs) != 1 || string(blobs[0].GetPatch()) != "@@ -0,0 +1 @@\n+2\n" {
		t.Errorf("DiffBlobs = %v", blobs)
	}
}
