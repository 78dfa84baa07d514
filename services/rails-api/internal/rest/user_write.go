package rest

import (
	"crypto/rand"
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/user"
)

func (a *api) createUser(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("email", "name", "username")
	in := user.NewUser{Username: p.String("username"), Name: p.String("name"), Email: p.String("email"), Admin: p.Flag("admin")}
	password := p.String("password")
	if password == "" {
		if !p.Flag("reset_password") && !p.Flag("force_random_password") {
			p.Fault("password, reset_password, force_random_password", "are missing, at least one parameter must be provided")
		}
		password = rand.Text()
	}
	if err := p.Err(); err != nil {
		return err
	}
	var err error
	if in.PasswordDigest, err = a.Auth.Passwords.Hash(password); err != nil {
		return err
	}
	u, err := a.users.Create(r.Context(), in)
	if err != nil {
		return userConflict(err)
	}
	return writeJSON(w, http.StatusCreated, a.userFull(u, true))
}

func (a *api) updateUser(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	c := user.Changes{Username: given(p, "username"), Name: given(p, "name"), Email: given(p, "email"), Admin: p.Bool("admin")}
	password := p.String("password")
	if err := p.Err(); err != nil {
		return err
	}
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if password != "" {
		hash, err := a.Auth.Passwords.Hash(password)
		if err != nil {
			return err
		}
		c.PasswordDigest = &hash
	}
	if u, err = a.users.Update(r.Context(), u.ID, c); err != nil {
		return userConflict(err)
	}
	return writeJSON(w, http.StatusOK, a.userFull(u, true))
}

func (a *api) deleteUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if u.ID == actorID(r) {
		return forbidden("You cannot delete your own account")
	}
	if err := a.users.Delete(r.Context(), u.ID); err != nil {
		return err
	}
	return noContent(w)
}

func (a *api) blockUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if u.ID == actorID(r) {
		return forbidden("The API initiating user cannot be blocked by the API")
	}
	if err := a.users.SetState(r.Context(), u.ID, user.Blocked); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, true)
}

func (a *api) unblockUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if u.State == user.Deactivated {
		return forbidden("Deactivated users cannot be unblocked by the API")
	}
	if err := a.users.SetState(r.Context(), u.ID, user.Active); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, true)
}

// userConflict gives a taken name or address the form that GitLab has for users: a conflict with a sentence.
func userConflict(err error) error {
	if !is(err, errs.Exists) {
		return err
	}
	if field := fieldOf(err); field == "email" {
		return message(http.StatusConflict, "Email has already been taken")
	}
	return message(http.StatusConflict, "Username has already been taken")
}

// given returns the text of a parameter that cannot be cleared: nil when it is not given or empty.
func given(p *param.Set, name string) *string {
	if v := p.String(name); v != "" {
		return &v
	}
	return nil
}
