package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/storage"
)

// RepositoryInfo counts what is on disk.
func (s Repository) RepositoryInfo(ctx context.Context, req *gitalypb.RepositoryInfoRequest) (*gitalypb.RepositoryInfoResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	i, err := repo.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	resp := &gitalypb.RepositoryInfoResponse{
		Size: i.Size, IsObjectPool: repo.IsPool(), References: referencesInfo(i), Objects: objectsInfo(i), Alternates: alternatesInfo(i),
		CommitGraph: &gitalypb.RepositoryInfoResponse_CommitGraphInfo{
			CommitGraphChainLength: i.CommitGraph.ChainLength, HasBloomFilters: i.CommitGraph.Bloom,
			HasGenerationData: i.CommitGraph.GenerationData, HasGenerationDataOverflow: i.CommitGraph.GenerationWide,
		},
		Bitmap: bitmapInfo(i.PackBitmap), MultiPackIndexBitmap: bitmapInfo(i.MultiPackBitmap),
		MultiPackIndex: &gitalypb.RepositoryInfoResponse_MultiPackIndexInfo{
			PackfileCount: uint64(len(i.MultiPackIndex.Packs)), Version: i.MultiPackIndex.Version, HasLargeOffsets: i.MultiPackIndex.LargeOffsets,
			HasBitmappedPacks: i.MultiPackIndex.BitmappedPacks, HasReverseIndex: i.MultiPackIndex.ReverseIndex,
		},
	}
	if !i.LastFullRepack.IsZero() {
		resp.LastFullRepack = timestamppb.New(i.LastFullRepack)
	}
	return resp, nil
}

func bitmapInfo(b storage.Bitmap) *gitalypb.RepositoryInfoResponse_BitmapInfo {
	return &gitalypb.RepositoryInfoResponse_BitmapInfo{HasHashCache: b.HashCache, HasLookupTable: b.LookupTable, Version: b.Version}
}

func referencesInfo(i storage.Info) *gitalypb.RepositoryInfoResponse_ReferencesInfo {
	backend := gitalypb.RepositoryInfoResponse_ReferencesInfo_REFERENCE_BACKEND_FILES
	if i.Reftables != nil {
		backend = gitalypb.RepositoryInfoResponse_ReferencesInfo_REFERENCE_BACKEND_REFTABLE
	}
	return &gitalypb.RepositoryInfoResponse_ReferencesInfo{LooseCount: i.LooseRefs, PackedSize: i.PackedRefsSize, ReferenceBackend: backend}
}

func objectsInfo(i storage.Info) *gitalypb.RepositoryInfoResponse_ObjectsInfo {
	return &gitalypb.RepositoryInfoResponse_ObjectsInfo{
		Size: i.ObjectsSize, RecentSize: i.ObjectsSize - i.CruftSize - i.KeepSize, StaleSize: i.CruftSize, KeepSize: i.KeepSize,
		PackfileCount: uint64(len(i.Packs)), ReverseIndexCount: i.ReverseIndexes, CruftCount: i.Crufts, KeepCount: i.Keeps,
		LooseObjectsCount: i.LooseObjects, StaleLooseObjectsCount: i.StaleLooseObjects, LooseObjectsGarbageCount: i.Garbage,
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
