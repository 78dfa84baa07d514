package rpc

import (
	"context"
	"errors"
	"fmt"

	"gitsplit/kit/errs"
	"gitsplit/kit/pktline"
	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/pack"
)

// SSHUploadPackWithSidechannel serves a fetch or clone over SSH (wire/gitaly.md
// §5.2). The sidechannel is opened first: an error must find the client waiting.
func (s SSH) SSHUploadPackWithSidechannel(ctx context.Context, req *gitalypb.SSHUploadPackWithSidechannelRequest) (*gitalypb.SSHUploadPackWithSidechannelResponse, error) {
	conn, err := sidechannel.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("opennig sidechannel: %w", err) // spelled so in the protocol
	}
	defer func() { _ = conn.Close() }()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	s.protocol(ctx, req.GetGitProtocol())
	var t transfer
	defer t.note(ctx)
	fetch := newFetch(ctx, req, "ssh")
	stats, err := s.Packs.UploadPack(ctx, repo, fetch, pack.Streams{
		Stdin:  t.reader(conn),
		Stdout: t.writer(pktline.NewBandWriter(conn, pktline.BandData)),
		Stderr: t.writer(pktline.NewBandWriter(conn, pktline.BandProgress)),
	})
	var failed *gitcmd.Error
	switch {
	case pack.ClientLeft(err):
		return nil, errs.Wrap(errs.Canceled, "user canceled the request", err)
	case errors.As(err, &failed) && !gitcmd.Short(err):
		return nil, fmt.Errorf("running upload-pack: cmd wait: %w, stderr: %q", failed.Err, failed.Stderr)
	case err != nil:
		return nil, err
	}
	return &gitalypb.SSHUploadPackWithSidechannelResponse{PackfileNegotiationStatistics: stats}, nil
}
