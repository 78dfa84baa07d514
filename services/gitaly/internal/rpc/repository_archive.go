package rpc

import (
	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/archive"
)

var archiveFormats = map[gitalypb.GetArchiveRequest_Format]archive.Format{ //nolint:gochecknoglobals // a constant
	gitalypb.GetArchiveRequest_ZIP: archive.Zip, gitalypb.GetArchiveRequest_TAR: archive.Tar,
	gitalypb.GetArchiveRequest_TAR_GZ: archive.TarGzip, gitalypb.GetArchiveRequest_TAR_BZ2: archive.TarBzip2,
}

// GetArchive streams the files of a commit as an archive file. LFS pointers stay what
// they are.
func (s Repository) GetArchive(req *gitalypb.GetArchiveRequest, stream gitalypb.RepositoryService_GetArchiveServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	format, ok := archiveFormats[req.GetFormat()]
	if !ok {
		return invalid("invalid format")
	}
	if req.GetIncludeLfsBlobs() {
		return errs.New(errs.Unimplemented, "include_lfs_blobs is not supported")
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetArchiveResponse{Data: b}) })
	return archive.Write(ctx, s.Git, &repo.Repo, archive.Request{
		Revision: req.GetCommitId(), Prefix: req.GetPrefix(), Format: format,
		Path: string(req.GetPath()), Exclude: texts(req.GetExclude()), Elide: req.GetElidePath(),
	}, archive.DefaultLimits, w)
}
