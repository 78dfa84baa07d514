package app_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
)

// apply sends a mailbox in pieces.
func (x workshop) apply(ctx context.Context, alter func(*gitalypb.UserApplyPatchRequest_Header), mailbox string) (*gitalypb.OperationBranchUpdate, error) {
	header := &gitalypb.UserApplyPatchRequest_Header{Repository: x.repo, User: x.user, TargetBranch: []byte("main"), Timestamp: x.when}
	alter(header)
	stream, err := x.ops.UserApplyPatch(ctx)
	if err != nil {
		return nil, err
	}
	msgs := []*gitalypb.UserApplyPatchRequest{{UserApplyPatchRequestPayload: &gitalypb.UserApplyPatchRequest_Header_{Header: header}}}
	for piece := range strings.SplitAfterSeq(mailbox, "\n") {
		msgs = append(msgs, &gitalypb.UserApplyPatchRequest{UserApplyPatchRequestPayload: &gitalypb.UserApplyPatchRequest_Patches{Patches: []byte(piece)}})
	}
	for _, m := range msgs {
		if stream.Send(m) != nil {
			break // the answer has the reason
		}
	}
	resp, err := stream.CloseAndRecv()
	return resp.GetBranchUpdate(), err
}

// evil is a patch that makes a file.
func evil(path string) string {
	return "From " + zero + " Mon Sep 17 00:00:00 2001\nFrom: Eve <eve@example.com>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nSubject: [PATCH] evil\n\n---\ndiff --git a/" + path + " b/" + path +
		"\nnew file mode 100644\n--- /dev/null\n+++ b/" + path + "\n@@ -0,0 +1 @@\n+x\n--\n"
}

func TestOperation_UserApplyPatch(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	ctx := t.Context()
	to := func(branch string) func(*gitalypb.UserApplyPatchRequest_Header) {
		return func(h *gitalypb.UserApplyPatchRequest_Header) { h.TargetBranch = []byte(branch) }
	}
	x.c.git(t, "checkout", "-q", "-b", "series", "main")
	x.c.commit(t, "notes", "1\n2\n3\n4\n5\n6\n7\n8\n")
	x.c.git(t, "mv", "README", "docs.md")
	x.c.git(t, "commit", "-q", "-m", "Rename the README\n\nIts name was\n  old: ä.\n\n\n[skip]", "--author=Eve Ö <eve@example.com>", "--date=2026-02-03T04:05:06+0530")
	x.c.commit(t, "bin", "\x00\x01")
	series := x.c.git(t, "format-patch", "--stdout", "--binary", "main")
	update, err := x.apply(ctx, func(*gitalypb.UserApplyPatchRequest_Header) {}, series+"\n")
	if err != nil || update.GetBranchCreated() || x.git(t, "rev-parse", "main") != update.GetCommitId() {
		t.Fatalf("UserApplyPatch = %v, %v", update, err)
	}
	if got, want := x.git(t, "rev-parse", "main^{tree}"), x.c.git(t, "rev-parse", "series^{tree}"); got != want {
		t.Errorf("tree %s, want %s", got, want)
	}
	if got := x.show(t, "main~1"); got != x.git(t, "rev-parse", "main~2")+"|Eve Ö <eve@example.com> 1770071706 +0530|"+signed+"|Rename the README\n\nIts name was\n  old: ä.\n\n[skip]" {
		t.Errorf("commit %q", got)
	}

	// A patch that fits only by way of the files it was made for: the file has another name here.
	x.branch(t, "away", "series", "notes", "one\n2\n3\n4\n5\n6\n7\n8\n")
	one := x.c.git(t, "format-patch", "--stdout", "-1", "away")
	x.c.git(t, "checkout", "-q", "-b", "moved", "series")
	x.c.git(t, "mv", "notes", "renamed")
	x.c.git(t, "commit", "-q", "-m", "renamed")
	x.c.git(t, "push", "-q", remote(rel), "moved")
	if _, err := x.apply(ctx, to("moved"), one+"\n"); err != nil || x.git(t, "show", "moved:renamed") != "one\n2\n3\n4\n5\n6\n7\n8" {
		t.Errorf("onto a renamed file: %v", err)
	}
	tip := x.git(t, "rev-parse", "moved")
	if update, err := x.apply(ctx, to("moved"), one+"\n"); err != nil || update.GetCommitId() != tip {
		t.Errorf("once more = %v, %v", update, err)
	}
	if update, err := x.apply(ctx, to("fresh"), one+"\n"); err != nil || !update.GetBranchCreated() || x.git(t, "rev-parse", "fresh^") != x.git(t, "rev-parse", "main") {
		t.Errorf("onto a new branch = %v, %v", update, err)
	}
	x.settled(t)

	before := x.state(t)
	for _, tc := range []struct {
		name    string
		alter   func(*gitalypb.UserApplyPatchRequest_Header)
		mailbox string
		code    codes.Code
		text    string
	}{
		{"second does not fit", to("left"), evil("fits") + one, codes.FailedPrecondition, "Patch failed at 0002 add notes"},
		{"no patch in it", to("main"), "From: Eve <eve@example.com>\nSubject: hello\n\nworld\n", codes.FailedPrecondition, "Patch failed at 0001 hello"},
		{"no author", to("main"), "Subject: x\n\nhello\n", codes.FailedPrecondition, "Patch failed at 0001 x"},
		{"garbage", to("main"), "\x00\xff\x00", codes.FailedPrecondition, "Patch failed at 0001 "},
		{"out of the repository", to("main"), evil("../x"), codes.FailedPrecondition, "Patch failed at 0001 evil"},
		{"git's directory", to("main"), evil(".git/config"), codes.FailedPrecondition, "Patch failed at 0001 evil"},
		{"git's directory elsewhere", to("main"), evil(".g\u200cit/config"), codes.FailedPrecondition, "Patch failed at 0001 evil"},
		{"nothing", to("main"), "", codes.InvalidArgument, "no patches"},
		{"no user", func(h *gitalypb.UserApplyPatchRequest_Header) { h.User = nil }, one, codes.InvalidArgument, "missing User"},
		{"no branch", to(""), one, codes.InvalidArgument, "missing Branch"},
		{"branch out of form", to("a..b"), one, codes.InvalidArgument, "invalid branch name"},
		{"not where it must be", func(h *gitalypb.UserApplyPatchRequest_Header) { h.ExpectedOldOid = x.first }, evil("x"), codes.FailedPrecondition,
			"Could not update refs/heads/main. Please refresh and try again."},
	} {
		_, err := x.apply(ctx, tc.alter, tc.mailbox)
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	x.sound(t)
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestOperation_UserUpdateSubmodule(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	x.c.git(t, "checkout", "-q", "-b", "subs", "main")
	x.c.git(t, "update-index", "--add", "--cacheinfo", "160000,"+x.first+",lib/sub")
	x.c.git(t, "commit", "-q", "-m", "submodule")
	old := x.c.git(t, "rev-parse", "HEAD")
	x.c.git(t, "push", "-q", remote(rel), "subs")
	elsewhere := strings.Repeat("ab", 20) // not in this repository
	set := func(alter func(*gitalypb.UserUpdateSubmoduleRequest)) (string, error) {
		req := &gitalypb.UserUpdateSubmoduleRequest{Repository: x.repo, User: x.user, CommitSha: elsewhere, Branch: []byte("subs"), Submodule: []byte("lib/sub"),
			CommitMessage: []byte("newer"), Timestamp: x.when}
		alter(req)
		resp, err := x.ops.UserUpdateSubmodule(t.Context(), req)
		return resp.GetBranchUpdate().GetCommitId(), err
	}
	before := x.state(t)
	pathError := func(path string, kind gitalypb.PathError_ErrorType) *gitalypb.UserUpdateSubmoduleError {
		return &gitalypb.UserUpdateSubmoduleError{Error: &gitalypb.UserUpdateSubmoduleError_PathError{PathError: &gitalypb.PathError{Path: []byte(path), ErrorType: kind}}}
	}
	for _, path := range []string{"README", "lib", "none", "lib/sub/x", "../lib/sub", ".git", "a\x00", strings.Repeat("x/", 1<<19)} {
		_, err := set(func(r *gitalypb.UserUpdateSubmoduleRequest) { r.Submodule = []byte(path) })
		if len(path) < 100 {
			wantStatus(t, err, codes.InvalidArgument, "Invalid submodule path", pathError(path, gitalypb.PathError_ERROR_TYPE_INVALID_PATH))
		} else if err == nil {
			t.Error("path of 1 MB")
		}
	}
	_, err := set(func(r *gitalypb.UserUpdateSubmoduleRequest) { r.CommitSha = x.first })
	wantStatus(t, err, codes.InvalidArgument, "The submodule lib/sub is already at "+x.first, pathError("lib/sub", gitalypb.PathError_ERROR_TYPE_PATH_EXISTS))
	for text, alter := range map[string]func(*gitalypb.UserUpdateSubmoduleRequest){
		"empty User":          func(r *gitalypb.UserUpdateSubmoduleRequest) { r.User = nil },
		"empty CommitSha":     func(r *gitalypb.UserUpdateSubmoduleRequest) { r.CommitSha = "" },
		"invalid CommitSha":   func(r *gitalypb.UserUpdateSubmoduleRequest) { r.CommitSha = strings.Repeat("a", 64) },
		"empty Branch":        func(r *gitalypb.UserUpdateSubmoduleRequest) { r.Branch = nil },
		"invalid branch name": func(r *gitalypb.UserUpdateSubmoduleRequest) { r.Branch = []byte("HEAD") },
		"Cannot find branch":  func(r *gitalypb.UserUpdateSubmoduleRequest) { r.Branch = []byte("none") },
		"empty Submodule":     func(r *gitalypb.UserUpdateSubmoduleRequest) { r.Submodule = nil },
		"empty CommitMessage": func(r *gitalypb.UserUpdateSubmoduleRequest) { r.CommitMessage = nil },
	} {
		_, err := set(alter)
		wantStatus(t, err, codes.InvalidArgument, text, nil)
	}
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	oid, err := set(func(r *gitalypb.UserUpdateSubmoduleRequest) { r.ExpectedOldOid = old })
	if err != nil || x.show(t, "subs") != old+"|"+signed+"|"+signed+"|newer" || x.git(t, "ls-tree", oid, "lib/sub") != "160000 commit "+elsewhere+"\tlib/sub" {
		t.Errorf("UserUpdateSubmodule = %q, %v", oid, err)
	}
	_, err = set(func(r *gitalypb.UserUpdateSubmoduleRequest) { r.ExpectedOldOid = old })
	if d := statusDetail[*gitalypb.UserUpdateSubmoduleError](err); err == nil || d.GetPathError() == nil && d.GetReferenceUpdate() == nil {
		t.Errorf("from where it was: %v", err)
	}
	x.create(t, "empty.git")
	_, err = set(func(r *gitalypb.UserUpdateSubmoduleRequest) { r.Repository = repository("empty.git") })
	wantStatus(t, err, codes.FailedPrecondition, "Repository is empty", nil)
	x.sound(t)
}
