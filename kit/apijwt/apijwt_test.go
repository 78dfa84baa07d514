package apijwt_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gitsplit/kit/apijwt"
)

var (
	key = []byte("0123456789abcdef0123456789abcdef")
	now = time.Unix(1_700_000_000, 0)
)

func forge(t *testing.T, m jwt.SigningMethod, k any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(m, claims).SignedString(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(t *testing.T, issuer string, at time.Time) string {
	t.Helper()
	s, err := apijwt.Sign(key, issuer, at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerify(t *testing.T) {
	t.Parallel()
	shell, wh := apijwt.ShellIssuer, apijwt.WorkhorseIssuer
	exp := now.Add(time.Minute).Unix()
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"gitlab-shell","exp":1700000060}`))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + payload + "."
	for _, tc := range []struct {
		name, issuer, token string
		ok                  bool
	}{
		{"fresh", shell, signed(t, shell, now), true},
		{"sender's clock is 10 s ahead", shell, signed(t, shell, now.Add(10*time.Second)), true},
		{"two minutes old", shell, signed(t, shell, now.Add(-2*time.Minute-time.Second)), false},
		{"from the far future", shell, signed(t, shell, now.Add(5*time.Minute)), false},
		{"of the other issuer", shell, signed(t, wh, now), false},
		{"without expiry", shell, forge(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"iss": shell}), false},
		{"other key", shell, forge(t, jwt.SigningMethodHS256, []byte("other"), jwt.MapClaims{"iss": shell, "exp": exp}), false},
		{"HS512", shell, forge(t, jwt.SigningMethodHS512, key, jwt.MapClaims{"iss": shell, "exp": exp}), false},
		{"algorithm none", shell, none, false},
		{"empty", shell, "", false},
		{"garbage", shell, "a.b.c", false},
		{"too long", shell, strings.Repeat("a", 5000), false},
		{"workhorse", wh, signed(t, wh, now), true},
		{"old workhorse without iat", wh, forge(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"iss": wh}), true},
		{"workhorse, old iat", wh, forge(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"iss": wh, "iat": now.Unix() - 91}), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := apijwt.Verify([][]byte{key}, tc.issuer, tc.token, now)
			if (err == nil) != tc.ok || err != nil && !errors.Is(err, apijwt.ErrInvalid) {
				t.Errorf("Verify = %v, want accepted %v", err, tc.ok)
			}
		})
	}
}

func TestVerify_rotation(t *testing.T) {
	t.Parallel()
	token := signed(t, apijwt.ShellIssuer, now)
	if err := apijwt.Verify([][]byte{[]byte("new"), key}, apijwt.ShellIssuer, token, now); err != nil {
		t.Errorf("second secret: %v", err)
	}
	for _, secrets := range [][][]byte{nil, {nil}, {{}}} {
		if apijwt.Verify(secrets, apijwt.ShellIssuer, token, now) == nil {
			t.Errorf("accepted with secrets %q", secrets)
		}
	}
}

// TestVerify_clocks: clocks that differ by a minute do no harm; beyond, the error says so, but only to who has the secret.
func TestVerify_clocks(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{apijwt.ShellIssuer, apijwt.WorkhorseIssuer} {
		for _, tc := range []struct {
			ahead time.Duration
			want  string
		}{
			{time.Minute, ""},
			{-time.Minute, ""},
			{61 * time.Second, "the clocks of the two services differ: the caller's is 1m1s ahead"},
			{-121 * time.Second, "the clocks of the two services differ: the caller's is 2m1s behind"},
		} {
			token := signed(t, issuer, now.Add(tc.ahead))
			err := apijwt.Verify([][]byte{key, []byte("previous")}, issuer, token, now)
			if got := fmt.Sprint(err); (tc.want == "" && err != nil) || (tc.want != "" && (got != tc.want || !errors.Is(err, apijwt.ErrInvalid))) {
				t.Errorf("%s, %v ahead: %v, want %q", issuer, tc.ahead, err, tc.want)
			}
			var wrongTime *apijwt.ClockError
			if err := apijwt.Verify([][]byte{[]byte("other")}, issuer, token, now); err == nil || errors.As(err, &wrongTime) {
				t.Errorf("without the secret: %v", err)
			}
		}
	}
	other := apijwt.Verify([][]byte{key}, apijwt.WorkhorseIssuer, signed(t, apijwt.ShellIssuer, now.Add(time.Hour)), now)
	var wrongTime *apijwt.ClockError
	if other == nil || errors.As(other, &wrongTime) {
		t.Errorf("of the other issuer: %v", other)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if apijwt.Verify([][]byte{key}, apijwt.ShellIssuer, token, now) == nil {
			t.Errorf("forged token %q is accepted", token)
		}
	})
}
