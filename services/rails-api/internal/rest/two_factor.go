package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/auth"
)

// twoFactorRoutes: only the last one is GitLab's, which leaves the others to its web pages.
func (a *api) twoFactorRoutes() []route {
	return []route{
		{"POST", "/user/two_factor", signedIn, a.beginTwoFactor},
		{"POST", "/user/two_factor/confirm", signedIn, a.confirmTwoFactor},
		{"POST", "/user/two_factor/recovery_codes", signedIn, a.renewRecoveryCodes},
		{"DELETE", "/user/two_factor", signedIn, a.disableOwnTwoFactor},
		{"PATCH", "/users/{id}/disable_two_factor", admin, a.disableTwoFactor},
	}
}

// beginTwoFactor needs the password: a token that was stolen must not lock its owner out.
func (a *api) beginTwoFactor(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	p.Require("current_password")
	password := p.String("current_password")
	if err := p.Err(); err != nil {
		return err
	}
	u := actor(r)
	switch known, err := a.Auth.Login(r.Context(), auth.Credentials{Username: u.Username, Password: password, Address: auth.Address(r)}); {
	case auth.Reason(err) != "", err == nil && known.ID != u.ID:
		return forbidden("the password is wrong")
	case err != nil:
		return err
	}
	e, err := a.TwoFactor.Begin(r.Context(), *u)
	if err != nil {
		return twoFactorFailure(err)
	}
	return writeJSON(w, http.StatusCreated, map[string]string{"otp_secret": e.Secret, "otp_uri": e.URI})
}

func (a *api) confirmTwoFactor(w http.ResponseWriter, r *http.Request) error {
	code, err := otpAttempt(r)
	if err != nil {
		return err
	}
	codes, err := a.TwoFactor.Confirm(r.Context(), actor(r).ID, code)
	if err != nil {
		return twoFactorFailure(err)
	}
	return writeJSON(w, http.StatusCreated, map[string][]string{"recovery_codes": codes})
}

func (a *api) renewRecoveryCodes(w http.ResponseWriter, r *http.Request) error {
	code, err := otpAttempt(r)
	if err != nil {
		return err
	}
	if err := a.TwoFactor.Check(r.Context(), actor(r).ID, code); err != nil {
		return twoFactorFailure(err)
	}
	codes, err := a.TwoFactor.Renew(r.Context(), actor(r).ID)
	if err != nil {
		return twoFactorFailure(err)
	}
	return writeJSON(w, http.StatusCreated, map[string][]string{"recovery_codes": codes})
}

func (a *api) disableOwnTwoFactor(w http.ResponseWriter, r *http.Request) error {
	code, err := otpAttempt(r)
	if err != nil {
		return err
	}
	if err := a.TwoFactor.Disable(r.Context(), actor(r).ID, code); err != nil {
		return twoFactorFailure(err)
	}
	return noContent(w)
}

// disableTwoFactor helps a user who lost device and codes. An administrator's own factor stays out of reach of a token.
func (a *api) disableTwoFactor(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userInPath(r, "id")
	if err != nil {
		return err
	}
	if u.Admin {
		return forbidden("Two-factor authentication for admins cannot be disabled via the API. Ask whoever runs this installation")
	}
	if err := a.TwoFactor.Reset(r.Context(), u.ID); err != nil {
		return twoFactorFailure(err)
	}
	return noContent(w)
}

func otpAttempt(r *http.Request) (string, error) {
	p := params(r)
	p.Require("otp_attempt")
	return p.String("otp_attempt"), p.Err()
}

// twoFactorFailure: what the domain refuses is the request's fault here, not a matter of rights.
func twoFactorFailure(err error) error {
	if is(err, errs.Denied) || is(err, errs.Exists) {
		return badRequest(errs.Message(err))
	}
	return err
}
