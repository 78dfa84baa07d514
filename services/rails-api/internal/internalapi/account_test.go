package internalapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/internalapi"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/lfstoken"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/sshca"
	"gitsplit/services/rails-api/internal/token"
	"gitsplit/services/rails-api/internal/user"
	"gitsplit/services/rails-api/internal/visibility"
)

// enrol gives a user a second factor and returns what makes its codes.
func (b *bench) enrol(u user.User) (code func() string) {
	b.TB.Helper()
	e, err := b.TwoFactor.Begin(b.TB.Context(), u)
	b.Must(err)
	code = func() string {
		b.TB.Helper()
		c, err := totp.GenerateCode(e.Secret, b.Time)
		b.Must(err)
		return c
	}
	_, err = b.TwoFactor.Confirm(b.TB.Context(), u.ID, code())
	b.Must(err)
	b.Time = b.Time.Add(30 * time.Second) // a code is good once
	return code
}

func TestTwoFactor_codes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	k, _ := b.Key(ada, keyOptions())
	ask := func() answer {
		return b.post("/two_factor_recovery_codes", map[string]any{"key_id": strconv.FormatInt(k.ID, 10)})
	}
	ask().want(t, 200, `{"success":false,"message":"Two-factor authentication is not enabled for this user"}`)
	b.enrol(ada)
	var first, second struct {
		Success bool
		Codes   []string `json:"recovery_codes"`
	}
	b.Must(json.Unmarshal([]byte(ask().body), &first))
	b.Must(json.Unmarshal([]byte(ask().body), &second))
	if !first.Success || len(first.Codes) != 10 || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(first.Codes[9]) || first.Codes[0] == second.Codes[0] {
		t.Errorf("codes: %+v, then %+v", first, second)
	}
	if err := b.TwoFactor.Disable(t.Context(), ada.ID, first.Codes[0]); err == nil {
		t.Error("a code that was replaced still works")
	}
	b.Must(b.TwoFactor.Disable(t.Context(), ada.ID, second.Codes[3]))
}

func TestTwoFactor_session(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asking := b.Deps()
	asking.OTPSession = 15 * time.Minute
	strict := setupOn(b.Bench, func(d *internalapi.Deps) { d.Access = access.New(asking) })
	ada, bob := b.User("ada"), b.User("bob")
	b.Project(ada.NamespaceID, "p", visibility.Private)
	b.Project(bob.NamespaceID, "p", visibility.Private)
	k, _ := b.Key(ada, keyOptions())
	other, _ := b.Key(ada, keyOptions())
	bobs, _ := b.Key(bob, keyOptions())
	code := b.enrol(ada)
	const required = "OTP verification is required to access the repository.\n\n   Use: ssh git@git.example.test -p 2222 2fa_verify"
	fetch := func(name string, b *bench, k key.Key, path, want string) {
		t.Helper()
		checkVerdict(t, name, b.ask("key_id", strconv.FormatInt(k.ID, 10), "git-upload-pack", path), want)
	}
	verify := func(k key.Key, otp, want string) {
		t.Helper()
		strict.post("/two_factor_manual_otp_check", map[string]any{"key_id": strconv.FormatInt(k.ID, 10), "otp_attempt": otp}).want(t, 200, want)
	}
	fetch("not asked for", b, k, "ada/p", "")
	fetch("asked for", strict, k, "ada/p", required)
	fetch("no second factor", strict, bobs, "bob/p", "")
	verify(bobs, "123456", `{"success":false,"message":"Two-factor authentication is not enabled for this user"}`)
	verify(k, "000000x", `{"success":false,"message":"Invalid OTP"}`)
	used := code()
	verify(k, used, `{"success":true}`)
	verify(k, used, `{"success":false,"message":"Invalid OTP"}`)
	fetch("proven", strict, k, "ada/p", "")
	fetch("proven with another key", strict, other, "ada/p", required)
	b.Time = b.Time.Add(15 * time.Minute)
	fetch("some time ago", strict, k, "ada/p", required)
	for range 9 { // with the one used twice, ten in a row
		verify(k, "000000x", `{"success":false,"message":"Invalid OTP"}`)
	}
	verify(k, code(), `{"success":false,"message":"Your account is locked"}`)
	b.Time = b.Time.Add(11 * time.Minute)
	verify(k, code(), `{"success":true}`)
	strict.post("/two_factor_config", map[string]any{"key_id": k.ID}).want(t, 200, `{"success":true,"two_factor_required":true}`)
	strict.post("/two_factor_push_otp_check", map[string]any{"key_id": k.ID}).want(t, 200, `{"success":false,"message":"Feature is not available"}`)
}

func TestPersonalToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, blocked := b.User("ada"), b.User("blocked")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	k, _ := b.Key(ada, keyOptions())
	past := b.Time.Add(-time.Hour)
	expired, _ := b.Key(ada, key.NewKey{ExpiresAt: &past})
	hers, _ := b.Key(blocked, keyOptions())
	b.Must(user.New(b.DB).SetState(t.Context(), blocked.ID, user.Blocked))
	deploy, _ := b.DeployKey(ada, p, key.NewKey{}, true)
	day := func(days int) string { return b.Time.AddDate(0, 0, days).Format(time.DateOnly) }
	ask := func(change map[string]any) answer {
		body := map[string]any{"key_id": strconv.FormatInt(k.ID, 10), "name": "laptop", "scopes": []string{"api"}, "expires_at": day(3)}
		for name, value := range change {
			body[name] = value
		}
		return b.post("/personal_access_token", body)
	}
	for _, tc := range []struct {
		change map[string]any
		fault  string
	}{
		{map[string]any{"key_id": deploy.ID, "name": ""}, "Deploy keys cannot be used to create personal access tokens"},
		{map[string]any{"user_id": 99}, "Could not find the given user"},
		{map[string]any{"key_id": "99"}, "Could not find the given key"},
		{map[string]any{"key_id": expired.ID}, "Your SSH key has expired."},
		{map[string]any{"key_id": hers.ID}, "Your account has been blocked."},
		{map[string]any{"name": "", "scopes": nil}, "No token name specified"},
		{map[string]any{"scopes": nil}, "No token scopes specified"},
		{map[string]any{"scopes": []string{"api", "root"}}, `Invalid scope: 'root'. Valid scopes are: ["admin_mode", "ai_features", "api", "create_runner", ` +
			`"k8s_proxy", "manage_runner", "read_api", "read_registry", "read_repository", "read_user", "self_rotate", "sudo", "write_registry", "write_repository"]`},
		{map[string]any{"expires_at": "tomorrow"}, "Invalid token expiry date: 'tomorrow'"},
		{map[string]any{"expires_at": day(0)}, "Failed to create token: Expiration date must be in the future"},
		{map[string]any{"name": "a\x00b"}, "Failed to create token: name can contain only printable characters"},
	} {
		got := ask(tc.change)
		var a struct {
			Success        bool
			Message, Token string
		}
		b.Must(json.Unmarshal([]byte(got.body), &a))
		if got.status != 200 || a.Success || a.Token != "" || a.Message != tc.fault {
			t.Errorf("%v: %d %s", tc.change, got.status, got.body)
		}
	}
	for given, want := range map[string]string{day(3): day(3), day(4000): day(365), "": day(365)} {
		var a struct {
			Success   bool
			Token     string
			Scopes    []string
			ExpiresAt string `json:"expires_at"`
		}
		b.Must(json.Unmarshal([]byte(ask(map[string]any{"expires_at": given, "scopes": []string{"api", "read_user"}}).body), &a))
		stored, err := token.New(b.DB).ByPlain(t.Context(), a.Token)
		if err != nil || !a.Success || a.ExpiresAt != want || fmt.Sprint(a.Scopes) != "[api read_user]" || stored.UserID != ada.ID {
			t.Errorf("%q: %+v, %v", given, a, err)
		}
	}
}

func TestLFSAuthenticate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	k, _ := b.Key(ada, keyOptions())
	robot, _ := b.DeployKey(ada, p, key.NewKey{}, false)
	signer, err := lfstoken.New(b.Box, b.Now)
	b.Must(err)
	for _, tc := range []struct {
		who       map[string]any
		operation string
		username  string
		grant     lfstoken.Grant
	}{
		{map[string]any{"key_id": strconv.FormatInt(k.ID, 10)}, "upload", "ada", lfstoken.Grant{
			Actor: lfstoken.Actor{UserID: ada.ID}, ProjectID: p.ID, Upload: true, From: lfstoken.Origin{KeyID: k.ID},
		}},
		{map[string]any{"user_id": strconv.FormatInt(ada.ID, 10)}, "download", "ada", lfstoken.Grant{Actor: lfstoken.Actor{UserID: ada.ID}, ProjectID: p.ID}},
		{map[string]any{"key_id": robot.ID}, "download", fmt.Sprintf("lfs+deploy-key-%d", robot.ID),
			lfstoken.Grant{Actor: lfstoken.Actor{DeployKeyID: robot.ID}, ProjectID: p.ID}},
		{map[string]any{"key_id": robot.ID}, "upload", "", lfstoken.Grant{}},
		{map[string]any{"user_id": eve.ID}, "download", "", lfstoken.Grant{}},
		{map[string]any{"user_id": ada.ID}, "delete", "", lfstoken.Grant{}},
		{nil, "download", "", lfstoken.Grant{}},
	} {
		body := map[string]any{"project": "/ada/p.git", "operation": tc.operation}
		for name, value := range tc.who {
			body[name] = value
		}
		got := b.post("/lfs_authenticate", body)
		if tc.username == "" {
			got.want(t, 404, `{"message":"404 Not found"}`)
			continue
		}
		var a struct {
			Username  string
			Token     string `json:"lfs_token"`
			Path      string `json:"repository_http_path"`
			ExpiresIn int    `json:"expires_in"`
		}
		b.Must(json.Unmarshal([]byte(got.body), &a))
		grant, _, err := signer.Verify(a.Token, b.Now())
		if err != nil || grant != tc.grant || a.Username != tc.username || a.Path != "https://git.example.test/ada/p.git" || a.ExpiresIn != 1800 {
			t.Errorf("%v %s: %s: %+v, %v", tc.who, tc.operation, got.body, grant, err)
		}
	}
	off := false
	_, err = project.New(b.DB).Update(t.Context(), p.ID, project.Changes{LFSEnabled: &off})
	b.Must(err)
	b.post("/lfs_authenticate", map[string]any{"user_id": ada.ID, "project": "/ada/p.git", "operation": "upload"}).want(t, 404, `{"message":"404 Not found"}`)
}

func TestAuthorizedCerts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, eve := b.User("ada"), b.User("eve")
	g, other := b.Group("team", visibility.Private), b.Group("other", visibility.Private)
	b.Member(member.OfNamespace(g.ID), ada, member.Developer)
	b.Member(member.OfNamespace(other.ID), ada, member.Developer)
	b.Project(g.ID, "tool", visibility.Private)
	b.Project(other.ID, "tool", visibility.Private)
	ca, err := sshca.New(b.DB).Create(t.Context(), g.ID, "bastion", "ssh-ed25519 "+b.Blob()+" ca")
	b.Must(err)
	ask := func(fingerprint, name string) answer {
		return b.get("/authorized_certs", map[string][]string{"key": {fingerprint}, "user_identifier": {name}})
	}
	ask(ca.Fingerprint, "ada").want(t, 200, `{"success":true,"namespace":"team","username":"ada"}`)
	ask(ca.Fingerprint, "ADA@example.org").want(t, 200, `{"success":true,"namespace":"team","username":"ada"}`)
	ask("none", "ada").want(t, 404, `{"message":"Certificate Not Found"}`)
	ask("", "ada").want(t, 404, `{"message":"Certificate Not Found"}`)
	ask(ca.Fingerprint, "nobody").want(t, 404, `{"message":"User Not Found"}`)
	ask(ca.Fingerprint, "").want(t, 404, `{"message":"User Not Found"}`)
	ask(ca.Fingerprint, eve.Username).want(t, 403, `{"message":"Not an Enterprise User of the group"}`)

	within := func(path, group string) answer {
		return b.post("/allowed", map[string]any{
			"action": "git-upload-pack", "project": path, "changes": "_any", "protocol": "ssh", "username": "ada", "namespace_path": group,
		})
	}
	const outside = "You are not allowed to access projects in this namespace."
	checkVerdict(t, "inside", within("team/tool.git", "team"), "")
	checkVerdict(t, "spelled differently", within("TEAM/tool", "team"), "")
	checkVerdict(t, "outside", within("other/tool", "team"), outside)
	checkVerdict(t, "outside and absent", within("other/absent", "team"), outside)
	checkVerdict(t, "a prefix only", within("team2/tool", "team"), outside)
	checkVerdict(t, "no bound", within("other/tool", ""), "")
	checkVerdict(t, "out of it", within("team/../other/tool", "team"), notFound)
	push := func(path string) answer {
		return b.post("/allowed", map[string]any{
			"action": "git-receive-pack", "project": path, "changes": "_any", "protocol": "ssh", "username": "ada", "namespace_path": "team",
		})
	}
	checkVerdict(t, "makes a project outside", push("other/fresh"), outside)
	checkVerdict(t, "makes a project out of it", push("team/../other/fresh"), notFound)
	checkVerdict(t, "makes a project inside", push("team/fresh"), "")

	// A former path inside of a project outside is no secret to who sees the project,
	// and leads nowhere for who does not.
	moved, hidden := b.Project(other.ID, "moved", visibility.Private), b.Project(b.Group("secret", visibility.Private).ID, "hidden", visibility.Private)
	for path, id := range map[string]int64{"team/moved": moved.ID, "team/hidden": hidden.ID} {
		_, err := b.DB.Exec(t.Context(), "INSERT INTO redirect_routes (path, project_id) VALUES ($1, $2)", path, id)
		b.Must(err)
	}
	checkVerdict(t, "moved out", within("team/moved", "team"), outside)
	checkVerdict(t, "moved out of sight", within("team/hidden", "team"), notFound)
}

func TestAllowed_rateLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *internalapi.Deps) { d.OperationLimit = 2 })
	ada, bob := b.User("ada"), b.User("bob")
	b.Project(ada.NamespaceID, "p", visibility.Public)
	ask := func(u user.User, path, ip string) int {
		return b.post("/allowed", map[string]any{
			"action": "git-upload-pack", "project": path, "changes": "_any", "protocol": "ssh", "user_id": u.ID, "check_ip": ip,
		}).status
	}
	for i, want := range []int{200, 200, 429, 429} {
		if got := ask(ada, "ada/p", fmt.Sprintf("198.51.100.%d", i)); got != want {
			t.Errorf("request %d of one user: %d, want %d", i, got, want)
		}
	}
	if got := ask(ada, "ada/p.git", "198.51.100.9"); got != 200 {
		t.Errorf("another project: %d", got)
	}
	for i, want := range []int{200, 200, 429} {
		if got := ask(bob, "ada/p", "203.0.113.1"); got != want {
			t.Errorf("request %d from one address: %d, want %d", i, got, want)
		}
	}
	b.Time = b.Time.Add(time.Minute)
	if got := ask(ada, "ada/p", "198.51.100.0"); got != 200 {
		t.Errorf("a minute later: %d", got)
	}
	over := setup(t, func(d *internalapi.Deps) { d.OperationLimit = 1 })
	for range 2 {
		over.ask("user_id", "1", "git-upload-pack", "a/b")
	}
	over.ask("user_id", "1", "git-upload-pack", "a/b").want(t, 429, `{"message":{"error":"This endpoint has been requested too many times. Try again later."}}`)
	b.Must(over.Redis.Close())
	if got := over.ask("user_id", "1", "git-upload-pack", "a/b"); got.status != 404 {
		t.Errorf("without Redis: %d %s", got.status, got.body)
	}
}

// TestLFSObject: gitaly gets the objects of the project that it names.
func TestLFSObject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p, q := b.Project(ada.NamespaceID, "p", visibility.Private), b.Project(ada.NamespaceID, "q", visibility.Private)
	o := b.LFSObject(p, "content")
	get := func(oid, repository string) answer {
		return b.get("/lfs", url.Values{"oid": {oid}, "gl_repository": {repository}})
	}
	got := get(o.OID, p.GLRepository())
	if h := got.header; got.status != 200 || !strings.HasSuffix(h.Get("X-Sendfile"), "/"+o.Key()) || h.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %v", got.status, h)
	}
	get("", p.GLRepository()).want(t, 400, `{"error":"oid is missing"}`)
	get(o.OID, "").want(t, 400, `{"error":"gl_repository is missing"}`)
	const nothing = `{"message":"404 Not found"}`
	get(o.OID, q.GLRepository()).want(t, 404, nothing)
	get(o.OID, "wiki-1").want(t, 404, nothing)
	get(o.OID, "project-999999").want(t, 404, nothing)
	get("a\x00b", p.GLRepository()).want(t, 404, nothing)
	b.Must(b.Files.Delete(t.Context(), o.Key()))
	get(o.OID, p.GLRepository()).want(t, 404, `{"message":"the file is not stored"}`)
	off := false
	_, err := project.New(b.DB).Update(t.Context(), p.ID, project.Changes{LFSEnabled: &off})
	b.Must(err)
	get(o.OID, p.GLRepository()).want(t, 404, nothing)
}
