package rpc

import (
	"context"
	"errors"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/mirror"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
)

// Remote is RemoteService.
type Remote struct {
	gitalypb.UnimplementedRemoteServiceServer
	*Deps
}

// FindRemoteRepository says whether a repository answers at a URL.
func (s Remote) FindRemoteRepository(ctx context.Context, req *gitalypb.FindRemoteRepositoryRequest) (*gitalypb.FindRemoteRepositoryResponse, error) {
	if req.GetRemote() == "" {
		return nil, invalid("empty remote can't be checked.")
	}
	if req.GetStorageName() != "" {
		if _, err := s.Locator.Storage(req.GetStorageName()); err != nil {
			return nil, err
		}
	}
	to, err := s.Outbound.Check(ctx, remote.Target{URL: req.GetRemote()})
	exists := false
	if err == nil {
		err = s.Remotes.List(ctx, to, []string{"HEAD"}, func(remote.Advertised) error {
			exists = true
			return gitcmd.ErrStop
		})
	}
	if err != nil && errs.KindOf(err) != errs.FailedPrecondition { // that is an answer
		return nil, err
	}
	return &gitalypb.FindRemoteRepositoryResponse{Exists: exists}, nil
}

// FindRemoteRootRef says what the HEAD of a remote repository means.
func (s Remote) FindRemoteRootRef(ctx context.Context, req *gitalypb.FindRemoteRootRefRequest) (*gitalypb.FindRemoteRootRefResponse, error) {
	if _, err := s.repository(ctx, req.GetRepository()); err != nil {
		return nil, err
	}
	if req.GetRemoteUrl() == "" {
		return nil, invalid("missing remote URL")
	}
	to, err := s.Outbound.Check(ctx, remote.Target{
		URL: req.GetRemoteUrl(), Authorization: req.GetHttpAuthorizationHeader(), Resolved: req.GetResolvedAddress(),
	})
	if err != nil {
		return nil, err
	}
	head, err := s.Remotes.Head(ctx, to)
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindRemoteRootRefResponse{Ref: strings.TrimPrefix(head, ref.Branches)}, nil
}

// UpdateRemoteMirror pushes branches and tags to a mirror.
func (s Remote) UpdateRemoteMirror(stream gitalypb.RemoteService_UpdateRemoteMirrorServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	repo, err := s.repository(ctx, first.GetRepository())
	switch {
	case err != nil:
		return err
	case first.GetRemote() == nil:
		return invalid("missing Remote")
	case first.GetRemote().GetUrl() == "":
		return invalid("remote is missing URL")
	}
	branches, err := receivePatterns(stream, first)
	if err != nil {
		return err
	}
	to, err := s.Outbound.CheckAny(ctx, remote.Target{
		URL: first.GetRemote().GetUrl(), Authorization: first.GetRemote().GetHttpAuthorizationHeader(), Resolved: first.GetRemote().GetResolvedAddress(),
		Key: first.GetSshKey(), KnownHosts: first.GetKnownHosts(),
	})
	if err != nil {
		return err
	}
	divergent, err := s.Mirrors.Update(ctx, &repo.Repo, to, mirror.Options{Branches: branches, KeepDivergent: first.GetKeepDivergentRefs()})
	if err != nil {
		return err
	}
	answer := &gitalypb.UpdateRemoteMirrorResponse{}
	for _, name := range divergent {
		answer.DivergentRefs = append(answer.DivergentRefs, []byte(name))
	}
	return stream.SendAndClose(answer)
}

// maxPatternBytes bounds what the messages of a stream may hold together.
const maxPatternBytes = 1 << 20

// receivePatterns reads the rest of the stream, which holds patterns alone.
func receivePatterns(stream gitalypb.RemoteService_UpdateRemoteMirrorServer, m *gitalypb.UpdateRemoteMirrorRequest) (mirror.Patterns, error) {
	var patterns [][]byte
	for size := 0; ; {
		for _, p := range m.GetOnlyBranchesMatching() {
			size += len(p) + 1
		}
		if size > maxPatternBytes {
			return mirror.Patterns{}, invalid("too many branch patterns")
		}
		patterns = append(patterns, m.GetOnlyBranchesMatching()...)
		var err error
		if m, err = stream.Recv(); errors.Is(err, io.EOF) {
			return mirror.NewPatterns(patterns)
		} else if err != nil {
			return mirror.Patterns{}, err
		}
	}
}
