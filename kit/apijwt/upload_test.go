package apijwt

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerifyUpload(t *testing.T) {
	t.Parallel()
	secret, other := []byte(strings.Repeat("s", 32)), []byte(strings.Repeat("o", 32))
	want := map[string]string{"name": "a.png", "size": "9", "path": "/tmp/x"}
	good, err := SignUpload(secret, want)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := SignFields(secret, map[string]string{"file": "/tmp/x"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifyUpload([][]byte{other, secret}, good); err != nil || !cmp.Equal(got, want) {
		t.Errorf("VerifyUpload = %v, %v", got, err)
	}
	if got, err := VerifyFields([][]byte{secret}, fields); err != nil || got["file"] != "/tmp/x" {
		t.Errorf("VerifyFields = %v, %v", got, err)
	}
	_, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + payload + "."
	stranger, err := SignUpload(other, want)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty": "", "none": unsigned, "other key": stranger, "cut": good[:len(good)-2], "long": good + strings.Repeat("x", maxUploadToken),
	} {
		if _, err := VerifyUpload([][]byte{secret}, token); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := VerifyUpload([][]byte{nil}, good); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a secret: %v", err)
	}
}
