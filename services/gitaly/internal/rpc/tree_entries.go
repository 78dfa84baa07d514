package rpc

import (
	"cmp"
	"encoding/base64"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// maxTreeEntries bounds a listing without limit (security-baseline.md §12).
const maxTreeEntries = 20_000

// GetTreeEntries streams what is in a directory of a commit, or below it. The page
// token is opaque, and comes with the first message; the last page has none.
func (s Commit) GetTreeEntries(req *gitalypb.GetTreeEntriesRequest, stream gitalypb.CommitService_GetTreeEntriesServer) error {
	ctx := stream.Context()
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return err
	}
	if err := ref.CheckRevision(string(req.GetRevision())); err != nil {
		return err
	}
	objects, err := object.Open(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	dir, err := findTree(objects, req)
	if err != nil {
		return err
	}
	entries, err := readEntries(objects, dir, req)
	if err != nil {
		return err
	}
	entries, cursor, err := cutPage(entries, req.GetPaginationParams())
	if err != nil {
		return err
	}
	return sendEntries(objects, entries, cursor, req, stream)
}

// findTree resolves revision and path. Failures carry a GetTreeEntriesError.
func findTree(objects *object.Reader, req *gitalypb.GetTreeEntriesRequest) (object.Entry, error) {
	clean, err := object.CleanPath(string(req.GetPath()))
	if err != nil {
		return object.Entry{}, detailed(codes.InvalidArgument, errs.Message(err), &gitalypb.GetTreeEntriesError{
			Error: &gitalypb.GetTreeEntriesError_Path{Path: &gitalypb.PathError{
				Path: req.GetPath(), ErrorType: gitalypb.PathError_ERROR_TYPE_RELATIVE_PATH_ESCAPES_REPOSITORY,
			}},
		})
	}
	root, err := objects.RootTree(string(req.GetRevision()))
	if err == nil {
		var entry object.Entry
		if entry, err = objects.Find(root, clean); err == nil && entry.Type() == "tree" {
			return entry, nil
		}
	}
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return object.Entry{}, err
	}
	return object.Entry{}, detailed(codes.NotFound, "invalid revision or path", &gitalypb.GetTreeEntriesError{
		Error: &gitalypb.GetTreeEntriesError_ResolveTree{ResolveTree: &gitalypb.ResolveRevisionError{Revision: req.GetRevision()}},
	})
}

var errTooMany = errors.New("too many tree entries")

func readEntries(objects *object.Reader, dir object.Entry, req *gitalypb.GetTreeEntriesRequest) ([]object.Entry, error) {
	var entries []object.Entry
	var err error
	if req.GetRecursive() {
		err = objects.Walk(dir, func(e object.Entry) error {
			if len(entries) == 10*maxTreeEntries { // pages are cut out of it
				return errTooMany
			}
			entries = append(entries, e)
			return nil
		})
	} else {
		entries, err = objects.Tree(dir.OID, dir.Path)
	}
	if errors.Is(err, errTooMany) {
		return nil, errs.New(errs.Exhausted, "the tree has too many entries: list its directories one by one")
	}
	switch req.GetSort() {
	case gitalypb.GetTreeEntriesRequest_TREES_FIRST:
		slices.SortStableFunc(entries, func(a, b object.Entry) int { return cmp.Compare(rank(a), rank(b)) })
	case gitalypb.GetTreeEntriesRequest_FILESYSTEM:
		slices.SortStableFunc(entries, func(a, b object.Entry) int {
			return cmp.Or(cmp.Compare(min(rank(a), 1), min(rank(b), 1)), cmp.Compare(a.Path, b.Path))
		})
	}
	return entries, err
}

// rank puts trees before blobs before submodules.
func rank(e object.Entry) int {
	switch e.Type() {
	case "tree":
		return 0
	case "blob":
		return 1
	}
	return 2
}

// cutPage returns one page and the token of the next, "" if there is none.
func cutPage(entries []object.Entry, p *gitalypb.PaginationParameter) ([]object.Entry, string, error) {
	token, limit := page(p)
	if token != "" {
		path, err := base64.RawURLEncoding.DecodeString(token)
		i := slices.IndexFunc(entries, func(e object.Entry) bool { return e.Path == string(path) })
		if err != nil || i < 0 {
			return nil, "", invalid("could not find page token")
		}
		entries = entries[i+1:]
	}
	if limit == 0 || limit > maxTreeEntries {
		limit = maxTreeEntries
	}
	if len(entries) <= limit {
		return entries, "", nil
	}
	return entries[:limit], base64.RawURLEncoding.EncodeToString([]byte(entries[limit-1].Path)), nil
}

func sendEntries(objects *object.Reader, entries []object.Entry, cursor string, req *gitalypb.GetTreeEntriesRequest, stream gitalypb.CommitService_GetTreeEntriesServer) error {
	out := chunks[*gitalypb.TreeEntry]{send: func(e []*gitalypb.TreeEntry) error {
		msg := &gitalypb.GetTreeEntriesResponse{Entries: e}
		if cursor != "" {
			msg.PaginationCursor, cursor = &gitalypb.PaginationCursor{NextCursor: cursor}, ""
		}
		return stream.Send(msg)
	}}
	for _, e := range entries {
		item := &gitalypb.TreeEntry{
			Oid: e.OID, Path: []byte(e.Path), Mode: e.Mode, CommitOid: string(req.GetRevision()),
			Type: entryTypes[e.Type()], FlatPath: []byte(e.Path),
		}
		if e.Type() == "tree" && !req.GetRecursive() && !req.GetSkipFlatPaths() {
			flat, err := objects.Flat(e)
			if err != nil {
				return err
			}
			item.FlatPath = []byte(flat)
		}
		if err := out.add(item); err != nil {
			return err
		}
	}
	return out.flush()
}

var entryTypes = map[string]gitalypb.TreeEntry_EntryType{ //nolint:gochecknoglobals // a constant
	"blob": gitalypb.TreeEntry_BLOB, "tree": gitalypb.TreeEntry_TREE, "commit": gitalypb.TreeEntry_COMMIT,
}
