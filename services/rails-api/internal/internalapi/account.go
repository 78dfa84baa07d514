package internalapi

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"gitsplit/kit/errs"
	wire "gitsplit/kit/internalapi"
	"gitsplit/services/rails-api/internal/key"
)

// accountRequest names the account of the 2FA and token endpoints.
type accountRequest struct {
	KeyID  wire.ID `json:"key_id"`
	UserID wire.ID `json:"user_id"`
}

// twoFactorCodes answers for recovery codes: nobody has two-factor authentication
// here. The texts stand in the order of wire/internal-api.md §3.10.
func (a *api) twoFactorCodes(r *http.Request, body []byte) (any, error) {
	text, err := a.accountFault(r, body)
	if text == "" {
		text = "Two-factor authentication is not enabled for this user"
	}
	return outcome{Message: text}, err
}

// personalToken refuses to make tokens over SSH for now.
func (a *api) personalToken(r *http.Request, body []byte) (any, error) {
	text, err := a.accountFault(r, body)
	if text == "" {
		text = "Failed to create token: please create it over the API"
	}
	return outcome{Message: text}, err
}

func (a *api) twoFactorConfig(_ *http.Request, _ []byte) (any, error) {
	return struct {
		Success  bool `json:"success"`
		Required bool `json:"two_factor_required"`
	}{Success: true}, nil
}

// accountFault says what is wrong with the account a request names, or "".
func (a *api) accountFault(r *http.Request, body []byte) (string, error) {
	req, err := decode[accountRequest](body)
	if err != nil {
		return "", err
	}
	if req.UserID != 0 {
		switch _, err := a.users.ByID(r.Context(), int64(req.UserID)); {
		case errs.KindOf(err) == errs.NotFound:
			return "Could not find the given user", nil
		case err != nil:
			return "", err
		}
	}
	switch k, err := a.keys.ByID(r.Context(), int64(req.KeyID)); {
	case errs.KindOf(err) == errs.NotFound, err == nil && k.UsageType == key.Signing:
		return "Could not find the given key", nil
	case err != nil:
		return "", err
	}
	return "", nil
}

// noAudit answers the audit event, which this installation never asks for.
func noAudit(*http.Request, []byte) (any, error) {
	return refused{Message: "No git audit event needed"}, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
