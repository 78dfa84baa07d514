package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/storage"
)

// RepositoryInfo counts what is on disk. Commit-graph and index details are left
// out until housekeeping makes them.
func (s Repository) RepositoryInfo(ctx context.Context, req *gitalypb.RepositoryInfoRequest) (*gitalypb.RepositoryInfoResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	i, err := repo.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	return &gitalypb.RepositoryInfoResponse{
		Size: i.Size,
		References: &gitalypb.RepositoryInfoResponse_ReferencesInfo{
			LooseCount: i.LooseRefs, PackedSize: i.PackedRefsSize,
			ReferenceBackend: gitalypb.RepositoryInfoResponse_ReferencesInfo_REFERENCE_BACKEND_FILES,
		},
		Objects:    objectsInfo(i),
		Alternates: alternatesInfo(i),
	}, nil
}

func objectsInfo(i storage.Info) *gitalypb.RepositoryInfoResponse_ObjectsInfo {
	return &gitalypb.RepositoryInfoResponse_ObjectsInfo{
		Size: i.ObjectsSize, RecentSize: i.ObjectsSize - i.CruftSize - i.KeepSize, StaleSize: i.CruftSize, KeepSize: i.KeepSize,
		PackfileCount: i.Packs, ReverseIndexCount: i.ReverseIndexes, CruftCount: i.Crufts, KeepCount: i.Keeps,
		LooseObjectsCount: i.LooseObjects, LooseObjectsGarbageCount: i.Garbage,
	}
}

func alternatesInfo(i storage.Info) *gitalypb.RepositoryInfoResponse_AlternatesInfo {
	if len(i.Alternates) == 0 {
		return nil
	}
	return &gitalypb.RepositoryInfoResponse_AlternatesInfo{
		ObjectDirectories: i.Alternates, LastModified: timestamppb.New(i.AlternatesTime),
	}
}
