package app_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
)

const zero = "0000000000000000000000000000000000000000"

func TestOperation_UserMergeBranch(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	ctx := t.Context()
	asked := len(x.api.steps())
	merge := func() *gitalypb.UserMergeBranchRequest {
		return &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("main"), CommitId: x.side, Message: []byte("Merge it\n\n  as it is, \xff too  ")}
	}
	before := x.state(t)
	_, _, err := x.merge(ctx, merge(), false)
	wantStatus(t, err, codes.FailedPrecondition, "merge aborted by client", nil)
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.UserMergeBranchRequest)
		code  codes.Code
		text  string
	}{
		{"no user", func(r *gitalypb.UserMergeBranchRequest) { r.User = nil }, codes.InvalidArgument, "empty user"},
		{"no address", func(r *gitalypb.UserMergeBranchRequest) { r.User = &gitalypb.User{Name: []byte("x")} }, codes.InvalidArgument, "empty user email"},
		{"no name", func(r *gitalypb.UserMergeBranchRequest) { r.User = &gitalypb.User{Email: []byte("x")} }, codes.InvalidArgument, "empty user name"},
		{"unspeakable name", func(r *gitalypb.UserMergeBranchRequest) {
			r.User = &gitalypb.User{Name: []byte("<\n>"), Email: []byte("x")}
		}, codes.InvalidArgument,
			"commit: failed to parse signature - Signature cannot have an empty name or email"},
		{"unknown zone", func(r *gitalypb.UserMergeBranchRequest) {
			r.User = &gitalypb.User{Name: []byte("x"), Email: []byte("x"), Timezone: "Moon"}
		}, codes.InvalidArgument,
			"unknown time zone Moon"},
		{"zone is a path", func(r *gitalypb.UserMergeBranchRequest) {
			r.User = &gitalypb.User{Name: []byte("x"), Email: []byte("x"), Timezone: "../etc/passwd"}
		}, codes.InvalidArgument, "time: invalid location name"},
		{"no branch", func(r *gitalypb.UserMergeBranchRequest) { r.Branch = nil }, codes.InvalidArgument, "empty branch name"},
		{"branch is an option", func(r *gitalypb.UserMergeBranchRequest) { r.Branch = []byte("--all") }, codes.InvalidArgument, "invalid branch name"},
		{"branch of 1 MB", func(r *gitalypb.UserMergeBranchRequest) { r.Branch = []byte(strings.Repeat("x", 1<<20)) }, codes.InvalidArgument, "invalid branch name"},
		{"unknown branch", func(r *gitalypb.UserMergeBranchRequest) { r.Branch = []byte("none") }, codes.NotFound, "reference not found"},
		{"no commit", func(r *gitalypb.UserMergeBranchRequest) { r.CommitId = "" }, codes.InvalidArgument, "empty commit ID"},
		{"unknown commit", func(r *gitalypb.UserMergeBranchRequest) { r.CommitId = zero }, codes.NotFound, `commit not found: "` + zero + `"`},
		{"commit is an option", func(r *gitalypb.UserMergeBranchRequest) { r.CommitId = "--stdin" }, codes.InvalidArgument, "revision can't start with '-'"},
		{"commit with a line break", func(r *gitalypb.UserMergeBranchRequest) { r.CommitId = "main\ncontents main" }, codes.InvalidArgument, "revision can't contain whitespace"},
		{"no message", func(r *gitalypb.UserMergeBranchRequest) { r.Message = nil }, codes.InvalidArgument, "empty message"},
		{"NUL in the message", func(r *gitalypb.UserMergeBranchRequest) { r.Message = []byte("a\x00b") }, codes.InvalidArgument, "commit message contains NUL byte"},
		{"expected is no id", func(r *gitalypb.UserMergeBranchRequest) { r.ExpectedOldOid = "foobar" }, codes.InvalidArgument, `invalid expected old object ID: "foobar"`},
		{"expected is unknown", func(r *gitalypb.UserMergeBranchRequest) { r.ExpectedOldOid = zero }, codes.InvalidArgument, "cannot resolve expected old object ID: reference not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := merge()
			tc.alter(req)
			_, _, err := x.merge(ctx, req, true)
			wantStatus(t, err, tc.code, tc.text, nil)
		})
	}
	if got := len(x.api.steps()); got != asked {
		t.Errorf("the API was asked about nothing: %q", x.api.steps()[asked:])
	}
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	oid, update, err := x.merge(ctx, merge(), true)
	if err != nil || update.GetCommitId() != oid || update.GetBranchCreated() || update.GetRepoCreated() {
		t.Fatalf("UserMergeBranch = %q, %v, %v", oid, update, err)
	}
	if got, want := x.git(t, "cat-file", "commit", "main"), "tree "+x.git(t, "rev-parse", x.side+"^{tree}")+"\nparent "+x.second+"\nparent "+x.side+
		"\nauthor "+signed+"\ncommitter "+signed+"\n\nMerge it\n\n  as it is, \xff too  "; got != want {
		t.Errorf("merge is %q, want %q", got, want)
	}
	var steps []string
	for _, s := range x.api.steps()[asked:] {
		steps = append(steps, strings.Fields(s)[0])
	}
	if got := strings.Join(steps, " "); got != "/allowed /pre_receive /post_receive" {
		t.Errorf("API was asked %q", got)
	}
	if body := x.api.bodies[asked]; body["protocol"] != "web" || body["changes"] != x.second+" "+oid+" refs/heads/main\n" ||
		!strings.Contains(body["env"].(string), `"GIT_OBJECT_DIRECTORY_RELATIVE":"../../../../+gitaly/tmp/quarantine-`) {
		t.Errorf("asked for permission with %v", body)
	}
	squash := &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("left"), CommitId: x.side, Message: []byte("squashed\n"), Squash: true, ExpectedOldOid: x.left}
	if oid, _, err = x.merge(ctx, squash, true); err != nil {
		t.Fatal(err)
	}
	if got := x.show(t, oid); got != x.left+"|"+signed+"|"+signed+"|squashed" {
		t.Errorf("squash is %q", got)
	}
	if got := x.git(t, "show", oid+":README", oid+":side.txt"); got != "left\nside" {
		t.Errorf("squash has %q", got)
	}
	x.sound(t)
}

func TestOperation_UserMergeBranch_lost(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	ctx := t.Context()
	_, _, err := x.merge(ctx, &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("left"), CommitId: x.right, Message: []byte("m")}, true)
	wantStatus(t, err, codes.FailedPrecondition, "merging commits: merge: there are conflicting files", &gitalypb.UserMergeBranchError{
		Error: &gitalypb.UserMergeBranchError_MergeConflict{MergeConflict: &gitalypb.MergeConflictError{
			ConflictingFiles: [][]byte{[]byte("README")}, ConflictingCommitIds: []string{x.left, x.right},
		}},
	})
	before := x.state(t)
	oid, _, err := x.merge(ctx, &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("main"), CommitId: x.side, Message: []byte("m"), ExpectedOldOid: x.first}, true)
	wantStatus(t, err, codes.FailedPrecondition, "Could not update refs/heads/main. Please refresh and try again.", &gitalypb.UserMergeBranchError{
		Error: &gitalypb.UserMergeBranchError_ReferenceUpdate{ReferenceUpdate: &gitalypb.ReferenceUpdateError{
			ReferenceName: []byte("refs/heads/main"), OldOid: x.first, NewOid: oid,
		}},
	})
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	// Of those who merge at once, each with the first step behind them, one wins.
	results := make(chan error, 8)
	for _, c := range []string{x.side, x.left} {
		for range cap(results) / 2 {
			go func() {
				_, _, err := x.merge(ctx, &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("main"), CommitId: c, Message: []byte("m"), ExpectedOldOid: x.second}, true)
				results <- err
			}()
		}
	}
	won := 0
	for range cap(results) {
		if err := <-results; err == nil {
			won++
		}
	}
	if parent := x.git(t, "rev-parse", "main^"); won != 1 || parent != x.second {
		t.Errorf("%d merges have won, onto %s", won, parent)
	}
	x.sound(t)
}
