package rest

import (
	"net/http"
	"strconv"

	"gitsplit/services/rails-api/internal/auth"
)

// throttle counts a request: of the user whose token the headers carry, else of the address it came from (security-baseline.md H7).
func (a *api) throttle(r *http.Request, s *session) error {
	const text = "Retry later"
	if s.user != nil {
		return a.limited(r, "api_user", a.Limits.Users, text, strconv.FormatInt(s.user.ID, 10))
	}
	if address := auth.Address(r); address != "" {
		return a.limited(r, "api_address", a.Limits.Addresses, text, address)
	}
	return nil
}
