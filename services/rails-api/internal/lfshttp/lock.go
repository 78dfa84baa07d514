package lfshttp

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/member"
)

// lock is a lock as git-lfs reads it.
type lock struct {
	ID       string `json:"id"`
	Path     string `json:"path"`
	LockedAt string `json:"locked_at"` // RFC 3339
	Owner    owner  `json:"owner"`
}

type owner struct {
	Name string `json:"name"`
}

type lockAnswer struct {
	Lock lock `json:"lock"`
}

func shape(l lfs.Lock) lock {
	return lock{ID: strconv.FormatInt(l.ID, 10), Path: l.Path, LockedAt: l.CreatedAt.UTC().Format(time.RFC3339), Owner: owner{l.UserName}}
}

// noPermissions is what somebody reads who may push and is no user: a deploy key.
var noPermissions = answered{status: http.StatusForbidden, text: "You have no permissions"}

// createLock locks a path for a user.
func (a *api) createLock(w http.ResponseWriter, r *http.Request, path, _ string) error {
	c, err := a.admit(r, path, access.ReceivePack, a.Now())
	if err != nil {
		return err
	}
	if c.User == nil {
		return noPermissions
	}
	in, err := decode[struct{ Path string }](r)
	if err != nil {
		return err
	}
	made, err := a.files.LockFile(r.Context(), c.Project.ID, c.User.ID, in.Path)
	switch {
	case errs.KindOf(err) == errs.Exists:
		return a.alreadyLocked(r, c.Project.ID, in.Path)
	case err != nil:
		return err
	}
	a.write(w, r, http.StatusCreated, lockAnswer{shape(made)})
	return nil
}

func (a *api) alreadyLocked(r *http.Request, projectID int64, path string) error {
	refusal := answered{status: http.StatusConflict, text: "already locked"}
	held, err := a.files.Locks(r.Context(), projectID, lfs.LockFilter{Path: path})
	if err != nil {
		return err
	}
	if len(held) > 0 { // else it was unlocked at this moment
		l := shape(held[0])
		refusal.lock = &l
	}
	return refusal
}

// listLocks answers with the locks that the query selects.
func (a *api) listLocks(w http.ResponseWriter, r *http.Request, path, _ string) error {
	c, err := a.admit(r, path, access.UploadPack, a.Now())
	if err != nil {
		return err
	}
	f := lfs.LockFilter{Path: r.URL.Query().Get("path")}
	if id := r.URL.Query().Get("id"); id != "" {
		if f.ID, err = strconv.ParseInt(id, 10, 64); err != nil || f.ID <= 0 {
			f.ID = -1 // no lock has it
		}
	}
	held, err := a.files.Locks(r.Context(), c.Project.ID, f)
	if err != nil {
		return err
	}
	out := struct {
		Locks []lock `json:"locks"`
	}{Locks: make([]lock, len(held))}
	for i, l := range held {
		out.Locks[i] = shape(l)
	}
	a.write(w, r, http.StatusOK, out)
	return nil
}

// verifyLocks tells somebody about to push which locks are in their way.
func (a *api) verifyLocks(w http.ResponseWriter, r *http.Request, path, _ string) error {
	c, err := a.admit(r, path, access.ReceivePack, a.Now())
	if err != nil {
		return err
	}
	held, err := a.files.Locks(r.Context(), c.Project.ID, lfs.LockFilter{})
	if err != nil {
		return err
	}
	out := struct {
		Ours   []lock `json:"ours"`
		Theirs []lock `json:"theirs"`
	}{[]lock{}, []lock{}}
	for _, l := range held {
		if c.User != nil && l.UserID == c.User.ID {
			out.Ours = append(out.Ours, shape(l))
		} else {
			out.Theirs = append(out.Theirs, shape(l))
		}
	}
	a.write(w, r, http.StatusOK, out)
	return nil
}

// unlock removes a lock of the caller's, or with force and a maintainer's right anybody's.
func (a *api) unlock(w http.ResponseWriter, r *http.Request, path, id string) error {
	c, err := a.admit(r, path, access.ReceivePack, a.Now())
	if err != nil {
		return err
	}
	if c.User == nil {
		return noPermissions
	}
	in, err := decode[struct{ Force bool }](r)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return err
	}
	held, err := a.files.LockOf(r.Context(), c.Project.ID, n)
	if err == nil {
		err = a.mayUnlock(r, c, held, in.Force)
	}
	if err == nil {
		err = a.files.Unlock(r.Context(), c.Project.ID, n)
	}
	if errs.KindOf(err) == errs.NotFound {
		return answered{status: http.StatusNotFound, text: "Lock not found"}
	}
	if err != nil {
		return err
	}
	a.write(w, r, http.StatusOK, lockAnswer{shape(held)})
	return nil
}

func (a *api) mayUnlock(r *http.Request, c caller, l lfs.Lock, force bool) error {
	if l.UserID == c.User.ID {
		return nil
	}
	if !force {
		return answered{status: http.StatusForbidden, text: fmt.Sprintf("%s is locked by GitLab User %d", l.Path, l.UserID)}
	}
	level, err := a.Access.ProjectLevel(r.Context(), c.User.ID, c.Project)
	if err == nil && level < member.Maintainer && !c.User.Admin {
		err = answered{status: http.StatusForbidden, text: "You must have maintainer access to force delete a lock"}
	}
	return err
}
