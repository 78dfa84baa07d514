package sealed_test

import (
	"bytes"
	"errors"
	"testing"

	"gitsplit/services/rails-api/internal/sealed"
)

func box(t *testing.T, fill byte) *sealed.Box {
	t.Helper()
	b, err := sealed.New(bytes.Repeat([]byte{fill}, sealed.MinKey))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBox(t *testing.T) {
	t.Parallel()
	b, other := box(t, 1), box(t, 2)
	s := b.Seal([]byte("value"), "users.otp_secret 7")
	if bytes.Contains(s, []byte("value")) || bytes.Equal(s, b.Seal([]byte("value"), "users.otp_secret 7")) {
		t.Errorf("sealed: %x", s)
	}
	if got, err := b.Open(s, "users.otp_secret 7"); err != nil || string(got) != "value" {
		t.Errorf("opened: %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another key":   func() ([]byte, error) { return other.Open(s, "users.otp_secret 7") },
		"another place": func() ([]byte, error) { return b.Open(s, "users.otp_secret 8") },
		"cut":           func() ([]byte, error) { return b.Open(s[:len(s)-1], "users.otp_secret 7") },
		"nothing":       func() ([]byte, error) { return b.Open(nil, "users.otp_secret 7") },
	} {
		if got, err := open(); !errors.Is(err, sealed.ErrOpen) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if bytes.Equal(b.Digest("a"), b.Digest("b")) || bytes.Equal(b.Digest("a"), other.Digest("a")) || !bytes.Equal(b.Digest("a"), b.Digest("a")) {
		t.Error("digests")
	}
	if _, err := sealed.New(make([]byte, sealed.MinKey-1)); err == nil {
		t.Error("a short key was taken")
	}
}
