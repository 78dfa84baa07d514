// Package lfstoken makes the short-lived credentials with which git-lfs speaks
// HTTP after `git-lfs-authenticate` over SSH (wire/internal-api.md §3.8). A token
// names its actor, one project and one operation. It ends with the credential that it
// was made for: a changed password, a removed SSH key, a revoked access token; and
// whether the actor may still do what it says is asked at each use
// (security-baseline.md T5).
package lfstoken

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/sealed"
	"gitsplit/services/rails-api/internal/user"
)

// Lifetime of a token.
const Lifetime = 30 * time.Minute

const (
	issuer  = "gitsplit-lfs"
	leeway  = 30 * time.Second
	maxSize = 4 << 10
)

// Actor is who holds a token: a user or a deploy key.
type Actor struct {
	UserID      int64
	DeployKeyID int64 // takes precedence
}

// Grant is what a token admits.
type Grant struct {
	Actor     Actor
	ProjectID int64
	Upload    bool // else download only
	From      Origin
}

// Origin is the credential that a user showed to get a token, with which it ends;
// nothing is a password.
type Origin struct {
	KeyID   int64 // SSH key
	TokenID int64 // access token
}

type claims struct {
	UserID      int64  `json:"user_id,omitempty"`
	DeployKeyID int64  `json:"deploy_key_id,omitempty"`
	ProjectID   int64  `json:"project_id"`
	Upload      bool   `json:"upload,omitempty"`
	KeyID       int64  `json:"key_id,omitempty"`
	TokenID     int64  `json:"token_id,omitempty"`
	Password    string `json:"pwd,omitempty"`
	jwt.RegisteredClaims
}

// Signer makes and reads tokens. It is safe for concurrent use.
type Signer struct {
	box *sealed.Box
	key []byte
	now func() time.Time
}

// New returns a Signer.
func New(box *sealed.Box, now func() time.Time) (*Signer, error) {
	key, err := box.Derive("lfs token")
	if err != nil {
		return nil, err
	}
	return &Signer{box: box, key: key, now: now}, nil
}

// Sign makes a token. owner is the user, nil for a deploy key.
func (s *Signer) Sign(g Grant, owner *user.User) (string, error) {
	now := s.now()
	c := claims{
		UserID: g.Actor.UserID, DeployKeyID: g.Actor.DeployKeyID, ProjectID: g.ProjectID, Upload: g.Upload,
		KeyID: g.From.KeyID, TokenID: g.From.TokenID,
		RegisteredClaims: jwt.RegisteredClaims{Issuer: issuer, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(Lifetime))},
	}
	if owner != nil {
		c.Password = s.binding(*owner)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign an LFS token: %w", err)
	}
	return token, nil
}

// ErrInvalid is the cause of every refusal of Verify.
var ErrInvalid = errors.New("LFS token is invalid")

// Verify reads a token that was shown at a time. Every refusal is
// errs.Unauthenticated. Bound tells whether the token still belongs to the user it
// names, to be asked once the user is read.
func (s *Signer) Verify(token string, at time.Time) (g Grant, bound func(user.User) bool, err error) {
	refuse := func(cause error) (Grant, func(user.User) bool, error) {
		return Grant{}, nil, errs.Wrap(errs.Unauthenticated, "401 Unauthorized", errors.Join(ErrInvalid, cause))
	}
	if len(token) > maxSize {
		return refuse(errors.New("it is too long"))
	}
	var c claims
	_, err = jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return at }))
	if err != nil {
		return refuse(err)
	}
	if c.ProjectID <= 0 || (c.UserID <= 0) == (c.DeployKeyID <= 0) {
		return refuse(errors.New("it names no actor or no project"))
	}
	g = Grant{Actor: Actor{UserID: c.UserID, DeployKeyID: c.DeployKeyID}, ProjectID: c.ProjectID, Upload: c.Upload, From: Origin{c.KeyID, c.TokenID}}
	return g, func(u user.User) bool { return u.ID == c.UserID && s.binding(u) == c.Password }, nil
}

// binding changes with the user's password.
func (s *Signer) binding(u user.User) string {
	const size = 8
	return hex.EncodeToString(s.box.Digest(fmt.Sprintf("password of %d: %s", u.ID, u.PasswordDigest))[:size])
}
