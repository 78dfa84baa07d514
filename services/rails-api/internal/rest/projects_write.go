package rest

import (
	"net/http"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/project"
)

func (a *api) updateProject(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	c := project.Changes{
		Path:              given(p, "path"),
		Name:              given(p, "name"),
		Description:       p.Text("description"),
		MergeRequestLinks: p.Bool("printing_merge_request_link_enabled"),
		LFSEnabled:        p.Bool("lfs_enabled"),
	}
	level, branch := readVisibility(p), given(p, "default_branch")
	if err := p.Err(); err != nil {
		return err
	}
	act := access.AdminProject
	if c.Path != nil {
		act = access.RenameProject
	}
	proj, err := a.project(r, act)
	if err != nil {
		return err
	}
	if level != "" && level != proj.Visibility {
		if err := fits(level, proj.Namespace); err != nil {
			return err
		}
		if err := a.fitsSource(r, level, proj); err != nil {
			return err
		}
		c.Visibility = &level
	}
	if branch != nil && *branch != proj.DefaultBranch {
		// The repository is changed first: if the row does not follow, the same request can be made again.
		if err := a.setHead(r.Context(), proj, *branch); err != nil {
			return err
		}
		if _, err := a.projects.Update(r.Context(), proj.ID, project.Changes{DefaultBranch: branch}); err != nil {
			return err
		}
	}
	return a.change(w, r, http.StatusOK, proj, c)
}

func (a *api) archiveProject(w http.ResponseWriter, r *http.Request) error {
	return a.setArchived(w, r, true)
}

func (a *api) unarchiveProject(w http.ResponseWriter, r *http.Request) error {
	return a.setArchived(w, r, false)
}

func (a *api) setArchived(w http.ResponseWriter, r *http.Request, archived bool) error {
	p, err := a.project(r, access.ArchiveProject)
	if err != nil {
		return err
	}
	return a.change(w, r, http.StatusCreated, p, project.Changes{Archived: &archived})
}

func (a *api) change(w http.ResponseWriter, r *http.Request, status int, p project.Project, c project.Changes) error {
	p, err := a.projects.Update(r.Context(), p.ID, c)
	if err != nil {
		return projectConflict(err)
	}
	full, err := a.projectFull(r, p)
	if err != nil {
		return err
	}
	return writeJSON(w, status, full)
}

func (a *api) deleteProject(w http.ResponseWriter, r *http.Request) error {
	p, err := a.project(r, access.DeleteProject)
	if err != nil {
		return err
	}
	if err := a.Repositories.Delete(r.Context(), p); err != nil {
		return err
	}
	return accepted(w)
}
