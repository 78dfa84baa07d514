package twofactor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/twofactor"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestService: a code counts once and near its time, ten wrong ones lock, and a recovery code is a way out, once.
func TestService(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	u, ctx, s := b.User("ada"), t.Context(), b.TwoFactor
	is := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	enrolment, err := s.Begin(ctx, u)
	b.Must(err)
	code := func(off time.Duration) string {
		t.Helper()
		text, err := totp.GenerateCode(enrolment.Secret, b.Time.Add(off))
		b.Must(err)
		return text
	}
	is("before it is confirmed", s.Check(ctx, u.ID, code(0)), twofactor.ErrDisabled)
	_, err = s.Confirm(ctx, u.ID, "nonsense")
	is("confirmed with nonsense", err, twofactor.ErrInvalid)
	recovery, err := s.Confirm(ctx, u.ID, code(0))
	if err != nil || len(recovery) != 10 {
		t.Fatalf("confirmed: %q, %v", recovery, err)
	}
	is("the same code again", s.Check(ctx, u.ID, code(0)), twofactor.ErrInvalid)
	is("a clock half a minute ahead", s.Check(ctx, u.ID, code(30*time.Second)), nil)
	b.Time = b.Time.Add(10 * time.Minute)
	is("two minutes behind", s.Check(ctx, u.ID, code(-2*time.Minute)), twofactor.ErrInvalid)
	for range 9 {
		is("a wrong code", s.Check(ctx, u.ID, "nonsense"), twofactor.ErrInvalid)
	}
	is("a good code, locked", s.Check(ctx, u.ID, code(0)), twofactor.ErrLocked)
	b.Time = b.Time.Add(10*time.Minute + time.Second)
	is("after the lock", s.Check(ctx, u.ID, code(0)), nil)
	_, err = s.Begin(ctx, u)
	is("begun while it is on", err, twofactor.ErrEnabled)
	renewed, err := s.Renew(ctx, u.ID)
	b.Must(err)
	is("an old recovery code", s.Disable(ctx, u.ID, recovery[0]), twofactor.ErrInvalid)
	is("a recovery code", s.Disable(ctx, u.ID, renewed[0]), nil)
	is("without a factor", s.Disable(ctx, u.ID, renewed[1]), twofactor.ErrDisabled)
}
