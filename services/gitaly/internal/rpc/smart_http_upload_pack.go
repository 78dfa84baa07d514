package rpc

import (
	"context"
	"errors"
	"fmt"

	"gitsplit/kit/errs"
	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/pack"
)

// PostUploadPackWithSidechannel serves a fetch or clone over HTTP (wire/gitaly.md
// §5.7).
func (s SmartHTTP) PostUploadPackWithSidechannel(ctx context.Context, req *gitalypb.PostUploadPackWithSidechannelRequest) (*gitalypb.PostUploadPackWithSidechannelResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	s.protocol(ctx, req.GetGitProtocol())
	conn, err := openForHTTP(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	var t transfer
	defer t.note(ctx)
	fetch := newFetch(ctx, req, "http")
	stats, err := s.Packs.UploadPack(ctx, repo, fetch, pack.Streams{Stdin: t.reader(conn), Stdout: t.writer(conn)})
	if _, gitFailed := exited(err); gitFailed && !gitcmd.Short(err) && stats.GetDeepen() != "" {
		err = nil // expected: a shallow client hangs up between its requests
	}
	if err != nil {
		return nil, httpFailed(err, "running upload-pack: waiting for upload-pack")
	}
	return &gitalypb.PostUploadPackWithSidechannelResponse{PackfileNegotiationStatistics: stats}, nil
}

// openForHTTP opens the sidechannel; a lost connection may be tried again.
func openForHTTP(ctx context.Context) (*sidechannel.Conn, error) {
	conn, err := sidechannel.Open(ctx)
	if err == nil {
		return conn, nil
	}
	err = fmt.Errorf("open sidechannel: %w", err)
	var lost *sidechannel.OpenError
	if errors.As(err, &lost) {
		return nil, errs.Wrap(errs.Unavailable, err.Error(), err)
	}
	return nil, err
}
