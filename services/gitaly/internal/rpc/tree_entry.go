package rpc

import (
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// TreeEntry describes one path of a commit and streams its content if it is a blob.
func (s Commit) TreeEntry(req *gitalypb.TreeEntryRequest, stream gitalypb.CommitService_TreeEntryServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if err := checkTreeEntry(req); err != nil {
		return err
	}
	clean, err := object.CleanPath(string(req.GetPath()))
	if err != nil {
		return err
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	entry, err := findEntry(objects, string(req.GetRevision()), clean)
	if errs.KindOf(err) == errs.NotFound {
		return errs.Newf(errs.NotFound, "not found: %s", req.GetPath())
	}
	if err != nil {
		return err
	}
	return sendEntry(objects, entry, req, stream)
}

func checkTreeEntry(req *gitalypb.TreeEntryRequest) error {
	switch {
	case len(req.GetPath()) == 0:
		return invalid("empty Path")
	case req.GetLimit() < 0:
		return invalid("negative Limit")
	case req.GetMaxSize() < 0:
		return invalid("negative MaxSize")
	}
	return ref.CheckRevision(string(req.GetRevision()))
}

func findEntry(objects *object.Reader, revision, clean string) (object.Entry, error) {
	root, err := objects.RootTree(revision)
	if err != nil {
		return object.Entry{}, err
	}
	return objects.Find(root, clean)
}

var treeEntryTypes = map[string]gitalypb.TreeEntryResponse_ObjectType{ //nolint:gochecknoglobals // a constant
	"blob": gitalypb.TreeEntryResponse_BLOB, "tree": gitalypb.TreeEntryResponse_TREE, "commit": gitalypb.TreeEntryResponse_COMMIT,
}

func sendEntry(objects *object.Reader, entry object.Entry, req *gitalypb.TreeEntryRequest, stream gitalypb.CommitService_TreeEntryServer) error {
	head := &gitalypb.TreeEntryResponse{Type: treeEntryTypes[entry.Type()], Oid: entry.OID, Mode: entry.Mode}
	if entry.Type() == "commit" { // a submodule's commit is not here
		return stream.Send(head)
	}
	info, err := objects.Info(entry.OID)
	if err != nil {
		return err
	}
	head.Size = info.Size
	if entry.Type() != "blob" {
		return stream.Send(head)
	}
	if m := req.GetMaxSize(); m > 0 && info.Size > m {
		return errs.Newf(errs.FailedPrecondition, "object size (%d) is bigger than the maximum allowed size (%d)", info.Size, m)
	}
	if err := stream.Send(head); err != nil {
		return err
	}
	length := info.Size
	if l := req.GetLimit(); l > 0 {
		length = min(length, l)
	}
	_, rd, err := objects.Stream(entry.OID)
	if err != nil {
		return err
	}
	w := streamio.NewWriter(func(b []byte) error { return stream.Send(&gitalypb.TreeEntryResponse{Data: b}) })
	_, err = io.Copy(w, io.LimitReader(rd, length)) // closing ends git if it has more to say
	return err
}
