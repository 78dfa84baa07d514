package repo

import (
	"context"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// TreeQuery selects entries of a directory at a commit.
type TreeQuery struct {
	Commit    string
	Path      string // "" is the root
	Recursive bool
	// Offset and Limit select the page; with Keyset the page begins after Token instead.
	Offset, Limit int
	Keyset        bool
	Token         string
}

// TreePage is a page of entries. Total is known for pages by offset, Next for pages by key; Next is "" on the last page.
type TreePage struct {
	Entries []*gitalypb.TreeEntry
	Total   int
	Next    string
}

// Tree returns a page of a directory. A path that is no directory is errs.NotFound.
func (r *Repo) Tree(ctx context.Context, q TreeQuery) (TreePage, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	req := &gitalypb.GetTreeEntriesRequest{
		Repository:    r.repository,
		Revision:      []byte(q.Commit),
		Path:          []byte(orRoot(q.Path)),
		Recursive:     q.Recursive,
		Sort:          gitalypb.GetTreeEntriesRequest_TREES_FIRST,
		SkipFlatPaths: true,
	}
	page := window[*gitalypb.TreeEntry]{offset: q.Offset, limit: q.Limit}
	if q.Keyset {
		page.offset = 0
		req.PaginationParams = &gitalypb.PaginationParameter{PageToken: q.Token, Limit: int32(q.Limit)} //nolint:gosec // a page has at most 100 rows
	}
	stream, err := r.commits.GetTreeEntries(ctx, req)
	if err != nil {
		return TreePage{}, remote(err)
	}
	next := ""
	err = receive(stream, func(msg *gitalypb.GetTreeEntriesResponse) {
		if cursor := msg.GetPaginationCursor().GetNextCursor(); cursor != "" {
			next = cursor
		}
		for _, e := range msg.GetEntries() {
			page.add(e)
		}
	})
	if err != nil {
		return TreePage{}, err
	}
	if page.seen == 0 && q.Path != "" { // git has no empty directories
		return TreePage{}, errs.New(errs.NotFound, "no such directory")
	}
	return TreePage{Entries: page.items, Total: page.seen, Next: next}, nil
}

func orRoot(path string) string {
	if path == "" {
		return "."
	}
	return path
}
