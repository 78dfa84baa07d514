package app_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
)

// workshop is a repository with branches to work on: main has README and src, side adds
// a file, left and right change README in two ways.
type workshop struct {
	content
	ops   gitalypb.OperationServiceClient
	user  *gitalypb.User
	when  *timestamppb.Timestamp
	side  string
	left  string
	right string
}

// signed is how user and when look in a commit.
const signed = "Ada <ada@example.com> 1700000000 +0100"

func withWorkshop(t *testing.T) workshop {
	t.Helper()
	x := workshop{content: withContent(t), when: &timestamppb.Timestamp{Seconds: 1700000000}}
	x.ops = gitalypb.NewOperationServiceClient(x.conn)
	x.user = &gitalypb.User{GlId: "user-1", GlUsername: "ada", Name: []byte(" Ada<>. "), Email: []byte("ada@example.com"), Timezone: "Europe/Berlin"}
	x.side = x.branch(t, "side", "main", "side.txt", "side\n")
	x.left = x.branch(t, "left", "main", "README", "left\n")
	x.right = x.branch(t, "right", "main", "README", "right\n")
	x.c.git(t, "push", "-q", remote(rel), "side", "left", "right")
	return x
}

// branch makes a branch with one commit more than another, in the working copy.
func (x workshop) branch(t *testing.T, name, from, file, content string) string {
	t.Helper()
	x.c.git(t, "checkout", "-q", "-B", name, from)
	return x.c.commit(t, file, content)
}

// git runs git in the repository that gitaly serves.
func (x content) git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", x.dir}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// show describes a commit: parents, author, committer and message.
func (x content) show(t *testing.T, oid string) string {
	t.Helper()
	return x.git(t, "log", "-1", "--date=raw", "--format=%P|%an <%ae> %ad|%cn <%ce> %cd|%B", oid)
}

// hook installs a custom hook.
func (x content) hook(t *testing.T, name, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "install", "-D", "-m", "0700", "/dev/stdin", filepath.Join(x.dir, "custom_hooks", name))
	cmd.Stdin = strings.NewReader("#!/bin/sh\n" + script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// state is all that an operation without success must leave as it was.
func (x content) state(t *testing.T) string {
	t.Helper()
	tmp, _ := filepath.Glob(filepath.Join(x.bundle.dir, "+gitaly/tmp/*"))
	return x.git(t, "for-each-ref") + "\n" + x.git(t, "count-objects", "-v") + "\n" + strings.Join(tmp, "\n")
}

// settled waits until nothing of an operation is left that was cut short.
func (x content) settled(t *testing.T) {
	t.Helper()
	eventually(t, "the temporary directory is empty", func() bool {
		tmp, _ := filepath.Glob(filepath.Join(x.bundle.dir, "+gitaly/tmp/*"))
		return len(tmp) == 0
	})
}

// sound is settled, and git finds no damage.
func (x content) sound(t *testing.T) {
	t.Helper()
	x.settled(t)
	x.assertClean(t, x.dir)
}

// wantStatus compares a failure; detail is the one it must carry, nil for none.
func wantStatus(t *testing.T, err error, code codes.Code, text string, detail proto.Message) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code || s.Message() != text {
		t.Errorf("err = %v, want %v %q", err, code, text)
	}
	var got proto.Message
	if len(s.Details()) > 0 {
		got, _ = s.Details()[0].(proto.Message)
	}
	if len(s.Details()) > 1 || !proto.Equal(got, detail) && (got != nil || detail != nil) {
		t.Errorf("details = %v, want %v", s.Details(), detail)
	}
}

// merge goes through both steps of UserMergeBranch; the second one only with apply.
func (x workshop) merge(ctx context.Context, req *gitalypb.UserMergeBranchRequest, apply bool) (oid string, update *gitalypb.OperationBranchUpdate, err error) {
	req.Repository, req.Timestamp = x.repo, x.when
	stream, err := x.ops.UserMergeBranch(ctx)
	if err != nil {
		return "", nil, err
	}
	if err := stream.Send(req); err != nil {
		return "", nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return "", nil, err
	}
	if err := stream.Send(&gitalypb.UserMergeBranchRequest{Apply: apply}); err != nil {
		return "", nil, err
	}
	second, err := stream.Recv()
	return first.GetCommitId(), second.GetBranchUpdate(), err
}

// rebase goes through both steps of UserRebaseConfirmable.
func (x workshop) rebase(ctx context.Context, header *gitalypb.UserRebaseConfirmableRequest_Header, apply bool) (oid string, applied bool, err error) {
	header.Repository, header.Timestamp = x.repo, x.when
	stream, err := x.ops.UserRebaseConfirmable(ctx)
	if err != nil {
		return "", false, err
	}
	if err := stream.Send(&gitalypb.UserRebaseConfirmableRequest{
		UserRebaseConfirmableRequestPayload: &gitalypb.UserRebaseConfirmableRequest_Header_{Header: header},
	}); err != nil {
		return "", false, err
	}
	first, err := stream.Recv()
	if err != nil {
		return "", false, err
	}
	if err := stream.Send(&gitalypb.UserRebaseConfirmableRequest{
		UserRebaseConfirmableRequestPayload: &gitalypb.UserRebaseConfirmableRequest_Apply{Apply: apply},
	}); err != nil {
		return "", false, err
	}
	second, err := stream.Recv()
	return first.GetRebaseSha(), second.GetRebaseApplied(), err
}

// statusDetail is the detail of a failure, nil without one of that type.
func statusDetail[T proto.Message](err error) T {
	for _, d := range status.Convert(err).Details() {
		if m, ok := d.(T); ok {
			return m
		}
	}
	var none T
	return none
}
