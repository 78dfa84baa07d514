package rpc

import (
	"bytes"
	"context"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/ref"
)

// GetCommitMessages streams whole messages of commits.
func (s Commit) GetCommitMessages(req *gitalypb.GetCommitMessagesRequest, stream gitalypb.CommitService_GetCommitMessagesServer) error {
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetCommitMessagesResponse{Message: b}) })
	return s.messages(stream.Context(), req.GetRepository(), "commit", req.GetCommitIds(), w, func(id string) error {
		return stream.Send(&gitalypb.GetCommitMessagesResponse{CommitId: id})
	})
}

// GetTagMessages streams whole messages of tag objects.
func (s Ref) GetTagMessages(req *gitalypb.GetTagMessagesRequest, stream gitalypb.RefService_GetTagMessagesServer) error {
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetTagMessagesResponse{Message: b}) })
	return s.messages(stream.Context(), req.GetRepository(), "tag", req.GetTagIds(), w, func(id string) error {
		return stream.Send(&gitalypb.GetTagMessagesResponse{TagId: id})
	})
}

// messages writes the messages of the objects to w, each after a head.
func (d *Deps) messages(ctx context.Context, msg *gitalypb.Repository, typ string, ids []string, w io.Writer, head func(id string) error) error {
	_, objects, err := d.objects(ctx, msg)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	for _, id := range ids {
		if err := ref.CheckRevision(id); err != nil {
			return err
		}
		info, err := objects.Info(id + "^{" + typ + "}")
		if err != nil {
			return err
		}
		if err := head(id); err != nil {
			return err
		}
		if err := commit.CopyMessage(w, objects, info.OID, typ); err != nil {
			return err
		}
	}
	return nil
}

// GetTagSignatures streams tag objects, taken apart into what is signed and the
// signature.
func (s Ref) GetTagSignatures(req *gitalypb.GetTagSignaturesRequest, stream gitalypb.RefService_GetTagSignaturesServer) error {
	ctx := stream.Context()
	repo, objects, err := s.objects(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	out := chunks[*gitalypb.GetTagSignaturesResponse_TagSignature]{send: func(t []*gitalypb.GetTagSignaturesResponse_TagSignature) error {
		return stream.Send(&gitalypb.GetTagSignaturesResponse{Signatures: t})
	}}
	err = commit.TagIDs(ctx, s.Git, &repo.Repo, req.GetTagRevisions(), func(oid string) error {
		_, raw, err := objects.Contents(oid, "tag")
		if err != nil {
			return err
		}
		if len(raw) > maxAnswer {
			return errs.Newf(errs.FailedPrecondition, "tag %s is too large", oid)
		}
		signed, signature := commit.SplitTag(raw)
		return out.add(&gitalypb.GetTagSignaturesResponse_TagSignature{TagId: oid, Signature: bytes.TrimSuffix(signature, []byte("\n")), Content: signed})
	})
	return out.end(err)
}
