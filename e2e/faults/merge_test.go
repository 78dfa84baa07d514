package faults_test

import (
	"context"
	"fmt"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// conn is the connection to gitaly, as rails-api has one.
func (s *site) conn() (*grpc.ClientConn, error) {
	token, err := s.Secret("gitaly_token")
	if err != nil {
		return nil, err
	}
	return s.gitaly.Conn("unix:"+filepath.Join(s.Home, "run/gitaly.sock"), token)
}

// proto is how gitaly's callers name the lane's repository.
func (l *lane) proto() (*gitalypb.Repository, error) {
	path, err := filepath.Rel(l.site.storage(), l.repo)
	return &gitalypb.Repository{
		StorageName: "default", RelativePath: path, GlRepository: l.subject(), GlProjectPath: l.site.user.Username + "/" + l.name,
	}, err
}

// startMerge begins a merge into side. What it says in the end is in the words of git
// push --porcelain.
func (j *job) startMerge(ctx context.Context) error {
	conn, err := j.lane.site.conn()
	if err != nil {
		close(j.exited)
		return err
	}
	patient := ctx
	ctx, j.leave = context.WithCancel(ctx)
	go func() {
		defer close(j.exited)
		err := j.mergeMain(ctx, conn)
		j.hung = patient.Err() != nil
		j.leave()
		j.giveUp()
		switch status.Code(err) {
		case codes.OK:
			fmt.Fprintln(&j.out, "*\tmain:refs/heads/side\t[merged]")
			return
		case codes.PermissionDenied, codes.FailedPrecondition:
			fmt.Fprintln(&j.out, "!\tmain:refs/heads/side\t[remote rejected]")
		}
		j.code = 1
		fmt.Fprintln(&j.out, err)
	}()
	return nil
}

// mergeMain merges main into side and learns, between the two messages of the RPC, to
// which commit side will move.
func (j *job) mergeMain(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := gitalypb.NewOperationServiceClient(conn).UserMergeBranch(ctx)
	if err != nil {
		return err
	}
	repository, err := j.lane.proto()
	if err != nil {
		return err
	}
	user := j.lane.site.user
	_ = stream.Send(&gitalypb.UserMergeBranchRequest{ // its error is told by Recv
		Repository: repository, CommitId: j.before["refs/heads/main"], Branch: []byte("side"), Message: []byte("merge"),
		User: &gitalypb.User{
			GlId: fmt.Sprintf("user-%d", user.ID), GlUsername: user.Username, Name: []byte(user.Username), Email: []byte("e2e@example.test"),
		},
	})
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	j.wants = refs{"refs/heads/side": first.GetCommitId()}
	_ = stream.Send(&gitalypb.UserMergeBranchRequest{Apply: true})
	_ = stream.CloseSend()
	last, err := stream.Recv()
	if err == nil && last.GetBranchUpdate().GetCommitId() != first.GetCommitId() {
		err = fmt.Errorf("merged to %q instead of %q", last.GetBranchUpdate().GetCommitId(), first.GetCommitId())
	}
	return err
}
