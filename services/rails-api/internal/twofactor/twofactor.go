// Package twofactor keeps the second factor of people who sign in: a time-based
// one-time password (RFC 6238: SHA-1, 6 digits, 30 s, as authenticator apps expect
// it) and recovery codes for when the device is lost.
//
// A code works once, within one step of its time, and ten wrong ones in a row lock
// the factor for ten minutes.
package twofactor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/sealed"
	"gitsplit/services/rails-api/internal/user"
)

const (
	step          = 30 // seconds
	skew          = 1  // steps that a clock may be wrong
	secretSize    = 20 // bytes, as RFC 4226 §4 recommends
	recoveryCodes = 10
	maxFailures   = 10
	lockTime      = 10 * time.Minute
)

// Texts of the refusals, as wire/internal-api.md §3.10 words them.
var (
	ErrDisabled = errs.New(errs.Denied, "Two-factor authentication is not enabled for this user")
	ErrEnabled  = errs.New(errs.Exists, "Two-factor authentication is enabled already")
	ErrLocked   = errs.New(errs.Denied, "Your account is locked")
	ErrInvalid  = errs.New(errs.Denied, "Invalid OTP")
)

// Service manages second factors. It is safe for concurrent use.
type Service struct {
	db     postgres.DBTX
	box    *sealed.Box
	issuer string // named in the authenticator app
	now    func() time.Time
}

// New returns a Service.
func New(db postgres.DBTX, box *sealed.Box, issuer string, now func() time.Time) *Service {
	return &Service{db: db, box: box, issuer: issuer, now: now}
}

// Enrolment is what somebody puts into an authenticator app, by hand or as a QR
// code of the URI.
type Enrolment struct {
	Secret string // base32
	URI    string // otpauth://totp/…
}

// Begin makes a new secret for a user without a second factor. It has no effect
// until Confirm; a later Begin replaces it.
func (s *Service) Begin(ctx context.Context, u user.User) (Enrolment, error) {
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: s.issuer, AccountName: u.Email, SecretSize: secretSize, Period: step, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return Enrolment{}, fmt.Errorf("make a one-time password: %w", err)
	}
	return Enrolment{Secret: key.Secret(), URI: key.URL()}, s.change(ctx, u.ID, func(f *factor) error {
		if f.enabledAt != nil {
			return ErrEnabled
		}
		f.secret, f.lastStep = s.box.Seal([]byte(key.Secret()), place(u.ID)), 0
		return nil
	})
}

// Confirm switches the second factor on for who proves to have the secret of
// Begin, and returns the recovery codes. They are shown this once.
func (s *Service) Confirm(ctx context.Context, userID int64, code string) (codes []string, err error) {
	err = s.change(ctx, userID, func(f *factor) error {
		switch {
		case f.enabledAt != nil:
			return ErrEnabled
		case f.secret == nil:
			return ErrDisabled
		}
		if err := s.verify(f, userID, code); err != nil {
			return err
		}
		f.enabledAt = new(s.now())
		codes = s.renew(f)
		return nil
	})
	return codes, err
}

// Check uses a code. It is ErrDisabled, ErrLocked or ErrInvalid when it does not count.
func (s *Service) Check(ctx context.Context, userID int64, code string) error {
	return s.change(ctx, userID, func(f *factor) error {
		if f.enabledAt == nil {
			return ErrDisabled
		}
		return s.verify(f, userID, code)
	})
}

// Renew replaces the recovery codes and returns the new ones.
func (s *Service) Renew(ctx context.Context, userID int64) (codes []string, err error) {
	err = s.change(ctx, userID, func(f *factor) error {
		if f.enabledAt == nil {
			return ErrDisabled
		}
		codes = s.renew(f)
		return nil
	})
	return codes, err
}

// Disable switches the second factor off for who has a code of it, or a recovery code.
func (s *Service) Disable(ctx context.Context, userID int64, code string) error {
	return s.change(ctx, userID, func(f *factor) error {
		if f.enabledAt == nil {
			return ErrDisabled
		}
		if !s.redeem(f, code) {
			if err := s.verify(f, userID, code); err != nil {
				return err
			}
		}
		*f = factor{}
		return nil
	})
}

// Reset switches it off without a code: an administrator's way out for a user.
func (s *Service) Reset(ctx context.Context, userID int64) error {
	return s.change(ctx, userID, func(f *factor) error {
		if f.enabledAt == nil {
			return ErrDisabled
		}
		*f = factor{}
		return nil
	})
}

// factor is the row of one user.
type factor struct {
	secret      []byte // sealed
	enabledAt   *time.Time
	lastStep    int64
	failures    int
	lockedUntil *time.Time
	recovery    [][]byte
}

// change reads the factor of a user, lets do change it and writes it back, one at
// a time. A failed attempt is written down too: it counts.
func (s *Service) change(ctx context.Context, userID int64, do func(*factor) error) error {
	const (
		read = `SELECT otp_secret, otp_enabled_at, otp_last_step, otp_failures, otp_locked_until, otp_recovery_digests
			FROM users WHERE id = $1 FOR UPDATE`
		write = `UPDATE users SET otp_secret = $2, otp_enabled_at = $3, otp_last_step = $4, otp_failures = $5, otp_locked_until = $6,
			otp_recovery_digests = $7 WHERE id = $1`
	)
	var refused error
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		var f factor
		row := tx.QueryRow(ctx, read, userID)
		if err := row.Scan(&f.secret, &f.enabledAt, &f.lastStep, &f.failures, &f.lockedUntil, &f.recovery); err != nil {
			return err
		}
		refused = do(&f)
		_, err := tx.Exec(ctx, write, userID, f.secret, f.enabledAt, f.lastStep, f.failures, f.lockedUntil, append([][]byte{}, f.recovery...))
		return err
	})
	if err != nil {
		return postgres.Error(err, "user")
	}
	return refused
}

// verify uses a code on the factor.
func (s *Service) verify(f *factor, userID int64, code string) error {
	now := s.now()
	if f.lockedUntil != nil && now.Before(*f.lockedUntil) {
		return ErrLocked
	}
	secret, err := s.box.Open(f.secret, place(userID))
	if err != nil {
		return err
	}
	at, err := match(string(secret), strings.TrimSpace(code), now.Unix()/step)
	if err != nil {
		return err
	}
	if at <= f.lastStep {
		if f.failures++; f.failures >= maxFailures {
			f.failures, f.lockedUntil = 0, new(now.Add(lockTime))
		}
		return ErrInvalid
	}
	f.lastStep, f.failures, f.lockedUntil = at, 0, nil
	return nil
}

// match returns the step near now that a code belongs to, 0 for none. It takes the
// same time for every code.
func match(secret, code string, now int64) (int64, error) {
	found := int64(0)
	for at := now - skew; at <= now+skew; at++ {
		want, err := hotp.GenerateCodeCustom(secret, uint64(at), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) //nolint:gosec // time is positive
		if err != nil {
			return 0, fmt.Errorf("one-time password: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			found = at
		}
	}
	return found, nil
}

// renew gives the factor new recovery codes: 64 random bits each, as 16 hex digits.
func (s *Service) renew(f *factor) []string {
	f.recovery = nil
	codes := make([]string, recoveryCodes)
	for i := range codes {
		raw := make([]byte, 8)
		_, _ = rand.Read(raw) // cannot fail
		codes[i] = hex.EncodeToString(raw)
		f.recovery = append(f.recovery, s.box.Digest(codes[i]))
	}
	return codes
}

// redeem uses up a recovery code, if it is one.
func (s *Service) redeem(f *factor, code string) bool {
	digest := s.box.Digest(strings.TrimSpace(code))
	for i, known := range f.recovery {
		if bytes.Equal(known, digest) { // digests: their order tells nothing of the codes
			f.recovery = append(f.recovery[:i:i], f.recovery[i+1:]...)
			return true
		}
	}
	return false
}

func place(userID int64) string { return fmt.Sprintf("users.otp_secret %d", userID) }
