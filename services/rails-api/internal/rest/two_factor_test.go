package rest_test

import (
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/user"
)

func TestTwoFactor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann := b.person("ann")
	digest, err := b.people.Passwords.Hash("correct horse")
	b.must(err)
	_, err = user.New(b.db).Update(t.Context(), ann.ID, user.Changes{PasswordDigest: &digest})
	b.must(err)
	password := map[string]any{"current_password": "correct horse"}
	b.as(ann).post("user/two_factor", nil).text(400, `{"error":"current_password is missing"}`)
	b.as(ann).post("user/two_factor", map[string]any{"current_password": "wrong"}).text(403, `{"message":"403 Forbidden - the password is wrong"}`)
	b.as(ann).post("user/two_factor/confirm", map[string]any{"otp_attempt": "123456"}).
		text(400, `{"message":"400 Bad request - Two-factor authentication is not enabled for this user"}`)
	var e struct {
		Secret string `json:"otp_secret"`
		URI    string `json:"otp_uri"`
	}
	b.as(ann).post("user/two_factor", password).want(201).into(&e)
	code := func() map[string]any {
		c, err := totp.GenerateCode(e.Secret, b.now)
		b.must(err)
		return map[string]any{"otp_attempt": c}
	}
	first := code()
	b.as(ann).post("user/two_factor", password).want(201).into(&e) // anew: the first secret is void
	want := "otpauth://totp/git.example:ann@example.org?algorithm=SHA1&digits=6&issuer=git.example&period=30&secret=" + e.Secret
	if e.URI != want {
		t.Errorf("URI %s\nwant %s", e.URI, want)
	}
	b.as(ann).post("user/two_factor/confirm", first).text(400, `{"message":"400 Bad request - Invalid OTP"}`)
	var given struct {
		Codes []string `json:"recovery_codes"`
	}
	b.as(ann).post("user/two_factor/confirm", code()).want(201).into(&given)
	if len(given.Codes) != 10 {
		t.Errorf("%d recovery codes", len(given.Codes))
	}
	var me map[string]any
	b.as(ann).get("user").want(200).into(&me)
	if me["two_factor_enabled"] != true {
		t.Errorf("two_factor_enabled: %v", me["two_factor_enabled"])
	}
	git := func(password string) error {
		_, err := b.people.Basic(t.Context(), auth.Credentials{Username: "ann", Password: password})
		return err
	}
	if err := git("correct horse"); auth.Reason(err) != auth.TokenRequired {
		t.Errorf("Git with the password alone: %v", err)
	}
	if err := git(ann.token); err != nil {
		t.Errorf("Git with a token: %v", err)
	}
	enabled := `{"message":"400 Bad request - Two-factor authentication is enabled already"}`
	b.as(ann).post("user/two_factor", password).text(400, enabled)
	b.as(ann).post("user/two_factor/confirm", code()).text(400, enabled)

	b.now = b.now.Add(30 * time.Second)
	b.as(ann).post("user/two_factor/recovery_codes", code()).want(201).into(&given)
	b.as(ann).post("user/two_factor/recovery_codes", code()).text(400, `{"message":"400 Bad request - Invalid OTP"}`)
	b.as(ann).send("DELETE", "user/two_factor", map[string]any{"otp_attempt": "0123456789abcdef"}).text(400, `{"message":"400 Bad request - Invalid OTP"}`)
	b.as(ann).send("DELETE", "user/two_factor", map[string]any{"otp_attempt": given.Codes[4]}).text(204, "")
	if err := git("correct horse"); err != nil {
		t.Errorf("Git with the password again: %v", err)
	}

	b.as(ann).post("user/two_factor", password).want(201).into(&e)
	b.as(ann).post("user/two_factor/confirm", code()).want(201)
	reset := "users/" + id(ann.ID) + "/disable_two_factor"
	b.as(ann).send("PATCH", reset, nil).text(403, `{"message":"403 Forbidden"}`)
	b.as(b.root).send("PATCH", reset, nil).text(204, "")
	b.as(b.root).send("PATCH", reset, nil).text(400, `{"message":"400 Bad request - Two-factor authentication is not enabled for this user"}`)
	b.as(b.root).send("PATCH", "users/"+id(b.root.ID)+"/disable_two_factor", nil).want(403)
	b.as(b.root).send("PATCH", "users/999/disable_two_factor", nil).text(404, `{"message":"404 User Not Found"}`)
}
