package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/sshca"
)

func (a *api) sshCertificateRoutes() []route {
	const list = "/groups/{id}/ssh_certificates"
	return []route{
		{"GET", list, signedIn, a.listSSHCertificates},
		{"POST", list, signedIn, a.addSSHCertificate},
		{"DELETE", list + "/{certificate_id}", signedIn, a.deleteSSHCertificate},
	}
}

// topGroup returns the group in the path if the caller owns it; certificates are for whole trees of groups.
func (a *api) topGroup(r *http.Request) (namespace.Namespace, error) {
	g, err := a.group(r, access.AdminNamespace)
	if err == nil && g.ParentID != nil {
		return g, forbidden("only top-level groups have SSH certificates")
	}
	return g, err
}

func (a *api) listSSHCertificates(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	if err := p.Err(); err != nil {
		return err
	}
	g, err := a.topGroup(r)
	if err != nil {
		return err
	}
	list, total, err := a.cas.List(r.Context(), g.ID, rows(pg))
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, sshCertificateEntity)
}

func (a *api) addSSHCertificate(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("title", "key")
	title, text := p.String("title"), p.String("key")
	if err := p.Err(); err != nil {
		return err
	}
	g, err := a.topGroup(r)
	if err != nil {
		return err
	}
	ca, err := a.cas.Create(r.Context(), g.ID, title, text)
	if is(err, errs.Exists) {
		return invalid("must be unique. This CA has already been configured for another namespace.", "fingerprint")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, sshCertificateEntity(ca))
}

func (a *api) deleteSSHCertificate(w http.ResponseWriter, r *http.Request) error {
	g, err := a.topGroup(r)
	if err != nil {
		return err
	}
	id, ok := number(segment(r, "certificate_id"))
	if !ok {
		return notFound("SSH Certificate")
	}
	switch err := a.cas.Delete(r.Context(), g.ID, id); {
	case is(err, errs.NotFound):
		return notFound("SSH Certificate")
	case err != nil:
		return err
	}
	return noContent(w)
}

func sshCertificateEntity(ca sshca.Authority) entity.SSHCertificate {
	return entity.SSHCertificate{ID: ca.ID, Title: ca.Title, Key: ca.Text, CreatedAt: entity.Time(ca.CreatedAt)}
}
