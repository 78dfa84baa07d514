package rpc

import (
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Ref is RefService.
type Ref struct {
	gitalypb.UnimplementedRefServiceServer
	*Deps
}

// fullName adds the namespace to a short name; a full one stays as it is.
func fullName(namespace, name string) string {
	if strings.HasPrefix(name, namespace) {
		return name
	}
	return namespace + name
}

// branch reads the commit of a branch.
func branch(objects *object.Reader, name, oid string) (*gitalypb.Branch, error) {
	c, err := commit.Read(objects, oid)
	if err != nil {
		return nil, err
	}
	return &gitalypb.Branch{Name: []byte(name), TargetCommit: c}, nil
}

// tag reads a tag, annotated or not, and the commit below it if there is one.
func tag(objects *object.Reader, r ref.Ref) (*gitalypb.Tag, error) {
	t := &gitalypb.Tag{Id: r.OID}
	if r.Type == "tag" {
		info, raw, err := objects.Contents(r.OID, "tag")
		if err != nil {
			return nil, err
		}
		if t, _, err = commit.ParseTag(info.OID, raw); err != nil {
			return nil, err
		}
	}
	t.Name = []byte(strings.TrimPrefix(r.Name, ref.Tags))
	c, err := commit.Read(objects, r.OID)
	if err != nil && errs.KindOf(err) != errs.NotFound { // a tag of a tree or blob has no commit
		return nil, err
	}
	t.TargetCommit = c
	return t, nil
}
