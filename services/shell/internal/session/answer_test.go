package session

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"gitsplit/kit/internalapi"
)

// FuzzAnswers runs every command that needs no gitaly against an API that answers
// anything: nothing panics, and no control byte gets to the user's terminal.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"status":true,"gl_console_messages":["a\u001b[2J"],"gitaly":{}}`, "git-upload-pack a/b")
	f.Add(`{"status":false,"message":"no\r\n\u0007"}`, "git-receive-pack a/b")
	f.Add(`{"username":"\u009b31m","id":1}`, "")
	f.Add(`{"success":true,"recovery_codes":["\u0000"]}`, "2fa_recovery_codes")
	f.Add(`{"success":true,"token":"t\n","scopes":["\u001b"],"expires_at":""}`, "personal_access_token a api")
	f.Add(`{"status":true,"lfs_token":"\u0000","repository_http_path":"\u001b]0;x"}`, "git-lfs-authenticate a/b upload")
	f.Add(`[1]`, "2fa_verify")
	f.Add("<html>", "discover")
	f.Fuzz(func(t *testing.T, answer, line string) {
		if strings.Contains(answer, `"address"`) {
			return // there is no gitaly to relay to
		}
		api := &fakeAPI{answers: map[string]any{}}
		for _, path := range []string{internalapi.PathAllowed, internalapi.PathDiscover, internalapi.PathLFSAuth, internalapi.PathTwoFactorCodes,
			internalapi.PathTwoFactorOTP, internalapi.PathTwoFactorPush, internalapi.PathPersonalToken} {
			api.answers[path] = answer
		}
		var stdout, stderr bytes.Buffer
		exit, _ := New(Deps{API: api, Tokens: Tokens{Enabled: true}, Now: time.Now, CountRelay: func(bool) {}}).Run(t.Context(), Request{
			Identity: Identity{KeyID: 7}, Line: line, Stdin: strings.NewReader("yes\n"), Stdout: &stdout, Stderr: &stderr,
		})
		if exit != 0 && exit != 1 && exit != 128 {
			t.Errorf("exit status %d", exit)
		}
		shown := stderr.String()
		if !json.Valid(bytes.TrimSpace(stdout.Bytes())) {
			shown += stdout.String()
		}
		for _, r := range shown {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Fatalf("control character %U reaches the terminal: %q", r, shown)
			}
		}
	})
}
