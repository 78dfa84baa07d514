package app_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

func TestDiffService_listings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, dir := b.history(t, rel, changes(), false)
	client, ctx := gitalypb.NewDiffServiceClient(b.conn), t.Context()
	var deltas, stats []string
	for _, m := range all(t, ignore(client.CommitDelta(ctx, &gitalypb.CommitDeltaRequest{
		Repository: repo, LeftCommitId: "main~1", RightCommitId: "main", Paths: [][]byte{[]byte("kind"), []byte("moved"), []byte("to b"), []byte("sub")},
	})), nil) {
		for _, d := range m.GetDeltas() {
			deltas = append(deltas, fmt.Sprintf("%s %s %o %o %.1s %.1s", d.GetFromPath(), d.GetToPath(), d.GetOldMode(), d.GetNewMode(), d.GetFromId(), d.GetToId()))
		}
	}
	id := func(name string) string { return plainGit(t, dir, "", "rev-parse", name)[:1] }
	want := []string{
		"kind kind 100644 0 " + id("main:kind") + " 0", "kind kind 0 120000 0 " + id("main:kind"), "sub sub 160000 160000 1 2",
		"moved to b/moved 100644 100644 " + id("main~1:moved") + " " + id("main:to b/moved"),
	}
	if diff := cmp.Diff(want, deltas); diff != "" {
		t.Errorf("CommitDelta (-want +got):\n%s", diff)
	}
	for _, m := range all(t, ignore(client.DiffStats(ctx, &gitalypb.DiffStatsRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"})), nil) {
		for _, s := range m.GetStats() {
			stats = append(stats, fmt.Sprintf("%q %q +%d-%d", s.GetOldPath(), s.GetPath(), s.GetAdditions(), s.GetDeletions()))
		}
	}
	want = []string{
		`"" "a b/x" +1-1`, `"" "bin" +0-0`, `"" "diff --git a/x b/x" +1-0`, `"" "edit" +2-1`, `"" "end" +1-1`, `"" "gone" +0-1`, `"" "kind" +0-0`,
		`"" "mode" +0-0`, `"" "new empty" +0-0`, `"" "q\"\n\xff" +1-1`, `"" "space" +1-1`, `"" "sub" +1-1`, `"moved" "to b/moved" +0-1`,
	}
	if diff := cmp.Diff(want, stats); diff != "" {
		t.Errorf("DiffStats (-want +got):\n%s", diff)
	}
	var raw, mails string
	for _, m := range all(t, ignore(client.RawDiff(ctx, &gitalypb.RawDiffRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"})), nil) {
		raw += string(m.GetData())
	}
	if want := plainGit(t, dir, "", "diff", "--full-index", "main~1", "main") + "\n"; raw != want {
		t.Errorf("RawDiff (-want +got):\n%s", cmp.Diff(want, raw))
	}
	for _, m := range all(t, ignore(client.RawPatch(ctx, &gitalypb.RawPatchRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"})), nil) {
		mails += string(m.GetData())
	}
	if want := plainGit(t, dir, "", "format-patch", "--stdout", "--signature=GitLab", "main~1..main") + "\n"; strings.TrimSpace(mails) != strings.TrimSpace(want) {
		t.Errorf("RawPatch (-want +got):\n%s", cmp.Diff(want, mails))
	}
}

// TestDiffService_config: what a repository's configuration says of programs and looks
// does not count.
func TestDiffService_config(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, dir := b.history(t, rel, changes(), false)
	if err := writeFile(dir+"/info/attributes", "* diff=evil\n"); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"diff.external": "false", "diff.evil.command": "false", "diff.evil.textconv": "false", "diff.noprefix": "true", "diff.mnemonicPrefix": "true",
		"diff.renames": "false", "diff.suppressBlankEmpty": "true", "core.quotePath": "false", "color.ui": "always", "diff.context": "0",
	} {
		plainGit(t, dir, "", "config", key, value)
	}
	got, err := commitDiff(t, b, &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"})
	if diff := cmp.Diff(everything(), got); diff != "" || err != nil {
		t.Errorf("CommitDiff: %v (-want +got):\n%s", err, diff)
	}
	client, ctx := gitalypb.NewDiffServiceClient(b.conn), t.Context()
	if _, err := client.GetPatchID(ctx, &gitalypb.GetPatchIDRequest{Repository: repo, OldRevision: []byte("main~1"), NewRevision: []byte("main")}); err != nil {
		t.Errorf("GetPatchID: %v", err)
	}
	if _, err := drain(ignore(client.RawPatch(ctx, &gitalypb.RawPatchRequest{Repository: repo, LeftCommitId: "main~1", RightCommitId: "main"}))); err != nil {
		t.Errorf("RawPatch: %v", err)
	}
}

func TestDiffService_FindChangedPaths(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := strings.Repeat("same\n", 20)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{"a": "100644 1", "old": "100644 " + text, "kind": "100644 x"})+
		"reset refs/heads/side\nfrom refs/heads/main\n\n"+
		commitOf("side", "two", map[string]string{"a": "100644 2", "old": "D", "new": "100644 " + text + "more\n", "kind": "120000 x"})+
		commitOf("main", "three", map[string]string{"b": "100755 3"})+
		strings.Replace(commitOf("main", "merge", map[string]string{
			"a": "100644 4", "old": "D", "new": "100644 " + text + "more\n", "kind": "120000 x",
		}), "merge\nM", "merge\nmerge refs/heads/side\nM", 1), false)
	plainGit(t, dir, "", "rev-parse", "main^2") // it is a merge
	client := gitalypb.NewDiffServiceClient(b.conn)
	names := map[string]string{"": "-"}
	for _, name := range []string{"main~2", "side", "main~1", "main"} {
		names[plainGit(t, dir, "", "rev-parse", name)] = name
	}
	find := func(req *gitalypb.FindChangedPathsRequest) ([]string, error) {
		req.Repository = repo
		messages, err := drain(ignore(client.FindChangedPaths(t.Context(), req)))
		var out []string
		for _, m := range messages {
			for _, p := range m.GetPaths() {
				out = append(out, fmt.Sprintf("%s %s %q %s %o %o %d", names[p.GetCommitId()], p.GetStatus(), p.GetOldPath(), p.GetPath(), p.GetOldMode(), p.GetNewMode(), p.GetScore()))
			}
		}
		return out, err
	}
	commit := func(revision string, parents ...string) *gitalypb.FindChangedPathsRequest_Request {
		return &gitalypb.FindChangedPathsRequest_Request{Type: &gitalypb.FindChangedPathsRequest_Request_CommitRequest_{
			CommitRequest: &gitalypb.FindChangedPathsRequest_Request_CommitRequest{CommitRevision: revision, ParentCommitRevisions: parents},
		}}
	}
	trees := func(left, right string) *gitalypb.FindChangedPathsRequest_Request {
		return &gitalypb.FindChangedPathsRequest_Request{Type: &gitalypb.FindChangedPathsRequest_Request_TreeRequest_{
			TreeRequest: &gitalypb.FindChangedPathsRequest_Request_TreeRequest{LeftTreeRevision: left, RightTreeRevision: right},
		}}
	}
	type requests = []*gitalypb.FindChangedPathsRequest_Request
	type filters = []gitalypb.FindChangedPathsRequest_DiffStatus
	for _, tc := range []struct {
		name string
		req  *gitalypb.FindChangedPathsRequest
		want []string
	}{
		{"nothing", &gitalypb.FindChangedPathsRequest{}, nil},
		{"initial commit", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("main~2")}},
			[]string{`main~2 ADDED "" a 0 100644 0`, `main~2 ADDED "" kind 0 100644 0`, `main~2 ADDED "" old 0 100644 0`}},
		{"commits", &gitalypb.FindChangedPathsRequest{Commits: []string{"main~1", "side"}}, []string{
			`main~1 ADDED "" b 0 100755 0`, `side MODIFIED "" a 100644 100644 0`, `side TYPE_CHANGE "" kind 100644 120000 0`,
			`side ADDED "" new 0 100644 0`, `side DELETED "" old 100644 0 0`,
		}},
		{"renames", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("side")}, FindRenames: true}, []string{
			`side MODIFIED "" a 100644 100644 0`, `side TYPE_CHANGE "" kind 100644 120000 0`, `side RENAMED "old" new 100644 100644 95`,
		}},
		{"filtered", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("side")}, DiffFilters: filters{
			gitalypb.FindChangedPathsRequest_DIFF_STATUS_DELETED, gitalypb.FindChangedPathsRequest_DIFF_STATUS_TYPE_CHANGE,
		}}, []string{`side TYPE_CHANGE "" kind 100644 120000 0`, `side DELETED "" old 100644 0 0`}},
		{"only renames", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("side")}, FindRenames: true, DiffFilters: filters{
			gitalypb.FindChangedPathsRequest_DIFF_STATUS_RENAMED,
		}}, []string{`side RENAMED "old" new 100644 100644 95`}},
		{"merge with each parent", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("main")}, FindRenames: true}, []string{
			`main MODIFIED "" a 100644 100644 0`, `main TYPE_CHANGE "" kind 100644 120000 0`, `main RENAMED "old" new 100644 100644 95`,
			`main MODIFIED "" a 100644 100644 0`, `main ADDED "" b 0 100755 0`,
		}},
		{"merge with all parents", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("main")},
			MergeCommitDiffMode: gitalypb.FindChangedPathsRequest_MERGE_COMMIT_DIFF_MODE_ALL_PARENTS, FindRenames: true},
			[]string{`main MODIFIED "" a 100644 100644 0`, `main MODIFIED "" a 100644 100644 0`}},
		{"merge with all parents, no renames", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("main")},
			MergeCommitDiffMode: gitalypb.FindChangedPathsRequest_MERGE_COMMIT_DIFF_MODE_ALL_PARENTS},
			[]string{`main MODIFIED "" a 100644 100644 0`, `main MODIFIED "" a 100644 100644 0`}},
		{"other parents", &gitalypb.FindChangedPathsRequest{Requests: requests{commit("main~1", "side")}}, []string{
			`main~1 MODIFIED "" a 100644 100644 0`, `main~1 ADDED "" b 0 100755 0`, `main~1 TYPE_CHANGE "" kind 120000 100644 0`,
			`main~1 DELETED "" new 100644 0 0`, `main~1 ADDED "" old 0 100644 0`,
		}},
		{"trees and a commit", &gitalypb.FindChangedPathsRequest{Requests: requests{trees("main~2", "main~1^{tree}"), commit("main~1")}},
			[]string{`- ADDED "" b 0 100755 0`, `main~1 ADDED "" b 0 100755 0`}},
	} {
		got, err := find(tc.req)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	for _, tc := range []struct {
		req  *gitalypb.FindChangedPathsRequest
		code codes.Code
		text string
	}{
		{&gitalypb.FindChangedPathsRequest{Commits: []string{"main"}, Requests: requests{commit("main")}}, codes.InvalidArgument, "cannot specify both commits and requests"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("")}}, codes.InvalidArgument, "resolving commit: revision cannot be empty"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("none")}}, codes.NotFound, `resolving commit: revision can not be found: "none"`},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("main", "none")}}, codes.NotFound, `resolving commit parent: revision can not be found: "none"`},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{trees("none", "main")}}, codes.NotFound, `resolving left tree: revision can not be found: "none"`},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{trees("main", "")}}, codes.InvalidArgument, "resolving right tree: revision cannot be empty"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{trees("", "")}}, codes.InvalidArgument, "resolving left tree: revision cannot be empty"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{{}}}, codes.InvalidArgument, "request without a type"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("--stdin")}}, codes.InvalidArgument, "resolving commit: revision can't start with '-'"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("main\nside")}}, codes.InvalidArgument, "resolving commit: revision can't contain whitespace"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("main")}, DiffFilters: filters{0}}, codes.InvalidArgument, "invalid diff filter"},
		{&gitalypb.FindChangedPathsRequest{Requests: requests{commit("main")}, DiffFilters: filters{99}}, codes.InvalidArgument, "invalid diff filter"},
	} {
		if got, err := find(tc.req); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("FindChangedPaths(%v) = %q, %v, want %v %q", tc.req.GetRequests(), got, err, tc.code, tc.text)
		}
	}
}

func TestDiffService_GetPatchID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := func(before, change string) string {
		return "100644 " + before + "\n2\n3\n4\n" + change + "\n6\n7\n8\n9\n"
	}
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{"f": text("1", "5")})+commitOf("main", "two", map[string]string{"f": text("1", "five")})+
		commitOf("main", "three", map[string]string{"f": text("more\n1", "5")})+commitOf("main", "four", map[string]string{"f": text("more\n1", "five")})+
		commitOf("main", "five", map[string]string{"f": "100644 1\n2\n3\nother\n5\n"})+commitOf("main", "six", map[string]string{"f": "100644 1\n2\n3\nother\nfive\n"}), false)
	client := gitalypb.NewDiffServiceClient(b.conn)
	get := func(left, right string, free bool) (string, error) {
		resp, err := client.GetPatchID(t.Context(), &gitalypb.GetPatchIDRequest{Repository: repo, OldRevision: []byte(left), NewRevision: []byte(right), ContextFree: free})
		return resp.GetPatchId(), err
	}
	ids := map[string]string{}
	for name, at := range map[string][2]string{
		"first": {"main~5", "main~4"}, "lower": {"main~3", "main~2"}, "elsewhere": {"main~1", "main"}, "blobs": {"main~5:f", "main~4:f"},
	} {
		for _, free := range []bool{false, true} {
			id, err := get(at[0], at[1], free)
			if err != nil || len(id) != 40 {
				t.Errorf("%s: %q, %v", name, id, err)
			}
			ids[fmt.Sprint(name, free)] = id
		}
	}
	if ids["firstfalse"] != ids["lowerfalse"] || ids["firstfalse"] != ids["blobsfalse"] {
		t.Errorf("the same change has different ids: %v", ids)
	}
	if ids["firstfalse"] == ids["elsewherefalse"] || ids["firsttrue"] != ids["elsewheretrue"] {
		t.Errorf("the lines around a change count when they should not, or the other way round: %v", ids)
	}
	for _, tc := range []struct {
		left, right string
		code        codes.Code
		text        string
	}{
		{"main", "main", codes.FailedPrecondition, "no difference between old and new revision"},
		{"", "main", codes.InvalidArgument, "empty OldRevision"},
		{"main", "", codes.InvalidArgument, "empty NewRevision"},
		{"none", "main", codes.FailedPrecondition, "revisions cannot be compared"},
		{"main:none", "main:f", codes.FailedPrecondition, "revisions cannot be compared"},
		{"--output=/tmp/x", "main", codes.InvalidArgument, "revision can't start with '-'"},
		{"main", "main:../f", codes.InvalidArgument, "path is outside of the repository"},
		{"main", ":f", codes.InvalidArgument, "empty revision"},
		{"main\x00", "main", codes.InvalidArgument, "revision can't contain NUL"},
	} {
		if _, err := get(tc.left, tc.right, false); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("GetPatchID(%q, %q): %v, want %v %q", tc.left, tc.right, err, tc.code, tc.text)
		}
	}
	if left := processesIn(dir, "diff"); len(left) != 0 {
		t.Errorf("processes %q", left)
	}
}

func TestDiffService_RangeDiff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := "100644 " + strings.Repeat("text\n", 20)
	repo, dir := b.history(t, rel, commitOf("base", "base", map[string]string{"f": "100644 0\n"})+
		"reset refs/heads/v1\nfrom refs/heads/base\n\n"+
		commitOf("v1", "same", map[string]string{"s": "100644 s\n"})+commitOf("v1", "changed", map[string]string{"f": text})+
		commitOf("v1", "dropped", map[string]string{"d": "100644 " + strings.Repeat("d\n", 9)})+
		"reset refs/heads/v2\nfrom refs/heads/base\n\n"+
		commitOf("v2", "changed", map[string]string{"f": text + "extra\n"})+commitOf("v2", "same", map[string]string{"s": "100644 s\n"})+
		commitOf("v2", "new", map[string]string{"n": "120000 nnn"}), false)
	client, ctx := gitalypb.NewDiffServiceClient(b.conn), t.Context()
	id := func(name string) string { return plainGit(t, dir, "", "rev-parse", name) }
	dashes := strings.Repeat("-", 40)
	want := []string{
		id("v1") + " LESS_THAN " + dashes + " dropped false", id("v1~1") + " NOT_EQUAL " + id("v2~2") + " changed true",
		id("v1~2") + " EQUAL " + id("v2~1") + " same false", dashes + " GREATER_THAN " + id("v2") + " new false",
	}
	for name, req := range map[string]*gitalypb.RangeDiffRequest{
		"ranges":    {RangeSpec: &gitalypb.RangeDiffRequest_RangePair{RangePair: &gitalypb.RangePair{Range1: "base..v1", Range2: "base..v2"}}},
		"revisions": {RangeSpec: &gitalypb.RangeDiffRequest_RevisionRange{RevisionRange: &gitalypb.RevisionRange{Rev1: "v1", Rev2: "v2"}}},
		"base":      {RangeSpec: &gitalypb.RangeDiffRequest_BaseWithRevisions{BaseWithRevisions: &gitalypb.BaseWithRevisions{Base: "base", Rev1: "v1", Rev2: "v2"}}},
	} {
		req.Repository = repo
		var got []string
		for _, m := range all(t, ignore(client.RangeDiff(ctx, req)), nil) {
			relation := strings.TrimSuffix(strings.TrimPrefix(m.GetComparison().String(), "COMPARATOR_"), "_UNSPECIFIED")
			got = append(got, fmt.Sprintf("%s %s %s %s %v", m.GetFromCommitId(), relation, m.GetToCommitId(), m.GetCommitMessageTitle(), strings.Contains(string(m.GetPatchData()), "\n++extra\n")))
			if !m.GetEndOfPatch() || strings.HasPrefix(string(m.GetPatchData()), " ") {
				t.Errorf("%s: %v", name, m)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	var raw string
	for _, m := range all(t, ignore(client.RawRangeDiff(ctx, &gitalypb.RawRangeDiffRequest{Repository: repo, RangeSpec: &gitalypb.RawRangeDiffRequest_RangePair{
		RangePair: &gitalypb.RangePair{Range1: "base..v1", Range2: "base..v2"},
	}})), nil) {
		raw += string(m.GetData())
	}
	if want := plainGit(t, dir, "", "-c", "core.abbrev=no", "range-diff", "base..v1", "base..v2") + "\n"; raw != want {
		t.Errorf("RawRangeDiff (-want +got):\n%s", cmp.Diff(want, raw))
	}
	for _, tc := range []struct {
		r1, r2 string
		code   codes.Code
		text   string
	}{
		{"", "v2", codes.InvalidArgument, "empty Range1"}, {"base..v1", "", codes.InvalidArgument, "empty Range2"},
		{"base..none", "base..v2", codes.FailedPrecondition, "revisions cannot be compared"},
		{"v1", "v2", codes.FailedPrecondition, "revisions cannot be compared"},
		{"--output=/tmp/x", "base..v2", codes.InvalidArgument, "revision can't start with '-'"},
		{"base..v1", "base..v2 ", codes.InvalidArgument, "revision can't contain whitespace"},
	} {
		pair := &gitalypb.RangePair{Range1: tc.r1, Range2: tc.r2}
		_, err := drain(ignore(client.RangeDiff(ctx, &gitalypb.RangeDiffRequest{Repository: repo, RangeSpec: &gitalypb.RangeDiffRequest_RangePair{RangePair: pair}})))
		_, rawErr := drain(ignore(client.RawRangeDiff(ctx, &gitalypb.RawRangeDiffRequest{Repository: repo, RangeSpec: &gitalypb.RawRangeDiffRequest_RangePair{RangePair: pair}})))
		for _, err := range []error{err, rawErr} {
			if status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
				t.Errorf("%q, %q: %v, want %v %q", tc.r1, tc.r2, err, tc.code, tc.text)
			}
		}
	}
	for text, req := range map[string]*gitalypb.RangeDiffRequest{
		"empty RangeSpec": {},
		"empty Rev1":      {RangeSpec: &gitalypb.RangeDiffRequest_RevisionRange{RevisionRange: &gitalypb.RevisionRange{Rev2: "v2"}}},
		"empty Base":      {RangeSpec: &gitalypb.RangeDiffRequest_BaseWithRevisions{BaseWithRevisions: &gitalypb.BaseWithRevisions{Rev1: "v1", Rev2: "v2"}}},
	} {
		req.Repository = repo
		if _, err := drain(ignore(client.RangeDiff(ctx, req))); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != text {
			t.Errorf("%v, want %q", err, text)
		}
	}
}

func TestDiffService_DiffBlobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{
		"a": "100644 1\n2\n", "b": "100644 1\n3\n", "s": "100644 1 \n2\n", "empty": "100644 ", "bin": "100644 \x00", "link": "120000 a", "d/x": "100644 x",
		"sub": "160000 " + strings.Repeat("1", 40),
	}), false)
	client := gitalypb.NewDiffServiceClient(b.conn)
	run := func(req *gitalypb.DiffBlobsRequest) (out []string, err error) {
		req.Repository = repo
		messages, err := drain(ignore(client.DiffBlobs(t.Context(), req)))
		for _, m := range messages {
			if m.GetStatus() != gitalypb.DiffBlobsResponse_STATUS_END_OF_PATCH {
				t.Errorf("a small patch in parts: %v", m)
			}
			out = append(out, fmt.Sprintf("%.2s %.2s %q %v %v %d +%d-%d", m.GetLeftBlobId(), m.GetRightBlobId(), m.GetPatch(), m.GetBinary(), m.GetOverPatchBytesLimit(),
				m.GetPatchSize(), m.GetLinesAdded(), m.GetLinesRemoved()))
		}
		return out, err
	}
	id := func(name string) string { return plainGit(t, dir, "", "rev-parse", "main:"+name) }
	s := func(name string) string { return id(name)[:2] }
	zero := strings.Repeat("0", 40)
	pairs := func(names ...string) (out []*gitalypb.DiffBlobsRequest_BlobPair) {
		for i := 0; i < len(names); i += 2 {
			out = append(out, &gitalypb.DiffBlobsRequest_BlobPair{LeftBlob: []byte(names[i]), RightBlob: []byte(names[i+1])})
		}
		return out
	}
	info := func(status gitalypb.ChangedPaths_Status, left, right string, modes ...int32) *gitalypb.ChangedPaths {
		p := &gitalypb.ChangedPaths{Path: []byte("any name\n"), OldPath: []byte("x"), Status: status, OldBlobId: left, NewBlobId: right}
		if len(modes) == 2 {
			p.OldMode, p.NewMode = modes[0], modes[1]
		}
		return p
	}
	const change = `"@@ -1,2 +1,2 @@\n 1\n-2\n+3\n" false false 25 +1-1`
	type infos = []*gitalypb.ChangedPaths
	for _, tc := range []struct {
		name string
		req  *gitalypb.DiffBlobsRequest
		want []string
	}{
		{"ids, paths and nothing", &gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("b"), "main:b", "main:a", zero, "main:d/x", id("d/x"), zero)}, []string{
			s("a") + " " + s("b") + " " + change, s("b") + " " + s("a") + ` "@@ -1,2 +1,2 @@\n 1\n-3\n+2\n" false false 25 +1-1`,
			"00 " + s("d/x") + ` "@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n" false false 45 +1-0`,
			s("d/x") + ` 00 "@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n" false false 45 +0-1`,
		}},
		{"same pair twice, an empty one, no text", &gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("b"), zero, id("empty"), id("a"), id("bin"), id("a"), id("b"))}, []string{
			s("a") + " " + s("b") + " " + change, "00 " + s("empty") + ` "" false false 0 +0-0`,
			s("a") + " " + s("bin") + ` "Binary files a/00000002 and b/00000002 differ\n" true false 46 +0-0`, s("a") + " " + s("b") + " " + change,
		}},
		{"limit", &gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("b"), id("empty"), id("d/x")), PatchBytesLimit: 25}, []string{
			s("a") + " " + s("b") + ` "" false true 25 +1-1`, s("empty") + " " + s("d/x") + ` "" false true 45 +1-0`,
		}},
		{"words", &gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("b")), DiffMode: gitalypb.DiffBlobsRequest_DIFF_MODE_WORD}, []string{
			s("a") + " " + s("b") + ` "@@ -1,2 +1,2 @@\n 1\n~\n-2\n+3\n~\n" false false 29 +0-0`,
		}},
		{"raw info", &gitalypb.DiffBlobsRequest{RawInfo: infos{
			info(gitalypb.ChangedPaths_MODIFIED, id("a"), id("b"), 0o100644, 0o100755), info(gitalypb.ChangedPaths_ADDED, zero, id("a"), 0, 0o100644),
			info(gitalypb.ChangedPaths_RENAMED, id("a"), id("a"), 0o100644, 0o100644), info(gitalypb.ChangedPaths_TYPE_CHANGE, id("d/x"), id("link"), 0o100644, 0o120000),
			info(gitalypb.ChangedPaths_MODIFIED, strings.Repeat("1", 40), strings.Repeat("2", 40), 0o160000, 0o160000),
		}}, []string{
			s("a") + " " + s("b") + " " + change, "00 " + s("a") + ` "@@ -0,0 +1,2 @@\n+1\n+2\n" false false 22 +2-0`, s("a") + " " + s("a") + ` "" false false 0 +0-0`,
			s("d/x") + " " + s("link") + ` "@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+a\n\\ No newline at end of file\n" false false 74 +1-1`,
			`11 22 "@@ -1 +1 @@\n-Subproject commit ` + strings.Repeat("1", 40) + `\n+Subproject commit ` + strings.Repeat("2", 40) + `\n" false false 132 +1-1`,
		}},
		{"white space", &gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), id("s")), info(0, id("a"), id("b"))},
			WhitespaceChanges: gitalypb.DiffBlobsRequest_WHITESPACE_CHANGES_IGNORE_ALL}, []string{s("a") + " " + s("s") + ` "" false false 0 +0-0`, s("a") + " " + s("b") + " " + change}},
	} {
		got, err := run(tc.req)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	missing := strings.Repeat("3", 40)
	for _, tc := range []struct {
		req  *gitalypb.DiffBlobsRequest
		code codes.Code
		text string
	}{
		{&gitalypb.DiffBlobsRequest{}, codes.InvalidArgument, "request contains no file pairs to diff"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("b")), RawInfo: infos{info(0, id("a"), id("b"))}}, codes.InvalidArgument, "blob pairs and raw info both used in request"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("b")), WhitespaceChanges: gitalypb.DiffBlobsRequest_WHITESPACE_CHANGES_IGNORE}, codes.InvalidArgument,
			"whitespace changes cannot be ignored when blob pairs are provided"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), "main:a")}, codes.InvalidArgument, "left and right blob revisions resolve to same OID"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(zero, zero)}, codes.InvalidArgument, "left and right blob revisions resolve to same OID"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs("main", id("a"))}, codes.InvalidArgument, "getting left blob info: invalid blob id"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), missing)}, codes.InvalidArgument, "getting right blob info: object not found"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), "main:d")}, codes.InvalidArgument, "getting right blob info: revision is not blob"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), "main:sub")}, codes.InvalidArgument, "getting right blob info: revision is not blob"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs(id("a"), id("d"))}, codes.InvalidArgument, "getting right blob info: revision is not blob"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs("-x:a", id("d"))}, codes.InvalidArgument, "getting left blob info: revision can't start with '-'"},
		{&gitalypb.DiffBlobsRequest{BlobPairs: pairs("main:../a", id("d"))}, codes.InvalidArgument, "getting left blob info: path is outside of the repository"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{{Path: []byte("x")}}}, codes.InvalidArgument, "raw info entry missing blob IDs"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{{OldBlobId: id("a"), NewBlobId: id("b")}}}, codes.InvalidArgument, "raw info entry missing path"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{{OldBlobId: id("a"), NewBlobId: id("b"), Path: []byte("x"), Status: gitalypb.ChangedPaths_RENAMED}}}, codes.InvalidArgument,
			"rename/copy raw info entry missing old path"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a")+"\x00", id("b")+"\x00")}}, codes.InvalidArgument, "invalid blob id"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), strings.Repeat("0", 64))}}, codes.InvalidArgument, "raw info entry with ids of two formats"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), id("b"), 0o40000, 0o100644)}}, codes.InvalidArgument, "invalid file mode"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), id("b"), -1, 0o100644)}}, codes.InvalidArgument, "invalid file mode"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), missing, 0o100644, 0o160000)}}, codes.Unimplemented, "a submodule cannot be compared with a file"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), missing)}}, codes.FailedPrecondition, "revisions cannot be compared"},
		{&gitalypb.DiffBlobsRequest{RawInfo: infos{info(0, id("a"), id("d"))}}, codes.FailedPrecondition, "revisions cannot be compared"},
	} {
		if got, err := run(tc.req); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("DiffBlobs(%v) = %q, %v, want %v %q", tc.req, got, err, tc.code, tc.text)
		}
	}
	b.assertClean(t, dir)
	if left := processesIn(dir, "diff-tree"); len(left) != 0 {
		t.Errorf("processes %q", left)
	}
}

// TestDiffService_quarantine: objects that a push has brought, and nobody else may see
// yet, can be compared with those that were there.
func TestDiffService_quarantine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, dir := b.history(t, rel, commitOf("main", "one", map[string]string{"a": "100644 1\n"}), false)
	if err := os.Mkdir(dir+"/objects/tmp_objdir-incoming-x", 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", "--git-dir", dir, "hash-object", "-w", "--stdin")
	cmd.Stdin, cmd.Env = strings.NewReader("2\n"), append(os.Environ(), "GIT_OBJECT_DIRECTORY="+dir+"/objects/tmp_objdir-incoming-x")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	req := &gitalypb.DiffBlobsRequest{Repository: repo, BlobPairs: []*gitalypb.DiffBlobsRequest_BlobPair{
		{LeftBlob: []byte("main:a"), RightBlob: []byte(strings.TrimSpace(string(out)))},
	}}
	client := gitalypb.NewDiffServiceClient(b.conn)
	if _, err := drain(ignore(client.DiffBlobs(t.Context(), req))); status.Code(err) != codes.InvalidArgument {
		t.Errorf("from outside of the quarantine: %v", err)
	}
	repo.GitObjectDirectory, repo.GitAlternateObjectDirectories = "objects/tmp_objdir-incoming-x", []string{"objects"}
	got := all(t, ignore(client.DiffBlobs(t.Context(), req)), nil)
	if len(got) != 1 || string(got[0].GetPatch()) != "@@ -1 +1 @@\n-1\n+2\n" {
		t.Errorf("DiffBlobs = %v", got)
	}
	if left := readers(dir); len(left) != 1 { // the quarantine's has ended
		t.Errorf("readers %q, want the one of the repository", left)
	}
}

// TestDiffService_badRevisions: each RPC refuses what is missing and what must not
// reach git.
func TestDiffService_badRevisions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repo, _ := b.history(t, rel, commitOf("main", "one", map[string]string{"f": "100644 x"}), false)
	client, ctx := gitalypb.NewDiffServiceClient(b.conn), t.Context()
	calls := map[string]func(left, right string) error{
		"CommitDiff": func(l, r string) error {
			_, err := drain(ignore(client.CommitDiff(ctx, &gitalypb.CommitDiffRequest{Repository: repo, LeftCommitId: l, RightCommitId: r})))
			return err
		},
		"CommitDelta": func(l, r string) error {
			_, err := drain(ignore(client.CommitDelta(ctx, &gitalypb.CommitDeltaRequest{Repository: repo, LeftCommitId: l, RightCommitId: r})))
			return err
		},
		"RawDiff": func(l, r string) error {
			_, err := drain(ignore(client.RawDiff(ctx, &gitalypb.RawDiffRequest{Repository: repo, LeftCommitId: l, RightCommitId: r})))
			return err
		},
		"RawPatch": func(l, r string) error {
			_, err := drain(ignore(client.RawPatch(ctx, &gitalypb.RawPatchRequest{Repository: repo, LeftCommitId: l, RightCommitId: r})))
			return err
		},
		"DiffStats": func(l, r string) error {
			_, err := drain(ignore(client.DiffStats(ctx, &gitalypb.DiffStatsRequest{Repository: repo, LeftCommitId: l, RightCommitId: r})))
			return err
		},
	}
	for name, call := range calls {
		for _, tc := range []struct {
			left, right string
			code        codes.Code
			text        string
		}{
			{"", "main", codes.InvalidArgument, "empty LeftCommitId"},
			{"main", "", codes.InvalidArgument, "empty RightCommitId"},
			{"none", "main", codes.FailedPrecondition, "revisions cannot be compared"},
			{"main", strings.Repeat("1", 40), codes.FailedPrecondition, "revisions cannot be compared"},
			{"--output=/tmp/x", "main", codes.InvalidArgument, "revision can't start with '-'"},
			{"main", "main f", codes.InvalidArgument, "revision can't contain whitespace"},
			{"main:f", "main", codes.InvalidArgument, "revision can't contain ':'"},
			{"main", "ma\x00in", codes.InvalidArgument, "revision can't contain NUL"},
			{strings.Repeat("x", 1<<20), "main", codes.InvalidArgument, "revision is too long"},
		} {
			if err := call(tc.left, tc.right); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
				t.Errorf("%s(%.20q, %.20q): %v, want %v %q", name, tc.left, tc.right, err, tc.code, tc.text)
			}
		}
	}
}
