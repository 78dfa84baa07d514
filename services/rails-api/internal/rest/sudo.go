package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// sudo lets an administrator whose token has the scope sudo act as somebody else, named by number or user name in the header Sudo or the
// parameter sudo. To ignore it would be worse than to lack it: the change would be made as the administrator.
func (a *api) sudo(r *http.Request, s *session) error {
	name := r.Header.Get("Sudo")
	if name == "" {
		name = s.params.String("sudo")
	}
	if name == "" {
		return s.params.Err()
	}
	switch {
	case s.user == nil:
		return unauthorized()
	case !s.user.Admin:
		return forbidden("Must be admin to use sudo")
	case !slices.Contains(s.token.Scopes, token.ScopeSudo):
		return insufficientScope([]string{token.ScopeSudo})
	}
	var u user.User
	var err error
	if id, ok := number(name); ok {
		u, err = a.users.ByID(r.Context(), id)
	} else {
		u, err = a.users.ByUsername(r.Context(), name)
	}
	if is(err, errs.NotFound) || is(err, errs.Invalid) {
		return message(http.StatusNotFound, fmt.Sprintf("404 User with ID or username '%s' Not Found", name))
	}
	if err != nil {
		return err
	}
	logging.AddAttrs(r.Context(), slog.String("sudo_user", u.Username))
	s.sudoer, s.user = s.user, &u
	return nil
}
