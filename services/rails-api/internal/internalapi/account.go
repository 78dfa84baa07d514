package internalapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gitsplit/kit/errs"
	wire "gitsplit/kit/internalapi"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
)

// accountRequest names the account of the 2FA and token endpoints.
type accountRequest struct {
	KeyID  wire.ID `json:"key_id"`
	UserID wire.ID `json:"user_id"`
}

// The refusals of wire/internal-api.md §3.10 and §3.11.
const (
	noSuchUser = "Could not find the given user"
	noSuchKey  = "Could not find the given key"
	noKeyUser  = "Could not find a user for the given key"
)

// account finds the user whose key a request names. What is wrong with it comes
// back as a text; deployKeys is the one for keys that belong to nobody.
func (a *api) account(ctx context.Context, req accountRequest, deployKeys string) (u user.User, k key.Key, fault string, err error) {
	if req.UserID != 0 {
		switch _, err := a.users.ByID(ctx, int64(req.UserID)); {
		case errs.KindOf(err) == errs.NotFound:
			return u, k, noSuchUser, nil
		case err != nil:
			return u, k, "", err
		}
	}
	k, err = a.keys.ByID(ctx, int64(req.KeyID))
	switch {
	case errs.KindOf(err) == errs.NotFound, err == nil && k.UsageType == key.Signing:
		return u, k, noSuchKey, nil
	case err != nil:
		return u, k, "", err
	case k.Kind == key.Deploy:
		return u, k, deployKeys, nil
	case k.Expired(a.Now()):
		return u, k, "Your SSH key has expired.", nil
	}
	u, err = a.users.ByID(ctx, k.UserID)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return u, k, noKeyUser, nil
	case err == nil && !u.Active():
		return u, k, "Your account has been blocked.", nil
	}
	return u, k, "", err
}

type codesAnswer struct {
	Success bool     `json:"success"`
	Codes   []string `json:"recovery_codes"`
}

// twoFactorCodes gives a user new recovery codes; the key is proof enough.
func (a *api) twoFactorCodes(r *http.Request, body []byte) (any, error) {
	req, err := decode[accountRequest](body)
	if err != nil {
		return nil, err
	}
	u, _, fault, err := a.account(r.Context(), req, "Deploy keys cannot be used to retrieve recovery codes")
	if fault != "" || err != nil {
		return outcome{Message: fault}, err
	}
	codes, err := a.TwoFactor.Renew(r.Context(), u.ID)
	if errs.KindOf(err) == errs.Denied {
		return outcome{Message: errs.Message(err)}, nil
	}
	return codesAnswer{Success: err == nil, Codes: codes}, err
}

// manualOTP checks a typed code and opens Git over SSH for the key for a while.
func (a *api) manualOTP(r *http.Request, body []byte) (any, error) {
	req, err := decode[struct {
		accountRequest
		OTP string `json:"otp_attempt"`
	}](body)
	if err != nil {
		return nil, err
	}
	u, k, fault, err := a.account(r.Context(), req.accountRequest, "Deploy keys cannot be used for Two Factor")
	if fault != "" || err != nil {
		return outcome{Message: fault}, err
	}
	switch err := a.TwoFactor.Check(r.Context(), u.ID, req.OTP); {
	case errs.KindOf(err) == errs.Denied:
		return outcome{Message: errs.Message(err)}, nil
	case err != nil:
		return nil, err
	}
	return outcome{Success: true}, a.keys.MarkVerified(r.Context(), k.ID, a.Now())
}

// twoFactorConfig says whether an account has a second factor.
func (a *api) twoFactorConfig(r *http.Request, body []byte) (any, error) {
	req, err := decode[accountRequest](body)
	if err != nil {
		return nil, err
	}
	u, _, fault, err := a.account(r.Context(), req, "Deploy keys cannot be used for Two Factor")
	if fault != "" || err != nil {
		return outcome{Message: fault}, err
	}
	return struct {
		Success  bool `json:"success"`
		Required bool `json:"two_factor_required"`
	}{true, u.TwoFactor}, nil
}

type tokenRequest struct {
	accountRequest
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	ExpiresAt string   `json:"expires_at"`
}

type tokenAnswer struct {
	Success   bool     `json:"success"`
	Token     string   `json:"token"`
	Scopes    []string `json:"scopes"`
	ExpiresAt string   `json:"expires_at"`
}

// personalToken makes a personal access token for the owner of a key
// (wire/internal-api.md §3.11).
func (a *api) personalToken(r *http.Request, body []byte) (any, error) {
	req, err := decode[tokenRequest](body)
	if err != nil {
		return nil, err
	}
	u, _, fault, err := a.account(r.Context(), req.accountRequest, "Deploy keys cannot be used to create personal access tokens")
	if fault != "" || err != nil {
		return outcome{Message: fault}, err
	}
	ends, fault := a.newToken(req)
	if fault != "" {
		return outcome{Message: fault}, nil
	}
	t, plain, err := a.tokens.Create(r.Context(), token.NewToken{UserID: u.ID, Name: req.Name, Scopes: req.Scopes, ExpiresAt: &ends})
	if errs.KindOf(err) == errs.Invalid {
		return outcome{Message: "Failed to create token: " + errs.Message(err)}, nil
	}
	if err != nil {
		return nil, err
	}
	return tokenAnswer{Success: true, Token: plain, Scopes: t.Scopes, ExpiresAt: ends.Format(time.DateOnly)}, nil
}

// newToken judges what is asked for; a day beyond the longest lifetime is cut to it.
func (a *api) newToken(req tokenRequest) (ends time.Time, fault string) {
	if req.Name == "" {
		return ends, "No token name specified"
	}
	if len(req.Scopes) == 0 {
		return ends, "No token scopes specified"
	}
	for _, s := range req.Scopes {
		if !slices.Contains(token.Scopes(), s) {
			return ends, "Invalid scope: '" + s + "'. Valid scopes are: [" + quoted(token.Scopes()) + "]"
		}
	}
	today := a.Now().UTC().Truncate(24 * time.Hour)
	latest := today.Add(token.MaxLifetime)
	if req.ExpiresAt == "" {
		return latest, ""
	}
	ends, err := time.Parse(time.DateOnly, req.ExpiresAt)
	if err != nil {
		return ends, "Invalid token expiry date: '" + req.ExpiresAt + "'"
	}
	if !ends.After(today) {
		return ends, "Failed to create token: Expiration date must be in the future"
	}
	if ends.After(latest) {
		ends = latest
	}
	return ends, ""
}

// quoted is the inside of a list as GitLab prints it.
func quoted(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }

// noAudit answers the audit event, which this installation never asks for.
func noAudit(*http.Request, []byte) (any, error) {
	return refused{Message: "No git audit event needed"}, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
