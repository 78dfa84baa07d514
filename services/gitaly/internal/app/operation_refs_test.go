package app_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"gitsplit/proto/go/gitalypb"
)

func TestOperation_UserFFBranch(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	for _, tc := range []struct {
		name string
		req  *gitalypb.UserFFBranchRequest
		code codes.Code
		text string
	}{
		{"no branch", &gitalypb.UserFFBranchRequest{User: x.user, CommitId: x.side}, codes.InvalidArgument, "empty branch name"},
		{"no user", &gitalypb.UserFFBranchRequest{Branch: []byte("main"), CommitId: x.side}, codes.InvalidArgument, "empty user"},
		{"no commit", &gitalypb.UserFFBranchRequest{User: x.user, Branch: []byte("main")}, codes.InvalidArgument, "empty commit id"},
		{"commit is no id", &gitalypb.UserFFBranchRequest{User: x.user, Branch: []byte("main"), CommitId: "side"}, codes.InvalidArgument, "cannot parse commit ID: invalid object ID"},
		{"unknown branch", &gitalypb.UserFFBranchRequest{User: x.user, Branch: []byte("none"), CommitId: x.side}, codes.InvalidArgument, "reference not found"},
		{"backwards", &gitalypb.UserFFBranchRequest{User: x.user, Branch: []byte("main"), CommitId: x.first}, codes.FailedPrecondition, "not fast forward"},
		{"aside", &gitalypb.UserFFBranchRequest{User: x.user, Branch: []byte("left"), CommitId: x.right}, codes.FailedPrecondition, "not fast forward"},
	} {
		tc.req.Repository = x.repo
		_, err := x.ops.UserFFBranch(t.Context(), tc.req)
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	req := &gitalypb.UserFFBranchRequest{Repository: x.repo, User: x.user, Branch: []byte("main"), CommitId: x.side, ExpectedOldOid: x.first}
	_, err := x.ops.UserFFBranch(t.Context(), req)
	wantStatus(t, err, codes.FailedPrecondition, "Could not update refs/heads/main. Please refresh and try again.", &gitalypb.UserFFBranchError{
		Error: &gitalypb.UserFFBranchError_ReferenceUpdate{ReferenceUpdate: &gitalypb.ReferenceUpdateError{
			ReferenceName: []byte("refs/heads/main"), OldOid: x.first, NewOid: x.side,
		}},
	})
	req.ExpectedOldOid = x.second
	asked := len(x.api.steps())
	ctx := metadata.AppendToOutgoingContext(t.Context(), "gitaly-client-context-bin", "\x00opaque", "remote_ip", "192.0.2.7")
	resp, err := x.ops.UserFFBranch(ctx, req)
	if got := x.api.bodies[asked]["gitaly_client_context_bin"]; got != base64.StdEncoding.EncodeToString([]byte("\x00opaque")) {
		t.Errorf("client context = %v", got)
	}
	if err != nil || resp.GetBranchUpdate().GetCommitId() != x.side || x.git(t, "rev-parse", "main") != x.side {
		t.Errorf("UserFFBranch = %v, %v", resp, err)
	}
	x.sound(t)
}

func TestOperation_UserUpdateBranch(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	for _, tc := range []struct {
		name, branch, from, to string
		code                   codes.Code
		text                   string
	}{
		{"moved", "main", x.second, x.side, codes.OK, ""},
		{"moved from there again", "main", x.second, x.left, codes.FailedPrecondition, "Could not update main. Please refresh and try again."},
		{"made", "fresh", zero, x.left, codes.OK, ""},
		{"to nothing", "fresh", x.left, zero, codes.InvalidArgument, "could not parse newrev"},
		{"to what is no commit", "fresh", x.left, x.git(t, "rev-parse", "main^{tree}"), codes.InvalidArgument, "target object not a commit"},
		{"from a name", "fresh", "left", x.right, codes.InvalidArgument, "could not parse oldrev"},
		{"no branch", "", x.left, x.right, codes.InvalidArgument, "empty branch name"},
		{"branch out of form", "a..b", x.left, x.right, codes.InvalidArgument, "invalid branch name"},
	} {
		_, err := x.ops.UserUpdateBranch(t.Context(), &gitalypb.UserUpdateBranchRequest{
			Repository: x.repo, User: x.user, BranchName: []byte(tc.branch), Oldrev: []byte(tc.from), Newrev: []byte(tc.to),
		})
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	if got := x.git(t, "rev-parse", "main", "fresh"); got != x.side+"\n"+x.left {
		t.Errorf("branches are at %q", got)
	}
	x.sound(t)
}

func TestOperation_tags(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	create := func(name, target, message string) (*gitalypb.Tag, error) {
		resp, err := x.ops.UserCreateTag(t.Context(), &gitalypb.UserCreateTagRequest{
			Repository: x.repo, User: x.user, TagName: []byte(name), TargetRevision: []byte(target), Message: []byte(message), Timestamp: x.when,
		})
		return resp.GetTag(), err
	}
	if tag, err := create("v1", "refs/heads/main", " \n"); err != nil || tag.GetId() != x.second || tag.GetTargetCommit().GetId() != x.second || x.git(t, "rev-parse", "refs/tags/v1") != x.second {
		t.Errorf("light tag = %v, %v", tag, err)
	}
	tag, err := create("v2", "refs/tags/heavy", "Note\n\xff\n")
	if err != nil || string(tag.GetMessage()) != "Note\n\xff" || tag.GetTargetCommit().GetId() != x.first || x.git(t, "rev-parse", "refs/tags/v2") != tag.GetId() {
		t.Errorf("annotated tag = %v, %v", tag, err)
	}
	if got, want := x.git(t, "cat-file", "tag", "v2"), "object "+x.tagged+"\ntype tag\ntag v2\ntagger "+signed+"\n\nNote\n\xff"; got != want {
		t.Errorf("tag object %q, want %q", got, want)
	}
	if tag, err := create("v3", "refs/tags/heavy", ""); err != nil || x.git(t, "rev-parse", "refs/tags/v3") != x.first {
		t.Errorf("light tag of a tag = %v, %v", tag, err)
	}
	tree := x.git(t, "rev-parse", "main^{tree}")
	if tag, err := create("v4", tree, "a tree"); err != nil || tag.GetTargetCommit() != nil || x.git(t, "rev-parse", "v4^{tree}") != tree {
		t.Errorf("tag of a tree = %v, %v", tag, err)
	}
	before := x.state(t)
	_, err = create("v1", "refs/heads/left", "again")
	wantStatus(t, err, codes.AlreadyExists, "tag reference exists already", &gitalypb.UserCreateTagError{
		Error: &gitalypb.UserCreateTagError_ReferenceExists{ReferenceExists: &gitalypb.ReferenceExistsError{ReferenceName: []byte("refs/tags/v1"), Oid: x.second}},
	})
	for _, tc := range []struct {
		name, tag, target, message string
		code                       codes.Code
		text                       string
	}{
		{"no name", "", "main", "", codes.InvalidArgument, "empty tag name"},
		{"name is an option", "-d", "main", "", codes.InvalidArgument, "invalid tag name: revision can't start with '-'"},
		{"name with a line break", "a\ntagger x", "main", "m", codes.InvalidArgument, "invalid tag name: revision can't contain whitespace"},
		{"name out of form", "a..b", "main", "", codes.InvalidArgument, "invalid tag name"},
		{"name is an id", x.first, "main", "", codes.InvalidArgument, "invalid tag name"},
		{"no target", "v", "", "", codes.InvalidArgument, "empty target revision"},
		{"target is an option", "v", "--help", "", codes.InvalidArgument, "revision can't start with '-'"},
		{"unknown target", "v", "none", "", codes.FailedPrecondition, "revspec 'none' not found"},
		{"NUL in the message", "v", "main", "a\x00", codes.InvalidArgument, "tag message contains NUL byte"},
	} {
		_, err := create(tc.tag, tc.target, tc.message)
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	_, err = x.ops.UserCreateTag(t.Context(), &gitalypb.UserCreateTagRequest{Repository: x.repo, TagName: []byte("v"), TargetRevision: []byte("main")})
	wantStatus(t, err, codes.InvalidArgument, "empty user", nil)
	for _, tc := range []struct {
		name, tag, expected string
		code                codes.Code
		text                string
	}{
		{"no name", "", "", codes.InvalidArgument, "empty tag name"},
		{"unknown", "none", "", codes.FailedPrecondition, "tag not found: none"},
		{"expected is no id", "v1", "x", codes.InvalidArgument, `invalid expected old object ID: "x"`},
		{"at something else", "v1", x.first, codes.FailedPrecondition, "Could not update refs/tags/v1. Please refresh and try again."},
	} {
		_, err := x.ops.UserDeleteTag(t.Context(), &gitalypb.UserDeleteTagRequest{Repository: x.repo, User: x.user, TagName: []byte(tc.tag), ExpectedOldOid: tc.expected})
		t.Run("delete, "+tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	if after := x.state(t); strings.TrimSpace(after) != strings.TrimSpace(before) {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	for name, expected := range map[string]string{"v1": x.second, "v2": ""} {
		if _, err := x.ops.UserDeleteTag(t.Context(), &gitalypb.UserDeleteTagRequest{Repository: x.repo, User: x.user, TagName: []byte(name), ExpectedOldOid: expected}); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if got := x.git(t, "tag"); got != "heavy\nlight\nv3\nv4" {
		t.Errorf("tags: %q", got)
	}
	x.sound(t)
}

func TestOperation_toRef(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	ctx, asked := t.Context(), len(x.api.steps())
	mergeTo := func(alter func(*gitalypb.UserMergeToRefRequest)) (string, error) {
		req := &gitalypb.UserMergeToRefRequest{Repository: x.repo, User: x.user, SourceSha: x.side, TargetRef: []byte("refs/merge-requests/1/merge"),
			FirstParentRef: []byte("refs/heads/left"), Message: []byte("m"), Timestamp: x.when}
		alter(req)
		resp, err := x.ops.UserMergeToRef(ctx, req)
		return resp.GetCommitId(), err
	}
	oid, err := mergeTo(func(*gitalypb.UserMergeToRefRequest) {})
	if err != nil || x.show(t, "refs/merge-requests/1/merge") != x.left+" "+x.side+"|"+signed+"|"+signed+"|m" {
		t.Errorf("UserMergeToRef = %q, %v: %s", oid, err, x.show(t, oid))
	}
	if oid, err = mergeTo(func(r *gitalypb.UserMergeToRefRequest) {
		r.FirstParentRef, r.ExpectedOldOid = []byte(x.right), oid
	}); err != nil || x.git(t, "rev-parse", "refs/merge-requests/1/merge^") != x.right {
		t.Errorf("UserMergeToRef again = %q, %v", oid, err)
	}
	before := x.state(t)
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.UserMergeToRefRequest)
		code  codes.Code
		text  string
	}{
		{"no parent", func(r *gitalypb.UserMergeToRefRequest) { r.FirstParentRef = nil }, codes.InvalidArgument, "empty first parent ref and branch name"},
		{"no user", func(r *gitalypb.UserMergeToRefRequest) { r.User = nil }, codes.InvalidArgument, "empty user"},
		{"no source", func(r *gitalypb.UserMergeToRefRequest) { r.SourceSha = "" }, codes.InvalidArgument, "empty source SHA"},
		{"no target", func(r *gitalypb.UserMergeToRefRequest) { r.TargetRef = nil }, codes.InvalidArgument, "empty target ref"},
		{"target is a branch", func(r *gitalypb.UserMergeToRefRequest) { r.TargetRef = []byte("refs/heads/main") }, codes.InvalidArgument, "invalid target ref"},
		{"target only begins right", func(r *gitalypb.UserMergeToRefRequest) { r.TargetRef = []byte("refs/merge-requestsx/1") }, codes.InvalidArgument, "invalid target ref"},
		{"target leads out", func(r *gitalypb.UserMergeToRefRequest) { r.TargetRef = []byte("refs/merge-requests/../heads/main") }, codes.InvalidArgument, "invalid target ref"},
		{"unknown parent", func(r *gitalypb.UserMergeToRefRequest) { r.FirstParentRef = []byte("refs/heads/none") }, codes.InvalidArgument, "Invalid merge source"},
		{"unknown source", func(r *gitalypb.UserMergeToRefRequest) { r.SourceSha = zero }, codes.InvalidArgument, "Invalid merge source"},
		{"conflicts wanted", func(r *gitalypb.UserMergeToRefRequest) { r.AllowConflicts = true }, codes.Unimplemented, "conflicts are not committed"},
		{"conflict", func(r *gitalypb.UserMergeToRefRequest) { r.SourceSha = x.right }, codes.FailedPrecondition,
			"Failed to create merge commit for source_sha " + x.right + " and target_sha " + x.left + " at refs/merge-requests/1/merge"},
		{"not where it must be", func(r *gitalypb.UserMergeToRefRequest) { r.ExpectedOldOid = zero }, codes.FailedPrecondition,
			"Could not update refs/merge-requests/1/merge. Please refresh and try again"},
	} {
		_, err := mergeTo(tc.alter)
		t.Run(tc.name, func(t *testing.T) { wantStatus(t, err, tc.code, tc.text, nil) })
	}
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	rebaseTo := func(source, target string) error {
		_, err := x.ops.UserRebaseToRef(ctx, &gitalypb.UserRebaseToRefRequest{Repository: x.repo, User: x.user, SourceSha: source,
			TargetRef: []byte(target), FirstParentRef: []byte("refs/heads/left"), Timestamp: x.when})
		return err
	}
	if err := rebaseTo(x.side, "refs/merge-requests/2/rebase"); err != nil {
		t.Error(err)
	}
	if got := x.git(t, "log", "-2", "--format=%P|%an|%cn|%ct|%s", "refs/merge-requests/2/rebase"); got != x.left+"|A|Ada|1700000000|add side.txt\n"+x.second+"|A|C|"+x.git(t, "log", "-1", "--format=%ct", x.left)+"|add README" {
		t.Errorf("rebased: %q", got)
	}
	wantStatus(t, rebaseTo(x.right, "refs/merge-requests/3/rebase"), codes.FailedPrecondition,
		"failed to rebase "+x.right+" on "+x.left+" while preparing refs/merge-requests/3/rebase due to conflict", nil)
	wantStatus(t, rebaseTo(x.right, "refs/heads/main"), codes.InvalidArgument, "invalid TargetRef", nil)
	wantStatus(t, rebaseTo("none", "refs/merge-requests/3/rebase"), codes.InvalidArgument, "invalid SourceSha", nil)
	// A symbolic reference leads nobody to a branch.
	x.git(t, "symbolic-ref", "refs/merge-requests/9/merge", "refs/heads/right")
	if _, err := mergeTo(func(r *gitalypb.UserMergeToRefRequest) { r.TargetRef = []byte("refs/merge-requests/9/merge") }); err != nil || x.git(t, "rev-parse", "right") != x.right {
		t.Errorf("through a symbolic reference: %v", err)
	}
	if got := len(x.api.steps()); got != asked {
		t.Errorf("the API was asked: %q", x.api.steps()[asked:])
	}
	x.sound(t)
}
