package secret_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/kit/secret"
)

func file(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("s", 32)
	for _, tc := range []struct {
		name, path, want, wantErr string
	}{
		{"trimmed", file(t, " "+long+"\r\n", 0o600), long, ""},
		{"read only", file(t, long, 0o400), long, ""},
		{"short", file(t, "abc\n", 0o600), "", "3 bytes, need at least 32"},
		{"empty", file(t, "\n", 0o600), "", "need at least"},
		{"group may read", file(t, long, 0o640), "", "want a plain file of mode 0600"},
		{"world may read", file(t, long, 0o604), "", "want a plain file of mode 0600"},
		{"huge", file(t, strings.Repeat("s", 5000), 0o600), "", "over 4096 bytes"},
		{"directory", t.TempDir(), "", "want a plain file"},
		{"absent", "/nonexistent/secret", "", "no such file"},
		{"not configured", "", "", "no secret file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := secret.Read(tc.path, 32)
			if string(got) != tc.want {
				t.Errorf("Read = %q, want %q", got, tc.want)
			}
			if (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("err = %v, want %q", err, tc.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), long) {
				t.Error("the error shows the secret")
			}
		})
	}
}

func TestReadBase64(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("k", 32)
	got, err := secret.ReadBase64(file(t, base64.StdEncoding.EncodeToString([]byte(key))+"\n", 0o600), 32)
	if err != nil || string(got) != key {
		t.Errorf("ReadBase64 = %q, %v", got, err)
	}
	for _, bad := range []string{strings.Repeat("!", 44), base64.StdEncoding.EncodeToString([]byte(key + "more"))} {
		if _, err := secret.ReadBase64(file(t, bad, 0o600), 32); err == nil {
			t.Errorf("ReadBase64 accepts %q", bad)
		}
	}
}
