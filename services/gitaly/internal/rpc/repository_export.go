package rpc

import (
	"io"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// FastExport streams all references with their history for git fast-import.
// Signatures of tags are kept as they are, though they no longer fit.
func (s Repository) FastExport(req *gitalypb.FastExportRequest, stream gitalypb.RepositoryService_FastExportServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	return s.Git.Run(stream.Context(), &repo.Repo, gitcmd.Spec{
		Name: "fast-export", Flags: []string{"--all", "--signed-tags=verbatim"},
		Stdout: streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.FastExportResponse{Data: b}) }),
	})
}

// GetConfig streams the repository's configuration file. It is written by us, who keep
// no credentials in it.
func (s Repository) GetConfig(req *gitalypb.GetConfigRequest, stream gitalypb.RepositoryService_GetConfigServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	f, err := repo.Config()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetConfigResponse{Data: b}) }), f)
	return err
}
