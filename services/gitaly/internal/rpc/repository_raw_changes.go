package rpc

import (
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/diff"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

type rawChange = gitalypb.GetRawChangesResponse_RawChange

var rawOperations = map[byte]gitalypb.GetRawChangesResponse_RawChange_Operation{ //nolint:gochecknoglobals // a constant
	'A': gitalypb.GetRawChangesResponse_RawChange_ADDED, 'C': gitalypb.GetRawChangesResponse_RawChange_COPIED,
	'D': gitalypb.GetRawChangesResponse_RawChange_DELETED, 'M': gitalypb.GetRawChangesResponse_RawChange_MODIFIED,
	'R': gitalypb.GetRawChangesResponse_RawChange_RENAMED, 'T': gitalypb.GetRawChangesResponse_RawChange_TYPE_CHANGED,
}

// GetRawChanges streams the files that differ between two revisions, with what is to be
// known of the new content. From zeros everything is new; to zeros there is nothing to
// say.
func (s Repository) GetRawChanges(req *gitalypb.GetRawChangesRequest, stream gitalypb.RepositoryService_GetRawChangesServer) error {
	ctx := stream.Context()
	repo, objects, err := s.objects(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	from, err := rawRevision(objects, "from", req.GetFromRevision())
	if err != nil {
		return err
	}
	to, err := rawRevision(objects, "to", req.GetToRevision())
	if err != nil || to == "" {
		return err
	}
	if from == "" {
		from = object.EmptyTree(to)
	}
	out := chunks[*rawChange]{send: func(items []*rawChange) error {
		return stream.Send(&gitalypb.GetRawChangesResponse{RawChanges: items})
	}}
	err = diff.Entries(ctx, s.Git, &repo.Repo, diff.Range{Left: from, Right: to}, func(c diff.Change) error {
		item, err := newRawChange(objects, c)
		if err != nil {
			return err
		}
		return out.add(item)
	})
	return out.end(err)
}

// rawRevision returns the id that a revision stands for, "" for zeros.
func rawRevision(objects *object.Reader, which, revision string) (string, error) {
	if ref.ValidOID(revision) && strings.Trim(revision, "0") == "" {
		return "", nil
	}
	if ref.CheckRevision(revision) != nil {
		return "", errs.Newf(errs.Invalid, "invalid '%s' revision: %q", which, revision)
	}
	info, err := objects.Info(revision)
	if errs.KindOf(err) == errs.NotFound {
		return "", errs.Newf(errs.Invalid, "invalid '%s' revision: %q", which, revision)
	}
	return info.OID, err
}

func newRawChange(objects *object.Reader, c diff.Change) (*rawChange, error) {
	item := &rawChange{
		Operation: rawOperations[c.Status], OldMode: c.OldMode, NewMode: c.NewMode, OldPathBytes: c.OldPath, NewPathBytes: c.NewPath,
	}
	id, mode := c.NewID, c.NewMode
	switch c.Status {
	case 'A':
		item.OldPathBytes = nil
	case 'D':
		item.NewPathBytes = nil
		id, mode = c.OldID, c.OldMode
	}
	if (object.Entry{Mode: mode}).Type() == "commit" { // a submodule's commit is not here
		return item, nil
	}
	info, err := objects.Info(id)
	if err != nil {
		return nil, err
	}
	item.BlobId, item.Size = info.OID, info.Size
	return item, nil
}
