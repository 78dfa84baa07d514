package app_test

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
)

// quarrel is a workshop in which ours and theirs conflict in two places of a file, and
// each has deleted what the other changed.
type quarrel struct {
	workshop
	conflicts    gitalypb.ConflictsServiceClient
	ours, theirs string
}

func withQuarrel(t *testing.T) quarrel {
	t.Helper()
	x := quarrel{workshop: withWorkshop(t)}
	x.conflicts = gitalypb.NewConflictsServiceClient(x.conn)
	x.branch(t, "base", "main", "song", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")
	x.ours = x.branch(t, "ours", "base", "song", "1\nours\n3\n4\n5\n6\n7\n8\nours 9")
	x.theirs = x.branch(t, "theirs", "base", "song", "1\ntheirs\n3\n4\n5\n6\n7\n8\ntheirs 9\n")
	x.c.git(t, "push", "-q", remote(rel), "ours", "theirs")
	return x
}

// list collects the files of ListConflictFiles as "<header>\n<content>".
func (x quarrel) list(ctx context.Context, req *gitalypb.ListConflictFilesRequest) ([]string, error) {
	req.Repository = x.repo
	stream, err := x.conflicts.ListConflictFiles(ctx, req)
	if err != nil {
		return nil, err
	}
	messages, err := drain(stream)
	var files []string
	for _, m := range messages {
		for _, f := range m.GetFiles() {
			if h := f.GetHeader(); h != nil {
				files = append(files, fmt.Sprintf("%s %o %s %s %s\n", h.GetCommitOid(), h.GetOurMode(), h.GetAncestorPath(), h.GetOurPath(), h.GetTheirPath()))
				continue
			}
			files[len(files)-1] += string(f.GetContent())
		}
	}
	return files, err
}

func TestConflicts_ListConflictFiles(t *testing.T) {
	t.Parallel()
	x := withQuarrel(t)
	ctx, before := t.Context(), x.state(t)
	got, err := x.list(ctx, &gitalypb.ListConflictFilesRequest{OurCommitOid: x.ours, TheirCommitOid: x.theirs})
	want := []string{x.ours + " 100644 song song song\n1\n<<<<<<< song\nours\n=======\ntheirs\n>>>>>>> song\n3\n4\n5\n6\n7\n8\n<<<<<<< song\nours 9\n=======\ntheirs 9\n>>>>>>> song\n"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if got, err = x.list(ctx, &gitalypb.ListConflictFilesRequest{OurCommitOid: x.ours, TheirCommitOid: x.theirs, SkipContent: true}); err != nil || len(got) != 1 || !strings.HasSuffix(got[0], "song\n") {
		t.Errorf("headers = %q, %v", got, err)
	}
	if got, err = x.list(ctx, &gitalypb.ListConflictFilesRequest{OurCommitOid: x.ours, TheirCommitOid: x.side}); err != nil || len(got) != 0 {
		t.Errorf("without a conflict = %q, %v", got, err)
	}
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	x.c.git(t, "checkout", "-q", "-b", "gone", "base")
	x.c.git(t, "rm", "-q", "song")
	x.c.git(t, "commit", "-q", "-m", "gone")
	gone := x.c.git(t, "rev-parse", "HEAD")
	binary := []string{x.branch(t, "bin1", "main", "README", "\xff1\n"), x.branch(t, "bin2", "main", "README", "\xff2\n")}
	x.c.git(t, "push", "-q", remote(rel), "gone", "bin1", "bin2")
	got, err = x.list(ctx, &gitalypb.ListConflictFilesRequest{OurCommitOid: gone, TheirCommitOid: x.theirs, AllowTreeConflicts: true})
	if diff := cmp.Diff([]string{gone + " 0 song  song\n1\ntheirs\n3\n4\n5\n6\n7\n8\ntheirs 9\n"}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	for _, tc := range []struct {
		name, ours, theirs string
		code               codes.Code
		text               string
	}{
		{"a side is missing", gone, x.theirs, codes.FailedPrecondition, "conflict side missing"},
		{"not text", binary[0], binary[1], codes.FailedPrecondition, "unsupported encoding"},
		{"no first commit", "", x.theirs, codes.InvalidArgument, "empty OurCommitOid"},
		{"no second commit", x.ours, "", codes.InvalidArgument, "empty TheirCommitOid"},
		{"unknown first commit", zero, x.theirs, codes.FailedPrecondition, "could not lookup 'our' OID: reference not found"},
		{"unknown second commit", x.ours, zero, codes.FailedPrecondition, "could not lookup 'their' OID: reference not found"},
		{"an option", "--stdin", x.theirs, codes.InvalidArgument, "revision can't start with '-'"},
	} {
		_, err := x.list(ctx, &gitalypb.ListConflictFilesRequest{OurCommitOid: tc.ours, TheirCommitOid: tc.theirs})
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	x.sound(t)
}

// resolve sends a header and the resolutions in pieces.
func (x quarrel) resolve(ctx context.Context, alter func(*gitalypb.ResolveConflictsRequestHeader), resolutions any) (string, error) {
	header := &gitalypb.ResolveConflictsRequestHeader{Repository: x.repo, TargetRepository: x.repo, OurCommitOid: x.ours, TheirCommitOid: x.theirs,
		SourceBranch: []byte("ours"), TargetBranch: []byte("theirs"), CommitMessage: []byte("resolved"), User: x.user, Timestamp: x.when}
	alter(header)
	stream, err := x.conflicts.ResolveConflicts(ctx)
	if err != nil {
		return "", err
	}
	raw, ok := resolutions.(string)
	if !ok {
		encoded, err := json.Marshal(resolutions)
		if err != nil {
			return "", err
		}
		raw = string(encoded)
	}
	msgs := []*gitalypb.ResolveConflictsRequest{{ResolveConflictsRequestPayload: &gitalypb.ResolveConflictsRequest_Header{Header: header}}}
	for _, piece := range []string{raw[:len(raw)/2], raw[len(raw)/2:]} {
		msgs = append(msgs, &gitalypb.ResolveConflictsRequest{ResolveConflictsRequestPayload: &gitalypb.ResolveConflictsRequest_FilesJson{FilesJson: []byte(piece)}})
	}
	for _, m := range msgs {
		if stream.Send(m) != nil {
			break // the answer has the reason
		}
	}
	resp, err := stream.CloseAndRecv()
	return resp.GetResolutionError(), err
}

// section is the id of a conflict in song.
func section(old, new int) string { return fmt.Sprintf("%x_%d_%d", sha1.Sum([]byte("song")), old, new) }

type jsonMap = map[string]any

func TestConflicts_ResolveConflicts(t *testing.T) {
	t.Parallel()
	x := withQuarrel(t)
	ctx, before := t.Context(), x.state(t)
	same := func(*gitalypb.ResolveConflictsRequestHeader) {}
	song := func(more jsonMap) []jsonMap {
		more["old_path"], more["new_path"] = "song", "song"
		return []jsonMap{more}
	}
	both := song(jsonMap{"sections": jsonMap{section(2, 2): "head", section(9, 9): "origin"}})
	shown := "1\n<<<<<<< song\nours\n=======\ntheirs\n>>>>>>> song\n3\n4\n5\n6\n7\n8\n<<<<<<< song\nours 9\n=======\ntheirs 9\n>>>>>>> song\n"
	for _, tc := range []struct {
		name        string
		resolutions any
		want        string
	}{
		{"no file", []jsonMap{}, "Missing resolutions for the following files: song"},
		{"a section is missing", song(jsonMap{"sections": jsonMap{section(2, 2): "head"}}), "Missing resolution for section ID: " + section(9, 9)},
		{"a side that is none", song(jsonMap{"sections": jsonMap{section(2, 2): "mine", section(9, 9): "head"}}), "Missing resolution for section ID: " + section(2, 2)},
		{"nothing was decided", song(jsonMap{"content": shown}), "Resolved content has no changes for file song"},
	} {
		if got, err := x.resolve(ctx, same, tc.resolutions); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
	for _, tc := range []struct {
		name        string
		alter       func(*gitalypb.ResolveConflictsRequestHeader)
		resolutions any
		code        codes.Code
		text        string
	}{
		{"no JSON", same, "{", codes.InvalidArgument, "resolutions are no JSON of the expected form"},
		{"neither sections nor content", same, song(jsonMap{}), codes.InvalidArgument, "missing sections or content for a resolution"},
		{"another file", same, []jsonMap{{"old_path": "README", "new_path": "README", "content": "x"}}, codes.InvalidArgument, `there is no conflict in "README"`},
		{"a path out of the tree", same, []jsonMap{{"old_path": "song", "new_path": "../song", "content": "x"}}, codes.InvalidArgument, `there is no conflict in "../song"`},
		{"not where it must be", func(h *gitalypb.ResolveConflictsRequestHeader) { h.SourceBranch = []byte("main") }, both, codes.FailedPrecondition,
			"Could not update refs/heads/main. Please refresh and try again."},
		{"no target", func(h *gitalypb.ResolveConflictsRequestHeader) { h.TargetRepository = nil }, both, codes.InvalidArgument, "empty TargetRepository"},
		{"unknown target", func(h *gitalypb.ResolveConflictsRequestHeader) { h.TargetBranch = []byte("none") }, both, codes.FailedPrecondition, "could not resolve target branch"},
		{"no source", func(h *gitalypb.ResolveConflictsRequestHeader) { h.SourceBranch = nil }, both, codes.InvalidArgument, "empty SourceBranch"},
		{"no message", func(h *gitalypb.ResolveConflictsRequestHeader) { h.CommitMessage = nil }, both, codes.InvalidArgument, "empty CommitMessage"},
		{"no user", func(h *gitalypb.ResolveConflictsRequestHeader) { h.User = nil }, both, codes.InvalidArgument, "empty User"},
		{"no id", func(h *gitalypb.ResolveConflictsRequestHeader) { h.OurCommitOid = "ours" }, both, codes.InvalidArgument, "unable to parse OID - contains invalid characters"},
		{"unknown id", func(h *gitalypb.ResolveConflictsRequestHeader) { h.TheirCommitOid = zero }, both, codes.FailedPrecondition, "could not lookup 'their' OID: reference not found"},
	} {
		_, err := x.resolve(ctx, tc.alter, tc.resolutions)
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	x.hook(t, "pre-receive", "echo GL-HOOK-ERR: no >&2; exit 1\n")
	_, err := x.resolve(ctx, same, both)
	wantStatus(t, err, codes.PermissionDenied, "GL-HOOK-ERR: no\n", nil)
	x.hook(t, "pre-receive", "exit 0\n")
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	if got, err := x.resolve(ctx, same, both); got != "" || err != nil {
		t.Fatalf("ResolveConflicts = %q, %v", got, err)
	}
	if got := x.show(t, "ours"); got != x.ours+" "+x.theirs+"|"+signed+"|"+signed+"|resolved" {
		t.Errorf("merge is %q", got)
	}
	if got := x.git(t, "cat-file", "blob", "ours:song"); got != "1\nours\n3\n4\n5\n6\n7\n8\ntheirs 9" {
		t.Errorf("song is %q", got)
	}
	x.sound(t)
}
