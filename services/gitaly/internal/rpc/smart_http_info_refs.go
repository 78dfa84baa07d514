package rpc

import (
	"errors"
	"fmt"
	"sync"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/pack"
)

// InfoRefsUploadPack answers GET info/refs of a fetch (wire/gitaly.md §5.6).
func (s SmartHTTP) InfoRefsUploadPack(req *gitalypb.InfoRefsRequest, stream gitalypb.SmartHTTPService_InfoRefsUploadPackServer) error {
	return s.infoRefs(req, stream, "upload-pack")
}

// InfoRefsReceivePack answers GET info/refs of a push. It runs without hooks: it
// changes nothing.
func (s SmartHTTP) InfoRefsReceivePack(req *gitalypb.InfoRefsRequest, stream gitalypb.SmartHTTPService_InfoRefsReceivePackServer) error {
	return s.infoRefs(req, stream, "receive-pack")
}

func (s SmartHTTP) infoRefs(req *gitalypb.InfoRefsRequest, stream gitalypb.SmartHTTPService_InfoRefsUploadPackServer, service string) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	s.protocol(ctx, req.GetGitProtocol())
	var t transfer
	defer t.note(ctx)
	var mu sync.Mutex
	out := t.send(&mu, func(b []byte) error { return stream.Send(&gitalypb.InfoRefsResponse{Data: b}) })
	err = s.Packs.Advertise(ctx, repo, service, pack.Fetch{
		GitProtocol: req.GetGitProtocol(), ConfigOptions: req.GetGitConfigOptions(),
	}, out)
	var failed *gitcmd.Error
	if errors.As(err, &failed) && !gitcmd.Short(err) {
		return fmt.Errorf("wait: %w", failed.Err)
	}
	return err
}
