package rest

import (
	"fmt"
	"net/http"
	"path"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/rest/repo"
)

func (a *api) treeRoutes() []route {
	return []route{{"GET", "/projects/{id}/repository/tree", anyone, a.listTree}}
}

// listTree lists a directory, by page or, with pagination=keyset, from a page_token on.
func (a *api) listTree(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	ref := p.String("ref")
	dir, ok := cleanPath(p.String("path"))
	if !ok {
		p.Fault("path", "should be a valid file path")
	}
	q := repo.TreeQuery{
		Path:      dir,
		Recursive: p.Flag("recursive"),
		Offset:    pg.Offset(),
		Limit:     pg.Size,
		Keyset:    p.Enum("pagination", "legacy", "legacy", "keyset", "none") == "keyset",
		Token:     p.String("page_token"),
	}
	if err := p.Err(); err != nil {
		return err
	}
	_, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	at, err := git.Resolve(r.Context(), ref)
	if err != nil {
		return missing(err, "Tree")
	}
	q.Commit = at.GetId()
	tree, err := git.Tree(r.Context(), q)
	if err != nil {
		return missing(err, "invalid revision or path")
	}
	if q.Keyset {
		page.Keyset(w.Header(), a.self(r), pg.Size, tree.Next != "", map[string]string{"page_token": tree.Next, "page": ""})
	} else {
		pg.Headers(w.Header(), a.self(r), tree.Total)
	}
	return writeJSON(w, http.StatusOK, shapes(tree.Entries, treeEntity))
}

func treeEntity(e *gitalypb.TreeEntry) entity.TreeEntry {
	kind := map[gitalypb.TreeEntry_EntryType]string{
		gitalypb.TreeEntry_BLOB: "blob", gitalypb.TreeEntry_TREE: "tree", gitalypb.TreeEntry_COMMIT: "commit",
	}[e.GetType()]
	name := string(e.GetPath())
	return entity.TreeEntry{ID: e.GetOid(), Name: path.Base(name), Type: kind, Path: name, Mode: fmt.Sprintf("%06o", e.GetMode())}
}
