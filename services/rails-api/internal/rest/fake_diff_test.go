package rest_test

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"gitsplit/proto/go/gitalypb"
)

// GetBlob knows one blob, the content of README.md.
func (f *fakeGitaly) GetBlob(in *gitalypb.GetBlobRequest, out grpc.ServerStreamingServer[gitalypb.GetBlobResponse]) error {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return err
	}
	if in.GetOid() != commitID(7) {
		return out.Send(&gitalypb.GetBlobResponse{})
	}
	content := repo.files["README.md"].content
	return out.Send(&gitalypb.GetBlobResponse{Oid: in.GetOid(), Size: int64(len(content)), Data: []byte(content)[:min(in.GetLimit(), int64(len(content)))]})
}

// FindMergeBase is the older one, as history is straight.
func (f *fakeGitaly) FindMergeBase(_ context.Context, in *gitalypb.FindMergeBaseRequest) (*gitalypb.FindMergeBaseResponse, error) {
	repo, err := f.repo(in.GetRepository())
	if err != nil {
		return nil, err
	}
	a, b := slices.Index(repo.log, string(in.GetRevisions()[0])), slices.Index(repo.log, string(in.GetRevisions()[1]))
	return &gitalypb.FindMergeBaseResponse{Base: repo.log[max(a, b)]}, nil
}

// CommitDiff tells of four changed files, one of them in two messages.
func (f *fakeGitaly) CommitDiff(in *gitalypb.CommitDiffRequest, out grpc.ServerStreamingServer[gitalypb.CommitDiffResponse]) error {
	if in.GetLeftCommitId() == in.GetRightCommitId() {
		return nil
	}
	for _, m := range []*gitalypb.CommitDiffResponse{
		{FromPath: []byte("a"), ToPath: []byte("a"), OldMode: 0o100644, NewMode: 0o100755, RawPatchData: []byte("@@ -1 +1 @@\n-x\n")},
		{RawPatchData: []byte("+\xff\n"), EndOfPatch: true},
		{FromPath: []byte("new"), ToPath: []byte("new"), NewMode: 0o100644, RawPatchData: []byte("@@ -0,0 +1 @@\n+n\n"), EndOfPatch: true},
		{FromPath: []byte("gone"), ToPath: []byte("gone"), OldMode: 0o120000, TooLarge: true, EndOfPatch: true},
		{FromPath: []byte("b"), ToPath: []byte("c"), OldMode: 0o100644, NewMode: 0o100644, EndOfPatch: true},
		{OverflowMarker: true, EndOfPatch: true},
	} {
		if err := out.Send(m); err != nil {
			return err
		}
	}
	return nil
}
