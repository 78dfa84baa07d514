// Package apijwt signs and checks the tokens by which the internal API knows its
// callers (wire/internal-api.md §1.3, wire/workhorse.md §2.1): HS256, an issuer,
// and a short life.
package apijwt

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Issuers and the headers their tokens travel in.
const (
	ShellIssuer     = "gitlab-shell"
	WorkhorseIssuer = "gitlab-workhorse"
	ShellHeader     = "Gitlab-Shell-Api-Request"
	WorkhorseHeader = "Gitlab-Workhorse-Api-Request"
)

const (
	lifetime     = 60 * time.Second
	leeway       = 60 * time.Second // clocks of the services may differ this much (wire/internal-api.md §1.3)
	workhorseAge = 90 * time.Second // a workhorse token's iat may be this old
	maxToken     = 4096
)

// ErrInvalid is the error of every token that is not accepted.
var ErrInvalid = errors.New("invalid token")

var (
	errNoSecret = errors.New("no secret is configured")
	errOld      = errors.New("token was issued too long ago")
)

// Sign returns a token of the issuer, valid for 60 s from now.
func Sign(secret []byte, issuer string, now time.Time) (string, error) {
	claims := jwt.RegisteredClaims{
		Issuer:    issuer,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign %s token: %w", issuer, err)
	}
	return token, nil
}

// Verify checks a token of the issuer against any of the secrets (two during a
// rotation). Shell tokens must carry exp; workhorse tokens may lack iat and exp,
// as old ones do, but an iat older than 90 s is refused. Every failure wraps
// ErrInvalid; it is a ClockError when only the time is wrong.
func Verify(secrets [][]byte, issuer, token string, now time.Time) error {
	if token == "" || len(token) > maxToken {
		return fmt.Errorf("%w: %d bytes", ErrInvalid, len(token))
	}
	opts := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithLeeway(leeway),
		jwt.WithIssuedAt(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	}
	if issuer == ShellIssuer {
		opts = append(opts, jwt.WithExpirationRequired())
	}
	parser := jwt.NewParser(opts...)
	err := errNoSecret
	for _, secret := range secrets {
		err = verifyOne(parser, secret, issuer, token, now)
		var wrongTime *ClockError
		if err == nil || errors.As(err, &wrongTime) { // signed with this secret
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

func verifyOne(parser *jwt.Parser, secret []byte, issuer, token string, now time.Time) error {
	if len(secret) == 0 {
		return errors.New("secret is empty")
	}
	var claims jwt.RegisteredClaims
	_, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return secret, nil })
	if err == nil && issuer == WorkhorseIssuer && claims.IssuedAt != nil && now.Sub(claims.IssuedAt.Time) > workhorseAge {
		err = errOld
	}
	if wrongTime := clock(err, claims, now); wrongTime != nil {
		return wrongTime
	}
	return err
}
