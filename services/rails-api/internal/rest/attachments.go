package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
)

// Attachments come through workhorse, which asks first and sends the stored file then (wire/workhorse.md §6.2).
func (a *api) attachmentRoutes() []route {
	const uploads = "/projects/{id}/uploads"
	return []route{
		{"POST", uploads + "/authorize", signedIn, a.authorizeAttachment},
		{"POST", uploads, signedIn | ownBody, a.createAttachment},
	}
}

// attachTo returns the project if the caller may attach files to it: whoever may see it, unless it is archived.
func (a *api) attachTo(r *http.Request) (project.Project, error) {
	if err := a.Uploads.Asked(r); err != nil {
		return project.Project{}, err
	}
	p, err := a.project(r, access.ReadProject)
	if err == nil && p.Archived {
		return p, forbidden("")
	}
	return p, err
}

func (a *api) authorizeAttachment(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.attachTo(r); err != nil {
		return err
	}
	d, err := a.Files.Destination(r.Context(), a.MaxAttachment, "sha256")
	if err != nil {
		return err
	}
	return a.Uploads.Permit(w, d)
}

func (a *api) createAttachment(w http.ResponseWriter, r *http.Request) error {
	p, err := a.attachTo(r)
	if err != nil {
		return err
	}
	form, err := a.Uploads.Form(r)
	if err != nil {
		return err
	}
	file, ok := form.Files["file"]
	switch {
	case !ok:
		return &failure{status: http.StatusBadRequest, body: map[string]string{"error": "file is missing"}}
	case a.MaxAttachment > 0 && file.Size > a.MaxAttachment:
		return errs.New(errs.Invalid, "the file is too large")
	}
	made, err := a.attachments.Create(r.Context(), p.ID, actorID(r), file)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, entity.Attachment{
		ID: made.ID, Alt: made.Alt(), URL: made.Path(), FullPath: made.FullPath(), Markdown: made.Markdown(),
	})
}

// getAttachment hands the file over to workhorse, to be kept and never to be shown: it is somebody else's content on our address.
func (a *api) getAttachment(w http.ResponseWriter, r *http.Request) error {
	p, err := a.project(r, access.ReadProject)
	if err != nil {
		return err
	}
	found, err := a.attachments.Find(r.Context(), p.ID, segment(r, "secret"), segment(r, "name"))
	if err != nil {
		return err
	}
	return a.Files.Send(r.Context(), w, found.Key(), "application/octet-stream", found.Name)
}
