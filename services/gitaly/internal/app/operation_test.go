package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

func TestOperationService(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	ops, ctx := gitalypb.NewOperationServiceClient(x.conn), t.Context()
	user := &gitalypb.User{GlId: "user-1", GlUsername: "ada"}
	before := len(x.api.steps())
	created, err := ops.UserCreateBranch(ctx, &gitalypb.UserCreateBranchRequest{Repository: x.repo, User: user, BranchName: []byte("topic"), StartPoint: []byte("refs/heads/main")})
	if err != nil || string(created.GetBranch().GetName()) != "topic" || created.GetBranch().GetTargetCommit().GetId() != x.second {
		t.Errorf("UserCreateBranch = %v, %v", created, err)
	}
	var paths []string
	for _, s := range x.api.steps()[before:] {
		paths = append(paths, strings.Fields(s)[0])
	}
	if got := strings.Join(paths, " "); got != "/allowed /pre_receive /post_receive" {
		t.Errorf("API was asked %q", got)
	}
	if body := x.api.bodies[before]; body["protocol"] != "web" || body["user_id"] != "1" || body["changes"] != strings.Repeat("0", 40)+" "+x.second+" refs/heads/topic\n" {
		t.Errorf("asked for permission with %v", body)
	}
	for _, tc := range []struct {
		name string
		req  *gitalypb.UserCreateBranchRequest
		code codes.Code
		text string
	}{
		{"exists", &gitalypb.UserCreateBranchRequest{User: user, BranchName: []byte("topic"), StartPoint: []byte("main")}, codes.FailedPrecondition, "Could not update refs/heads/topic. Please refresh and try again."},
		{"no name", &gitalypb.UserCreateBranchRequest{User: user, StartPoint: []byte("main")}, codes.InvalidArgument, "empty branch name"},
		{"bad name", &gitalypb.UserCreateBranchRequest{User: user, BranchName: []byte("-x"), StartPoint: []byte("main")}, codes.InvalidArgument, "invalid branch name"},
		{"no user", &gitalypb.UserCreateBranchRequest{BranchName: []byte("b"), StartPoint: []byte("main")}, codes.InvalidArgument, "empty user"},
		{"no start", &gitalypb.UserCreateBranchRequest{User: user, BranchName: []byte("b")}, codes.InvalidArgument, "empty start point"},
		{"unknown start", &gitalypb.UserCreateBranchRequest{User: user, BranchName: []byte("b"), StartPoint: []byte("none")}, codes.FailedPrecondition, "revspec 'none' not found"},
		{"start is an option", &gitalypb.UserCreateBranchRequest{User: user, BranchName: []byte("b"), StartPoint: []byte("--all")}, codes.InvalidArgument, "revision can't start with '-'"},
	} {
		tc.req.Repository = x.repo
		if _, err := ops.UserCreateBranch(ctx, tc.req); status.Code(err) != tc.code || status.Convert(err).Message() != tc.text {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	del := &gitalypb.UserDeleteBranchRequest{Repository: x.repo, User: user, BranchName: []byte("topic"), ExpectedOldOid: x.first}
	if _, err := ops.UserDeleteBranch(ctx, del); status.Code(err) != codes.FailedPrecondition || len(status.Convert(err).Details()) != 1 {
		t.Errorf("deletion with a wrong old id: %v", err)
	}
	del.ExpectedOldOid = x.second
	if _, err := ops.UserDeleteBranch(ctx, del); err != nil {
		t.Error(err)
	}
	if _, err := ops.UserDeleteBranch(ctx, del); status.Convert(err).Message() != `branch not found: "topic"` {
		t.Errorf("second deletion: %v", err)
	}
	x.assertClean(t, x.dir)
}

func TestOperationService_refused(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	ops, ctx := gitalypb.NewOperationServiceClient(x.conn), t.Context()
	user := &gitalypb.User{GlId: "user-1", GlUsername: "ada"}
	x.api.set(func() {
		x.api.allowed = reply(401, `{"status":false,"message":"The default branch of a project cannot be deleted."}`)
	})
	_, err := ops.UserDeleteBranch(ctx, &gitalypb.UserDeleteBranchRequest{Repository: x.repo, User: user, BranchName: []byte("main")})
	details := status.Convert(err).Details()
	if status.Code(err) != codes.PermissionDenied || len(details) != 1 {
		t.Fatalf("deletion: %v, %v", err, details)
	}
	if d, ok := details[0].(*gitalypb.UserDeleteBranchError); !ok || d.GetAccessCheck().GetErrorMessage() != "The default branch of a project cannot be deleted." {
		t.Errorf("detail = %v", details[0])
	}
	x.api.set(func() { x.api.allowed = nil })
	hook := filepath.Join(x.dir, "custom_hooks/pre-receive")
	cmd := exec.CommandContext(ctx, "install", "-D", "-m", "0700", "/dev/stdin", hook)
	cmd.Stdin = strings.NewReader("#!/bin/sh\necho GL-HOOK-ERR: no >&2\nexit 1\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, err = ops.UserCreateBranch(ctx, &gitalypb.UserCreateBranchRequest{Repository: x.repo, User: user, BranchName: []byte("b"), StartPoint: []byte("main")})
	details = status.Convert(err).Details()
	if status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "creation denied by custom hooks" || len(details) != 1 {
		t.Fatalf("creation: %v, %v", err, details)
	}
	if d, ok := details[0].(*gitalypb.UserCreateBranchError); !ok || string(d.GetCustomHook().GetStderr()) != "GL-HOOK-ERR: no\n" {
		t.Errorf("detail = %v", details[0])
	}
	if _, err := os.Stat(filepath.Join(x.dir, "refs/heads/b")); err == nil {
		t.Error("the branch was made")
	}
}
