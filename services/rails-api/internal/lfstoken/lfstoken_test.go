package lfstoken_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/sealed"
	"gitsplit/services/rails-api/internal/user"
)

func TestSigner(t *testing.T) {
	t.Parallel()
	now := time.Now()
	clock := func() time.Time { return now }
	signer := func(fill byte) *lfstoken.Signer {
		box, err := sealed.New(bytes.Repeat([]byte{fill}, sealed.MinKey))
		if err != nil {
			t.Fatal(err)
		}
		s, err := lfstoken.New(box, clock)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := signer(1)
	ada := user.User{ID: 7, PasswordDigest: "a digest"}
	g := lfstoken.Grant{Actor: lfstoken.Actor{UserID: 7}, ProjectID: 3, Upload: true, From: lfstoken.Origin{KeyID: 5, TokenID: 6}}
	token, err := s.Sign(g, &ada)
	if err != nil {
		t.Fatal(err)
	}
	got, bound, err := s.Verify(token, clock())
	if diff := cmp.Diff(g, got); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	changed := ada
	changed.PasswordDigest = "another digest"
	if !bound(ada) || bound(changed) || bound(user.User{ID: 8, PasswordDigest: "a digest"}) {
		t.Error("the token is not bound to its user's password")
	}
	if strings.Contains(token, "digest") {
		t.Error("the token holds the digest")
	}

	key := lfstoken.Grant{Actor: lfstoken.Actor{DeployKeyID: 9}, ProjectID: 3}
	keyToken, err := s.Sign(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Verify(keyToken, clock()); err != nil || got != key {
		t.Errorf("deploy key: %+v, %v", got, err)
	}

	nobody, err := s.Sign(lfstoken.Grant{ProjectID: 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := signer(2).Sign(g, &ada)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": "gitsplit-lfs", "user_id": 7, "project_id": 3,
		"exp": now.Add(time.Minute).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty": "", "no token": "glpat-x", "another key": foreign, "no algorithm": unsigned, "no actor": nobody,
		"cut": token[:len(token)-2], "huge": strings.Repeat("a", 5000),
	}
	for name, token := range bad {
		if _, _, err := s.Verify(token, clock()); errs.KindOf(err) != errs.Unauthenticated || !errors.Is(err, lfstoken.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	now = now.Add(lfstoken.Lifetime + time.Minute)
	if _, _, err := s.Verify(token, clock()); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("expired: %v", err)
	}
}
