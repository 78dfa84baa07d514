package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/internalapi"
)

// fakeAPI answers calls by path with JSON text or an error.
type fakeAPI struct {
	answers map[string]any
	wait    map[string]<-chan struct{} // before the answer

	mu    sync.Mutex
	calls []string // path and body
}

func (a *fakeAPI) Allowed(ctx context.Context, req internalapi.AllowedRequest) (internalapi.AllowedResponse, error) {
	var out internalapi.AllowedResponse
	return out, a.Post(ctx, internalapi.PathAllowed, req, &out)
}

func (a *fakeAPI) Discover(ctx context.Context, keyID int64, username string) (internalapi.DiscoverResponse, error) {
	var out internalapi.DiscoverResponse
	return out, a.Post(ctx, internalapi.PathDiscover, map[string]any{"key_id": keyID, "username": username}, &out)
}

func (a *fakeAPI) Post(ctx context.Context, path string, body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.calls = append(a.calls, path+" "+string(raw))
	a.mu.Unlock()
	if ch := a.wait[path]; ch != nil {
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch answer := a.answers[path].(type) {
	case string:
		return json.Unmarshal([]byte(answer), out)
	case error:
		return answer
	default:
		return &internalapi.Error{Status: 404, Message: "404 Not Found"}
	}
}

func (a *fakeAPI) body(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if body, ok := strings.CutPrefix(c, path+" "); ok {
			return body
		}
	}
	return ""
}

type ending struct {
	Exit           int
	Stdout, Stderr string
}

func runLine(t *testing.T, api *fakeAPI, tokens Tokens, line, stdin string) ending {
	t.Helper()
	return runStream(t, api, tokens, line, strings.NewReader(stdin))
}

func runStream(t *testing.T, api *fakeAPI, tokens Tokens, line string, stdin io.Reader) ending {
	t.Helper()
	var stdout, stderr bytes.Buffer
	now := func() time.Time { return time.Date(2026, 1, 30, 12, 0, 0, 0, time.UTC) }
	exit, _ := New(Deps{API: api, Tokens: tokens, Now: now}).Run(t.Context(), Request{
		Identity: Identity{KeyID: 7}, RemoteAddr: "[2001:db8::1]:1234", Line: line, Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
	})
	return ending{exit, stdout.String(), stderr.String()}
}

func failed(exit int, text string) ending {
	const ruler = "remote: ========================================================================\n"
	return ending{exit, "", "remote: \n" + ruler + "remote: \nremote: ERROR: " + text + "\n\nremote: \n" + ruler + "remote: \n"}
}

func TestLFSAuthenticate(t *testing.T) {
	t.Parallel()
	const allowed = `{"status":true,"gl_username":"ada","gitaly":{"address":"unix:/x"}}`
	const login = `{"username":"ada","lfs_token":"tok","repository_http_path":"https://git.example.test/team/tool.git"`
	for _, tc := range []struct {
		name, line    string
		allowed, auth any
		want          ending
		action, body  string
	}{
		{"download", "git-lfs-authenticate team/tool.git download", allowed, login + `,"expires_in":1800}`,
			ending{0, `{"header":{"Authorization":"Basic YWRhOnRvaw=="},"href":"https://git.example.test/team/tool.git/info/lfs","expires_in":1800}` + "\n", ""},
			"git-upload-pack", `{"operation":"download","project":"team/tool.git","key_id":"7"}`},
		{"upload that does not expire", "git-lfs-authenticate team/tool.git upload x", allowed, login + `}`,
			ending{0, `{"header":{"Authorization":"Basic YWRhOnRvaw=="},"href":"https://git.example.test/team/tool.git/info/lfs"}` + "\n", ""},
			"git-receive-pack", `{"operation":"upload","project":"team/tool.git","key_id":"7"}`},
		{"LFS is off", "git-lfs-authenticate team/tool.git upload", allowed, nil, ending{},
			"git-receive-pack", `{"operation":"upload","project":"team/tool.git","key_id":"7"}`},
		{"no access", "git-lfs-authenticate team/tool.git upload", &internalapi.Error{Status: 401, Message: "no"}, nil,
			failed(1, "no"), "git-receive-pack", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			api := &fakeAPI{answers: map[string]any{internalapi.PathAllowed: tc.allowed, internalapi.PathLFSAuth: tc.auth}}
			got := runLine(t, api, Tokens{}, tc.line, "")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want := `{"action":"` + tc.action + `","project":"team/tool.git","changes":"_any","protocol":"ssh","key_id":"7","check_ip":"2001:db8::1"}`
			if got := api.body(internalapi.PathAllowed); got != want {
				t.Errorf("access check: got %s, want %s", got, want)
			}
			if got := api.body(internalapi.PathLFSAuth); got != tc.body {
				t.Errorf("lfs_authenticate: got %s, want %s", got, tc.body)
			}
		})
	}
}

func TestPersonalToken(t *testing.T) {
	t.Parallel()
	const made = `{"success":true,"token":"glpat-x","scopes":["api","read_user"],"expires_at":"2026-03-01"}`
	printed := ending{0, "Token:   glpat-x\nScopes:  api,read_user\nExpires: 2026-03-01\n", ""}
	all := Tokens{Enabled: true}
	for _, tc := range []struct {
		name, line string
		tokens     Tokens
		answer     any
		want       ending
		body       string
	}{
		{"default expiry", "personal_access_token t api,read_user", all, made, printed,
			`{"key_id":"7","name":"t","scopes":["api","read_user"],"expires_at":"2026-03-01"}`},
		{"days", "personal_access_token 'my laptop' api 3", all, made, printed,
			`{"key_id":"7","name":"my laptop","scopes":["api"],"expires_at":"2026-02-03"}`},
		{"scopes are dropped", "personal_access_token t api,sudo 0", Tokens{Enabled: true, Scopes: []string{"api"}}, made, printed,
			`{"key_id":"7","name":"t","scopes":["api"],"expires_at":"2026-01-31"}`},
		{"refused", "personal_access_token t x", all, `{"success":false,"message":"Invalid scope: 'x'."}`,
			failed(1, "Invalid scope: 'x'."), `{"key_id":"7","name":"t","scopes":["x"],"expires_at":"2026-03-01"}`},
		{"too few words", "personal_access_token t", all, nil, failed(1, tokenUsage), ""},
		{"too many words", "personal_access_token a b 1 d", all, nil, failed(1, tokenUsage), ""},
		{"days are no number", "personal_access_token t api soon", all, nil, failed(1, "Invalid value for days_ttl: 'soon'"), ""},
		{"days are negative", "personal_access_token t api -1", all, nil, failed(1, "Invalid value for days_ttl: '-1'"), ""},
		{"switched off", "personal_access_token t api", Tokens{}, nil, failed(128, "Unknown command: personal_access_token t api"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			api := &fakeAPI{answers: map[string]any{internalapi.PathPersonalToken: tc.answer}}
			if diff := cmp.Diff(tc.want, runLine(t, api, tc.tokens, tc.line, "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := api.body(internalapi.PathPersonalToken); got != tc.body {
				t.Errorf("body: got %s, want %s", got, tc.body)
			}
		})
	}
}

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, stdin string
		answer      any
		want        string
		called      bool
	}{
		{"yes", "yes\n", `{"success":true,"recovery_codes":["a1","b2"]}`,
			"\nYour two-factor authentication recovery codes are:\n\na1\nb2\n\n" +
				"During sign in, use one of the codes above when prompted for\n" +
				"your two-factor code. Then, visit your Profile Settings and add\n" +
				"a new device so you do not lose access to your account again.\n", true},
		{"no", "no\n", nil, textKept, false},
		{"other case", "Yes\n", nil, textKept, false},
		{"nothing", "", nil, textKept, false},
		{"endless", strings.Repeat("y", 5000), nil, textKept, false},
		{"refused", "yes\n", `{"success":false,"message":"Two-factor authentication is not enabled for this user"}`,
			"\nAn error occurred while trying to generate new recovery codes.\nTwo-factor authentication is not enabled for this user\n", true},
		{"API without it", "yes", nil, "\nAn error occurred while trying to generate new recovery codes.\n404 Not Found\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			api := &fakeAPI{answers: map[string]any{internalapi.PathTwoFactorCodes: tc.answer}}
			got := runLine(t, api, Tokens{}, "2fa_recovery_codes", tc.stdin)
			if diff := cmp.Diff(ending{0, textConfirm + tc.want, ""}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if called := api.body(internalapi.PathTwoFactorCodes) == `{"key_id":"7"}`; called != tc.called {
				t.Errorf("the API was called: %v, want %v", called, tc.called)
			}
		})
	}
}

func TestVerifyOTP(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	for _, tc := range []struct {
		name         string
		stdin        io.Reader
		manual, push any
		waitPush     <-chan struct{}
		want         string
	}{
		{"right code", strings.NewReader("123456\n"), `{"success":true}`, nil, never, textOTP},
		{"wrong code", strings.NewReader("1\n"), `{"success":false,"message":"Invalid OTP"}`, nil, never, "OTP validation failed: Invalid OTP"},
		{"blank", strings.NewReader("\n"), nil, nil, never, "OTP validation failed: OTP cannot be blank"},
		{"API down", strings.NewReader("1\n"), internalapi.ErrUnreachable, nil, never, "OTP validation failed: Internal API unreachable"},
		{"a failed push is no answer", strings.NewReader("1\n"), `{"success":true}`, errors.New("x"), nil, textOTP},
		{"push wins", blocked{}, nil, `{"success":true}`, nil, textPush},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			api := &fakeAPI{
				answers: map[string]any{internalapi.PathTwoFactorOTP: tc.manual, internalapi.PathTwoFactorPush: tc.push},
				wait:    map[string]<-chan struct{}{internalapi.PathTwoFactorPush: tc.waitPush},
			}
			got := runStream(t, api, Tokens{}, "2fa_verify", tc.stdin)
			if diff := cmp.Diff(ending{0, "OTP: \n" + tc.want + "\n", ""}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// blocked is a user who types nothing.
type blocked struct{}

func (blocked) Read([]byte) (int, error) { select {} }
