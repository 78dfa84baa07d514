package apijwt

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ClockError says that a token has a good signature and comes at the wrong time:
// the clocks of the two services differ. Only who has the secret can cause it, so
// the caller may be told.
type ClockError struct {
	Ahead time.Duration // how far the caller's clock is ahead, negative: behind
}

// Error says by how much.
func (e *ClockError) Error() string {
	const text = "the clocks of the two services differ: the caller's is %v %s"
	if e.Ahead < 0 {
		return fmt.Sprintf(text, -e.Ahead, "behind")
	}
	return fmt.Sprintf(text, e.Ahead, "ahead")
}

// Unwrap makes it an ErrInvalid.
func (e *ClockError) Unwrap() error { return ErrInvalid }

// Refusal returns what to answer a caller whose token was refused: the text, and,
// to who has the secret, that the clocks differ.
func Refusal(text string, err error) string {
	var wrongTime *ClockError
	if errors.As(err, &wrongTime) {
		return text + ": " + wrongTime.Error()
	}
	return text
}

// clock returns the ClockError that a refusal of the parser amounts to, which looks
// at the times after the signature; nil for another one.
func clock(err error, claims jwt.RegisteredClaims, now time.Time) error {
	for _, other := range []error{jwt.ErrTokenUnverifiable, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenRequiredClaimMissing} {
		if errors.Is(err, other) {
			return nil
		}
	}
	timed := errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenNotValidYet) || errors.Is(err, jwt.ErrTokenUsedBeforeIssued) || errors.Is(err, errOld)
	if !timed || claims.IssuedAt == nil {
		return nil
	}
	return &ClockError{Ahead: claims.IssuedAt.Sub(now).Round(time.Second)}
}
