package rest

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/visibility"
)

// readVisibility returns the level of visibility that a request gives, "" when it gives none.
func readVisibility(p *param.Set) visibility.Level {
	return visibility.Level(p.Enum("visibility", "", string(visibility.Private), string(visibility.Internal), string(visibility.Public)))
}

// createGroup makes a group, or a subgroup with parent_id, owned by the caller.
func (a *api) createGroup(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("name", "path")
	in := namespace.NewNamespace{
		Kind:        namespace.Group,
		ParentID:    p.OptionalInt("parent_id"),
		Path:        p.String("path"),
		Name:        p.String("name"),
		Description: p.String("description"),
		Visibility:  readVisibility(p),
	}
	if err := p.Err(); err != nil {
		return err
	}
	if in.ParentID == nil && actor(r).Bot {
		return forbidden("")
	}
	if in.ParentID != nil {
		parent, err := a.parentGroup(r, *in.ParentID)
		if err != nil {
			return err
		}
		if in.Visibility != "" && !in.Visibility.Within(parent.Visibility) {
			return invalid(string(in.Visibility)+" is not allowed since the parent group has a "+string(parent.Visibility)+" visibility.", "visibility_level")
		}
	}
	ns, err := a.ownedGroup(r.Context(), actorID(r), in)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, a.groupDetail(ns))
}

// ownedGroup makes a group together with its first owner.
func (a *api) ownedGroup(ctx context.Context, owner int64, in namespace.NewNamespace) (ns namespace.Namespace, err error) {
	err = pgx.BeginFunc(ctx, a.DB, func(tx pgx.Tx) error {
		if ns, err = namespace.New(tx).Create(ctx, in); err != nil {
			return err
		}
		_, err := member.New(tx).Add(ctx, member.NewMember{Source: member.OfNamespace(ns.ID), UserID: owner, Level: member.Owner, CreatedByID: &owner})
		return err
	})
	return ns, err
}

func (a *api) parentGroup(r *http.Request, id int64) (namespace.Namespace, error) {
	parent, err := a.namespaces.ByID(r.Context(), id)
	if is(err, errs.NotFound) || (err == nil && parent.Kind != namespace.Group) {
		return parent, notFound("Group")
	}
	if err != nil {
		return parent, err
	}
	err = a.Access.CanNamespace(r.Context(), actor(r), access.CreateSubgroup, parent)
	if is(err, errs.NotFound) {
		return parent, notFound("Group")
	}
	return parent, err
}

func (a *api) updateGroup(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	c := namespace.Changes{Path: given(p, "path"), Name: given(p, "name"), Description: p.Text("description")}
	if v := readVisibility(p); v != "" {
		c.Visibility = &v
	}
	if err := p.Err(); err != nil {
		return err
	}
	ns, err := a.group(r, access.AdminNamespace)
	if err != nil {
		return err
	}
	if ns, err = a.namespaces.Update(r.Context(), ns.ID, c); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.groupDetail(ns))
}

// deleteGroup removes an empty group; one that still holds something is a conflict.
func (a *api) deleteGroup(w http.ResponseWriter, r *http.Request) error {
	ns, err := a.group(r, access.AdminNamespace)
	if err != nil {
		return err
	}
	if err := a.namespaces.Delete(r.Context(), ns.ID); err != nil {
		return err
	}
	return accepted(w)
}
