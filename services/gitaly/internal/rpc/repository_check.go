package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
)

// maxFindings bounds what Fsck answers: a badly damaged repository has more to
// complain about than anyone reads.
const maxFindings = 1 << 20

// findings keeps the beginning of what is written, from several sides at a time.
type findings struct {
	mu   sync.Mutex
	data []byte
}

func (f *findings) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, p[:min(len(p), maxFindings-len(f.data))]...)
	return len(p), nil
}

// Fsck checks the repository; what is wrong with it is a good answer.
func (s Repository) Fsck(ctx context.Context, req *gitalypb.FsckRequest) (*gitalypb.FsckResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if req.GetRepoOnly() {
		return nil, errs.New(errs.Unimplemented, "repo_only is not supported")
	}
	var found findings
	err = s.Git.Run(ctx, &repo.Repo, gitcmd.Spec{
		Name: "fsck", Flags: []string{"--no-progress", "--no-dangling"}, Stdout: &found, Stderr: &found,
	})
	if gitcmd.Failed(err) {
		return &gitalypb.FsckResponse{Error: found.data}, nil
	}
	return &gitalypb.FsckResponse{}, err
}

// CalculateChecksum condenses the references. A repository that git cannot read is
// DataLoss.
func (s Repository) CalculateChecksum(ctx context.Context, req *gitalypb.CalculateChecksumRequest) (*gitalypb.CalculateChecksumResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	sum, err := ref.Checksum(ctx, s.Git, &repo.Repo)
	if gitcmd.Failed(err) {
		return nil, status.Errorf(codes.DataLoss, "not a git repository '%s'", repo.RelativePath)
	}
	if err != nil {
		return nil, err
	}
	return &gitalypb.CalculateChecksumResponse{Checksum: sum}, nil
}
