package rpc

import (
	"bytes"
	"errors"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// FilterShasWithSignatures answers each message with those of its ids that are commits
// with a signature.
func (s Commit) FilterShasWithSignatures(stream gitalypb.CommitService_FilterShasWithSignaturesServer) error {
	req, err := stream.Recv()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return invalid("repository not set")
		}
		return err
	}
	ctx := stream.Context()
	_, objects, err := s.objects(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	for ; err == nil; req, err = stream.Recv() {
		answer := &gitalypb.FilterShasWithSignaturesResponse{}
		for _, sha := range req.GetShas() {
			if err := ref.CheckRevision(string(sha)); err != nil {
				return err
			}
			c, err := commit.Read(objects, string(sha))
			if err != nil && errs.KindOf(err) != errs.NotFound {
				return err
			}
			if c.GetSignatureType() != gitalypb.SignatureType_NONE {
				answer.Shas = append(answer.Shas, sha)
			}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// GetCommitSignatures streams the signatures of commits and what they sign. This server
// has no key of its own, so each is a user's.
func (s Commit) GetCommitSignatures(req *gitalypb.GetCommitSignaturesRequest, stream gitalypb.CommitService_GetCommitSignaturesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if len(req.GetCommitIds()) == 0 {
		return invalid("empty CommitIds")
	}
	for _, id := range req.GetCommitIds() {
		if !ref.ValidOID(id) {
			return errs.Newf(errs.Invalid, "invalid object ID: %q", id)
		}
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	for _, id := range req.GetCommitIds() {
		info, raw, err := objects.Contents(id+"^{commit}", "commit")
		if errs.KindOf(err) == errs.NotFound {
			continue
		}
		if err == nil {
			err = sendSignature(info.OID, raw, stream)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sendSignature(id string, raw []byte, stream gitalypb.CommitService_GetCommitSignaturesServer) error {
	signature, signed := commit.Signature(id, raw)
	if len(signature) == 0 {
		return nil
	}
	c, err := commit.Parse(id, raw)
	if err != nil {
		return err
	}
	err = stream.Send(&gitalypb.GetCommitSignaturesResponse{
		CommitId: c.GetId(), Signature: signature, Signer: gitalypb.GetCommitSignaturesResponse_SIGNER_USER,
		Author: c.GetAuthor(), Committer: c.GetCommitter(),
	})
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.GetCommitSignaturesResponse{SignedText: b}) })
	_, err = io.Copy(w, bytes.NewReader(signed))
	return err
}
