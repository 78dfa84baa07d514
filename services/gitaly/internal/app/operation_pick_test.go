package app_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"gitsplit/proto/go/gitalypb"
)

func commitID(id string) *gitalypb.GitCommit { return &gitalypb.GitCommit{Id: id} }

func TestOperation_UserCherryPick(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	pick := func(alter func(*gitalypb.UserCherryPickRequest)) (*gitalypb.OperationBranchUpdate, error) {
		req := &gitalypb.UserCherryPickRequest{Repository: x.repo, User: x.user, Commit: commitID(x.side), BranchName: []byte("left"), Message: []byte("picked"), Timestamp: x.when}
		alter(req)
		resp, err := x.ops.UserCherryPick(t.Context(), req)
		return resp.GetBranchUpdate(), err
	}
	author := x.git(t, "log", "-1", "--date=raw", "--format=%an <%ae> %ad", x.side)
	before := x.state(t)
	if update, err := pick(func(r *gitalypb.UserCherryPickRequest) { r.DryRun = true }); err != nil || update.GetCommitId() != x.left || x.state(t) != before {
		t.Errorf("dry run = %v, %v", update, err)
	}
	update, err := pick(func(*gitalypb.UserCherryPickRequest) {})
	if err != nil || update.GetBranchCreated() || x.show(t, "left") != x.left+"|"+author+"|"+signed+"|picked" || x.git(t, "show", "left:README", "left:side.txt") != "left\nside" {
		t.Errorf("UserCherryPick = %v, %v", update, err)
	}
	update, err = pick(func(r *gitalypb.UserCherryPickRequest) {
		r.BranchName, r.StartBranchName, r.CommitAuthorName, r.CommitAuthorEmail = []byte("fresh"), []byte("right"), []byte("Eve"), []byte("eve@example.com")
	})
	if err != nil || !update.GetBranchCreated() || update.GetRepoCreated() || x.show(t, "fresh") != x.right+"|Eve <eve@example.com> 1700000000 +0100|"+signed+"|picked" {
		t.Errorf("onto a new branch = %v, %v", update, err)
	}
	merged, _, err := x.merge(t.Context(), &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("side"), CommitId: x.right, Message: []byte("m")}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pick(func(r *gitalypb.UserCherryPickRequest) { r.Commit, r.BranchName = commitID(merged), []byte("main") }); err != nil || x.git(t, "diff", "--name-only", x.second, "main") != "README" {
		t.Errorf("a merge brings what it changed in its first parent: %v, %q", err, x.git(t, "diff", "--name-only", x.second, "main"))
	}
	if _, err := pick(func(r *gitalypb.UserCherryPickRequest) {
		r.Commit, r.BranchName = commitID(x.orphan(t, "root.txt")), []byte("main")
	}); err != nil || x.git(t, "show", "main:root.txt") != "root.txt" {
		t.Errorf("pick of a root: %v", err)
	}
	x.sound(t)
	before = x.state(t)
	_, err = pick(func(r *gitalypb.UserCherryPickRequest) { r.Commit, r.BranchName = commitID(x.left), []byte("right") })
	wantStatus(t, err, codes.FailedPrecondition, "cherry pick: merge: there are conflicting files", &gitalypb.UserCherryPickError{
		Error: &gitalypb.UserCherryPickError_CherryPickConflict{CherryPickConflict: &gitalypb.MergeConflictError{ConflictingFiles: [][]byte{[]byte("README")}}},
	})
	_, err = pick(func(*gitalypb.UserCherryPickRequest) {})
	wantStatus(t, err, codes.FailedPrecondition, "cherry-pick: could not apply because the result was empty", &gitalypb.UserCherryPickError{
		Error: &gitalypb.UserCherryPickError_ChangesAlreadyApplied{ChangesAlreadyApplied: &gitalypb.ChangesAlreadyAppliedError{}},
	})
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.UserCherryPickRequest)
		code  codes.Code
		text  string
	}{
		{"no user", func(r *gitalypb.UserCherryPickRequest) { r.User = nil }, codes.InvalidArgument, "empty User"},
		{"no commit", func(r *gitalypb.UserCherryPickRequest) { r.Commit = nil }, codes.InvalidArgument, "empty Commit"},
		{"no branch", func(r *gitalypb.UserCherryPickRequest) { r.BranchName = nil }, codes.InvalidArgument, "empty BranchName"},
		{"no message", func(r *gitalypb.UserCherryPickRequest) { r.Message = nil }, codes.InvalidArgument, "empty Message"},
		{"unknown start", func(r *gitalypb.UserCherryPickRequest) { r.BranchName = []byte("none") }, codes.InvalidArgument, "resolve start ref: reference not found"},
		{"unknown commit", func(r *gitalypb.UserCherryPickRequest) { r.Commit = commitID(zero) }, codes.NotFound, `cherry-pick: commit lookup: commit not found: "` + zero + `"`},
		{"expected is no id", func(r *gitalypb.UserCherryPickRequest) { r.ExpectedOldOid = "x" }, codes.InvalidArgument, `invalid expected old object ID: "x"`},
	} {
		_, err := pick(tc.alter)
		t.Run(tc.name, func(t *testing.T) {
			wantStatus(t, err, tc.code, tc.text, nil)
		})
	}
	_, err = pick(func(r *gitalypb.UserCherryPickRequest) {
		r.BranchName, r.StartBranchName, r.ExpectedOldOid = []byte("main"), []byte("old"), x.second
	})
	if s := statusDetail[*gitalypb.UserCherryPickError](err); s.GetTargetBranchDiverged() == nil || string(s.GetTargetBranchDiverged().GetParentRevision()) != x.second {
		t.Errorf("diverged: %v", err)
	}
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// orphan pushes a commit without parents.
func (x workshop) orphan(t *testing.T, file string) string {
	t.Helper()
	x.c.git(t, "checkout", "-q", "--orphan", "orphan")
	x.c.git(t, "rm", "-q", "-rf", ".")
	id := x.c.commit(t, file, file)
	x.c.git(t, "push", "-q", remote(rel), "orphan")
	return id
}

func TestOperation_UserRevert(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	revert := func(alter func(*gitalypb.UserRevertRequest)) (*gitalypb.OperationBranchUpdate, error) {
		req := &gitalypb.UserRevertRequest{Repository: x.repo, User: x.user, Commit: commitID(x.left), BranchName: []byte("left"), Message: []byte("back"), Timestamp: x.when}
		alter(req)
		resp, err := x.ops.UserRevert(t.Context(), req)
		return resp.GetBranchUpdate(), err
	}
	before := x.state(t)
	if update, err := revert(func(r *gitalypb.UserRevertRequest) { r.DryRun = true }); err != nil || update.GetCommitId() != x.left || x.state(t) != before {
		t.Errorf("dry run = %v, %v", update, err)
	}
	_, err := revert(func(r *gitalypb.UserRevertRequest) { r.Commit = commitID(x.side) })
	wantStatus(t, err, codes.FailedPrecondition, "revert: could not apply because the result was empty", &gitalypb.UserRevertError{
		Error: &gitalypb.UserRevertError_ChangesAlreadyApplied{ChangesAlreadyApplied: &gitalypb.ChangesAlreadyAppliedError{}},
	})
	_, err = revert(func(r *gitalypb.UserRevertRequest) { r.Commit = commitID(x.right) })
	wantStatus(t, err, codes.FailedPrecondition, "revert: there are conflicting files", &gitalypb.UserRevertError{
		Error: &gitalypb.UserRevertError_MergeConflict{MergeConflict: &gitalypb.MergeConflictError{ConflictingFiles: [][]byte{[]byte("README")}}},
	})
	_, err = revert(func(r *gitalypb.UserRevertRequest) { r.Commit = commitID("none") })
	wantStatus(t, err, codes.NotFound, `revert commit lookup: commit not found: "none"`, nil)
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	if update, err := revert(func(*gitalypb.UserRevertRequest) {}); err != nil || x.show(t, "left") != x.left+"|"+signed+"|"+signed+"|back" ||
		x.git(t, "rev-parse", "left^{tree}") != x.git(t, "rev-parse", "main^{tree}") {
		t.Errorf("UserRevert = %v, %v", update, err)
	}
	root := x.orphan(t, "root.txt")
	update, err := revert(func(r *gitalypb.UserRevertRequest) {
		r.Commit, r.BranchName, r.StartBranchName = commitID(root), []byte("empty"), []byte("orphan")
	})
	if err != nil || !update.GetBranchCreated() || x.git(t, "ls-tree", "empty") != "" {
		t.Errorf("revert of a root = %v, %v", update, err)
	}
	x.sound(t)
}

func TestOperation_UserSquash(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	author := &gitalypb.User{Name: []byte("Eve"), Email: []byte("eve@example.com"), Timezone: "Asia/Kolkata"}
	squash := func(alter func(*gitalypb.UserSquashRequest)) (string, error) {
		req := &gitalypb.UserSquashRequest{Repository: x.repo, User: x.user, Author: author, StartSha: x.first, EndSha: x.side, CommitMessage: []byte("one"), Timestamp: x.when}
		alter(req)
		resp, err := x.ops.UserSquash(t.Context(), req)
		return resp.GetSquashSha(), err
	}
	oid, err := squash(func(*gitalypb.UserSquashRequest) {})
	if err != nil || x.show(t, oid) != x.first+"|Eve <eve@example.com> 1700000000 +0530|"+signed+"|one" || x.git(t, "rev-parse", oid+"^{tree}") != x.git(t, "rev-parse", x.side+"^{tree}") {
		t.Errorf("UserSquash = %q, %v", oid, err)
	}
	before := x.state(t)
	_, err = squash(func(r *gitalypb.UserSquashRequest) { r.StartSha, r.EndSha = x.left, x.right })
	wantStatus(t, err, codes.FailedPrecondition, "squashing commits: merge: there are conflicting files", &gitalypb.UserSquashError{
		Error: &gitalypb.UserSquashError_RebaseConflict{RebaseConflict: &gitalypb.MergeConflictError{
			ConflictingFiles: [][]byte{[]byte("README")}, ConflictingCommitIds: []string{x.left, x.right},
		}},
	})
	for text, alter := range map[string]func(*gitalypb.UserSquashRequest){
		"resolving start revision: reference not found": func(r *gitalypb.UserSquashRequest) { r.StartSha = zero },
		"resolving end revision: reference not found":   func(r *gitalypb.UserSquashRequest) { r.EndSha = zero },
	} {
		_, err = squash(alter)
		wantStatus(t, err, codes.InvalidArgument, text, &gitalypb.UserSquashError{
			Error: &gitalypb.UserSquashError_ResolveRevision{ResolveRevision: &gitalypb.ResolveRevisionError{Revision: []byte(zero)}},
		})
	}
	for text, alter := range map[string]func(*gitalypb.UserSquashRequest){
		"empty User":                    func(r *gitalypb.UserSquashRequest) { r.User = nil },
		"empty StartSha":                func(r *gitalypb.UserSquashRequest) { r.StartSha = "" },
		"empty EndSha":                  func(r *gitalypb.UserSquashRequest) { r.EndSha = "" },
		"empty CommitMessage":           func(r *gitalypb.UserSquashRequest) { r.CommitMessage = nil },
		"empty Author":                  func(r *gitalypb.UserSquashRequest) { r.Author = nil },
		"empty author name":             func(r *gitalypb.UserSquashRequest) { r.Author = &gitalypb.User{} },
		"revision can't start with '-'": func(r *gitalypb.UserSquashRequest) { r.EndSha = "--all" },
		"revision can't contain ':'":    func(r *gitalypb.UserSquashRequest) { r.EndSha = "main:README" },
	} {
		_, err = squash(alter)
		wantStatus(t, err, codes.InvalidArgument, text, nil)
	}
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestOperation_UserRebaseConfirmable(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	// Of topic's commits, one is upstream already, one was empty from the beginning, one is a merge.
	x.c.git(t, "checkout", "-q", "-b", "topic", x.first)
	x.c.git(t, "cherry-pick", x.side)
	x.c.git(t, "commit", "-q", "--allow-empty", "-m", "empty")
	x.c.git(t, "-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-m", "caf\xe9")
	x.c.git(t, "merge", "-q", "--no-ff", "-m", "merge", x.second)
	tip := x.c.commit(t, "topic.txt", "topic\n")
	x.c.git(t, "push", "-q", remote(rel), "topic")
	header := func(branch, sha, onto string) *gitalypb.UserRebaseConfirmableRequest_Header {
		return &gitalypb.UserRebaseConfirmableRequest_Header{User: x.user, Branch: []byte(branch), BranchSha: sha, RemoteRepository: x.repo,
			RemoteBranch: []byte(onto), GitPushOptions: []string{"ci.skip"}}
	}
	before := x.state(t)
	_, _, err := x.rebase(t.Context(), header("topic", tip, "side"), false)
	wantStatus(t, err, codes.FailedPrecondition, "rebase aborted by client", nil)
	_, _, err = x.rebase(t.Context(), header("left", x.left, "right"), true)
	wantStatus(t, err, codes.FailedPrecondition, `rebasing commits: rebase: commit "`+x.left+`": there are conflicting files`, &gitalypb.UserRebaseConfirmableError{
		Error: &gitalypb.UserRebaseConfirmableError_RebaseConflict{RebaseConflict: &gitalypb.MergeConflictError{
			ConflictingFiles: [][]byte{[]byte("README")}, ConflictingCommitIds: []string{x.right, x.left},
		}},
	})
	_, _, err = x.rebase(t.Context(), header("topic", x.left, "side"), true)
	wantStatus(t, err, codes.FailedPrecondition, "Could not update refs/heads/topic. Please refresh and try again.", nil)
	for text, h := range map[string]*gitalypb.UserRebaseConfirmableRequest_Header{
		"empty Branch":                           header("", tip, "side"),
		"empty BranchSha":                        header("topic", "", "side"),
		"empty RemoteBranch":                     header("topic", tip, ""),
		"invalid branch name":                    header("topic", tip, "--onto"),
		"empty RemoteRepository":                 {User: x.user, Branch: []byte("topic"), BranchSha: tip},
		"empty User":                             {Branch: []byte("topic"), BranchSha: tip},
		"resolve start ref: reference not found": header("topic", tip, "none"),
	} {
		_, _, err := x.rebase(t.Context(), h, true)
		wantStatus(t, err, codes.InvalidArgument, text, nil)
	}
	_, _, err = x.rebase(t.Context(), header("topic", "topic", "side"), true)
	wantStatus(t, err, codes.NotFound, `invalid object ID: "topic"`, nil)
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	asked := len(x.api.steps())
	oid, applied, err := x.rebase(t.Context(), header("topic", tip, "side"), true)
	if err != nil || !applied || x.git(t, "rev-parse", "topic") != oid {
		t.Fatalf("UserRebaseConfirmable = %q, %v, %v", oid, applied, err)
	}
	if got := x.git(t, "log", "--format=%cn %an %s", x.side+"..topic"); got != "Ada A add topic.txt\nAda A café\nAda A empty" {
		t.Errorf("rebased: %q", got)
	}
	if raw := x.git(t, "cat-file", "commit", "topic^"); !strings.Contains(raw, "\nencoding ISO-8859-1\n") || !strings.HasSuffix(raw, "caf\xe9") {
		t.Errorf("message was changed: %q", raw)
	}
	if options := x.api.bodies[asked]["push_options"]; len(options.([]any)) != 1 {
		t.Errorf("push options = %v", options)
	}
	// What is ahead already stays; what is behind moves forward.
	for branch, onto := range map[string]string{"topic": "side", "old": "main"} {
		sha := x.git(t, "rev-parse", branch)
		got, _, err := x.rebase(t.Context(), header(branch, sha, onto), true)
		if want := map[string]string{"topic": oid, "old": x.second}[branch]; err != nil || got != want {
			t.Errorf("rebase of %s = %q, %v, want %q", branch, got, err, want)
		}
	}
	x.sound(t)
}

// TestOperation_otherRepository rebases a fork's branch onto its origin: what is
// missing comes from there.
func TestOperation_otherRepository(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	const fork = "fork.git"
	dir := x.create(t, fork)
	tip := x.branch(t, "feature", x.first, "feature.txt", "f\n")
	x.c.git(t, "push", "-q", remote(fork), "feature")
	origin := x.repo
	x.repo, x.dir = repository(fork), dir
	oid, _, err := x.rebase(t.Context(), &gitalypb.UserRebaseConfirmableRequest_Header{User: x.user, Branch: []byte("feature"), BranchSha: tip,
		RemoteRepository: origin, RemoteBranch: []byte("side")}, true)
	if err != nil || x.git(t, "rev-parse", "feature^") != x.side || x.git(t, "ls-tree", "--name-only", oid) != "README\nfeature.txt\nside.txt\nsrc" {
		t.Errorf("rebase onto another repository = %q, %v", oid, err)
	}
	if refs := x.git(t, "for-each-ref", "--format=%(refname)"); refs != "refs/heads/feature" {
		t.Errorf("references: %q", refs)
	}
	x.sound(t)
}
