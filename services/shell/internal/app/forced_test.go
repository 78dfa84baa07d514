package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/internalapi"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/shell/internal/app"
	"gitsplit/services/shell/internal/shelltest"
)

// site is an installation of the programs for OpenSSH: config.yml with bin beside.
type site struct {
	root   string
	api    *shelltest.API
	gitaly *shelltest.Gitaly
	env    map[string]string
	args   []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	need(t, "git")
	repos := t.TempDir()
	s := &site{root: t.TempDir(), api: shelltest.NewAPI(t), gitaly: shelltest.NewGitaly(t, repos), args: []string{"key-7"},
		env: map[string]string{"SSH_CONNECTION": "192.0.2.7 4711 192.0.2.1 22", "CORRELATION_ID": "from-sshd"}}
	run(t, "", "git", "init", "-q", "--bare", "-b", "main", filepath.Join(repos, relativePath))
	s.api.Answer(allowedPath, http.StatusOK, (&world{gitaly: s.gitaly}).allowed())
	s.api.Answer(discoverPath, http.StatusOK, `{"id":3,"username":"ada","name":"Ada Example"}`)
	s.write(t, "config.yml", fmt.Sprintf("gitlab_url: %s\nsecret_file: secret\n", s.api.URL))
	s.write(t, "secret", shelltest.Secret)
	return s
}

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.root, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// process returns what one of the programs would see, and its outputs.
func (s *site) process(args ...string) (p app.Process, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return app.Process{
		Args:       args,
		LookupEnv:  func(name string) (string, bool) { v, ok := s.env[name]; return v, ok },
		Executable: func() (string, error) { return filepath.Join(s.root, "bin", "program"), nil },
		Stdin:      strings.NewReader(""), Stdout: stdout, Stderr: stderr,
	}, stdout, stderr
}

// shell runs gitlab-shell for what a user typed.
func (s *site) shell(t *testing.T, line string) result {
	t.Helper()
	s.env["SSH_ORIGINAL_COMMAND"] = line
	p, stdout, stderr := s.process(s.args...)
	exit := app.Shell(t.Context(), p)
	return result{exit, stdout.String(), stderr.String()}
}

// plainBox is the frame of gitlab-shell around a failure (wire/gitlab-shell.md §4).
func plainBox(text string) string {
	const ruler = "remote: ========================================================================\n"
	return "remote: \n" + ruler + "remote: \nremote: " + text + "\nremote: \n" + ruler + "remote: \n"
}

// TestShell: every text of wire/gitlab-shell.md §5 in its right-hand column.
func TestShell(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, line string
		prepare    func(*site)
		want       result
	}{
		{"greeting", "", nil, result{0, "Welcome to GitLab, @ada!\n", ""}},
		{"nobody", "", func(s *site) { s.args = nil }, result{1, "", plainBox("Failed to get username: who='' is invalid")}},
		{"unknown command", "ls -la", nil, result{1, "", "Disallowed command\n"}},
		{"wrong arguments", "git-upload-pack a b", nil, result{1, "", plainBox("Disallowed command")}},
		{"option for a repository", "git-receive-pack --exec=sh", nil, result{1, "", plainBox("Disallowed command")}},
		{"open quote", "git-upload-pack 'x", nil, result{1, "", "Invalid SSH command: invalid command line string\n"}},
		{"no SSH", "", func(s *site) { delete(s.env, "SSH_CONNECTION") }, result{1, "", "Only SSH allowed\n"}},
		{"no root", "", func(s *site) { s.env["GITLAB_SHELL_DIR"] = filepath.Join(s.root, "none") },
			result{1, "", "Failed to determine executable, exiting\n"}},
		{"refused", "git-upload-pack a/b", func(s *site) { s.api.Answer(allowedPath, 401, `{"status":false,"message":"You are not allowed."}`) },
			result{1, "", plainBox("You are not allowed.")}},
		{"refused without words", "git-upload-pack a/b", func(s *site) { s.api.Answer(allowedPath, 404, `{"error":"x"}`) }, result{1, "", ""}},
		{"API down", "git-upload-pack a/b", func(s *site) { s.api.Answer(allowedPath, 400, `no JSON`) }, result{1, "", plainBox("Internal API error (400)")}},
		{"gitaly down", "git-upload-pack a/b", func(s *site) { s.gitaly.Stop() },
			result{1, "", plainBox("rpc error: code = Unavailable desc = The git server, Gitaly, is not available at this time. Please contact your administrator.")}},
		{"gitaly refuses", "git-receive-pack a/b", func(s *site) {
			s.gitaly.Override(func(context.Context) error { return status.Error(codes.NotFound, "repository not found") })
		}, result{1, "", plainBox("rpc error: code = NotFound desc = repository not found")}},
		{"gitaly busy", "git-upload-pack a/b", func(s *site) {
			busy, _ := status.New(codes.Unavailable, "queue full").WithDetails(&gitalypb.LimitError{})
			s.gitaly.Override(func(context.Context) error { return busy.Err() })
		}, result{1, "", plainBox("rpc error: code = Unavailable desc = GitLab is currently unable to handle this request due to load.")}},
		{"API unreachable", "git-upload-pack a/b", func(s *site) { s.api.Answer(allowedPath, 503, `{"message":"secret detail"}`) },
			result{1, "", plainBox("Internal API unreachable")}},
		{"messages and a refusal", "git-receive-pack a/b", func(s *site) {
			s.api.Answer(allowedPath, 200, `{"status":false,"message":"a\nb","gl_console_messages":["hint"]}`)
		}, result{1, "", "remote: \nremote: hint\nremote: \n" + plainBox("a\nb")}},
		{"anonymous", "discover", func(s *site) { s.api.Answer(discoverPath, 200, `null`) }, result{0, "Welcome to GitLab, Anonymous!\n", ""}},
		{"LFS login refused", "git-lfs-authenticate a/b download", func(s *site) { s.api.Answer(internalapi.PathLFSAuth, 404, `{}`) }, result{}},
		{"LFS operation", "git-lfs-authenticate a/b delete", nil, result{1, "", plainBox("Disallowed command")}},
		{"token usage", "personal_access_token one", nil,
			result{1, "", plainBox("Usage: personal_access_token <name> <scope1[,scope2,...]> [ttl_days]")}},
		{"token refused", "personal_access_token one api", func(s *site) {
			s.api.Answer(internalapi.PathPersonalToken, 200, `{"success":false,"message":"No token scopes specified"}`)
		}, result{1, "", plainBox("No token scopes specified")}},
		{"tokens are off", "personal_access_token one api", func(s *site) { s.env["SHELL_PAT_ENABLED"] = "false" }, result{1, "", "Disallowed command\n"}},
		{"recovery codes kept", "2fa_recovery_codes", nil, result{0, "Are you sure you want to generate new two-factor recovery codes?\n" +
			"Any existing recovery codes you saved will be invalidated. (yes/no)\n" +
			"\nNew recovery codes have *not* been generated. Existing codes will remain valid.\n", ""}},
		{"blank code", "2fa_verify", func(s *site) { s.api.Answer(internalapi.PathTwoFactorPush, 200, `{"success":false}`) },
			result{0, "OTP: \nOTP validation failed: OTP cannot be blank\n", ""}},
		{"git failed", "git-receive-pack a/b", func(s *site) {
			s.gitaly.Override(func(context.Context) error { return status.Error(codes.Internal, "cmd wait: exit status 128") })
		}, result{1, "", ""}},
		{"no address", "git-upload-pack a/b", func(s *site) { s.api.Answer(allowedPath, 200, `{"status":true,"gitaly":{}}`) },
			result{1, "", plainBox("no gitaly_address given")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if tc.prepare != nil {
				tc.prepare(s)
			}
			if diff := cmp.Diff(tc.want, s.shell(t, tc.line), cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestShell_badConfiguration(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write(t, "config.yml", "nonsense: 1\n")
	got := s.shell(t, "")
	if got.exit != 1 || got.stdout != "" || !strings.HasPrefix(got.stderr, "Failed to read config, exiting: ") {
		t.Errorf("%+v", got)
	}
}

// TestShell_identity: how sshd may name the user, and what the API is asked then.
func TestShell_identity(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"key", []string{"key-12"}, `"key_id":"12"`},
		{"through a login shell", []string{"-c", "/opt/gitlab-shell/bin/gitlab-shell key-12"}, `"key_id":"12"`},
		{"user", []string{"username-ada.l"}, `"username":"ada.l"`},
		{"first one counts", []string{"key-12", "username-ada"}, `"key_id":"12"`},
	} {
		s := newSite(t)
		s.args = tc.args
		s.shell(t, "git-upload-archive a/b.git")
		hits := s.api.Hits(allowedPath)
		if len(hits) != 1 || !strings.Contains(hits[0].Body, tc.want) || !strings.Contains(hits[0].Body, `"check_ip":"192.0.2.7"`) || hits[0].CorrelationID != "from-sshd" {
			t.Errorf("%s: %+v", tc.name, hits)
		}
	}
	for _, args := range [][]string{{"key-"}, {"key-x"}, {"xkey-1"}, {"key-1x"}, {"key-0"}, {"username-"}, {""}, {"key-99999999999999999999"}} {
		s := newSite(t)
		s.args = args
		s.shell(t, "git-upload-pack a/b.git")
		if hits := s.api.Hits(allowedPath); len(hits) != 1 || strings.Contains(hits[0].Body, "key_id") || strings.Contains(hits[0].Body, "username") {
			t.Errorf("%q: %+v", args, hits)
		}
	}
}

func TestShell_log(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.shell(t, "git-upload-archive a/b.git")
	path := filepath.Join(s.root, "gitlab-shell.log")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	var line map[string]any
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &line); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for key, want := range map[string]any{"service": "gitlab-shell", "command": "git-upload-archive", "key_id": "7", "remote_addr": "192.0.2.7", "correlation_id": "from-sshd"} {
		if line[key] != want {
			t.Errorf("%s: %v, want %v, in %s", key, line[key], want, raw)
		}
	}
}

// asShell is the variable that makes the test binary gitlab-shell.
const asShell = "TEST_AS_GITLAB_SHELL"

// TestShell_userGone: who hangs up in the middle is no reason to die without a line in the log.
func TestShell_userGone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "key-7")
	cmd.Env = append(os.Environ(), asShell+"=1", "GITLAB_SHELL_DIR="+s.root, "SSH_CONNECTION=192.0.2.7 4711 192.0.2.1 22")
	cmd.Stdout = write
	err = cmd.Run()
	_ = write.Close()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit status 1", err)
	}
	raw, err := os.ReadFile(filepath.Join(s.root, "gitlab-shell.log"))
	if err != nil || !strings.Contains(string(raw), `"msg":"access"`) || strings.Contains(string(raw), "session error") {
		t.Errorf("log: %s, %v", raw, err)
	}
}

// TestOpenSSHPrograms: every row of the table in wire/gitlab-shell.md §8.
func TestOpenSSHPrograms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Handle(internalapi.PathAuthorizedKeys, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("key") {
		case "AAAAknown=":
			_ = json.NewEncoder(w).Encode(internalapi.AuthorizedKey{ID: 7, Key: "ssh-ed25519 AAAAknown= Ada (git.example.test)"})
		case "AAAAevil=":
			_ = json.NewEncoder(w).Encode(internalapi.AuthorizedKey{ID: 8, Key: "ssh-ed25519 AAAA\nssh-ed25519 BBBB"})
		default:
			http.Error(w, `{"message":"404 Key Not Found"}`, http.StatusNotFound)
		}
	})
	const options = `no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty`
	shell := filepath.Join(s.root, "bin", "gitlab-shell")
	keys := func(p app.Process) int { return app.KeysCheck(t.Context(), p) }
	for _, tc := range []struct {
		name    string
		program func(app.Process) int
		args    []string
		want    result
	}{
		{"known key", keys, []string{"git", "git", "AAAAknown="},
			result{0, fmt.Sprintf("command=\"%s key-7\",%s ssh-ed25519 AAAAknown= Ada (git.example.test)\n", shell, options), ""}},
		{"unknown key", keys, []string{"git", "git", "AAAAother="}, result{0, "# No key was found for AAAAother=\n", ""}},
		{"line break in the answer", keys, []string{"git", "git", "AAAAevil="}, result{0, "# No key was found for AAAAevil=\n", ""}},
		{"line break in the key", keys, []string{"git", "git", "a\nb"}, result{0, "# No key was found for ab\n", ""}},
		{"another user", keys, []string{"git", "root", "AAAAknown="}, result{}},
		{"two arguments", keys, []string{"git", "git"},
			result{1, "", "# Insufficient arguments. 2. Usage\n#\tgitlab-shell-authorized-keys-check <expected-username> <actual-username> <key>\n"}},
		{"no user", keys, []string{"git", "", "k"}, result{1, "", "# No username provided\n"}},
		{"no expected user", keys, []string{"", "git", "k"}, result{1, "", "# No username provided\n"}},
		{"no key", keys, []string{"git", "git", ""}, result{1, "", "# No key provided\n"}},
		{"principals", app.PrincipalsCheck, []string{"ada", "sshUsers", "git"},
			result{0, fmt.Sprintf("command=\"%[1]s username-ada\",%[2]s sshUsers\ncommand=\"%[1]s username-ada\",%[2]s git\n", shell, options), ""}},
		{"no principal", app.PrincipalsCheck, []string{"ada"},
			result{1, "", "# Insufficient arguments. 1. Usage\n#\tgitlab-shell-authorized-principals-check <key-id> <principal1> [<principal2>...]\n"}},
		{"no id", app.PrincipalsCheck, []string{"", "p"}, result{1, "", "# No key_id provided\n"}},
		{"empty principal", app.PrincipalsCheck, []string{"ada", "p", ""}, result{1, "", "# An invalid principal was provided\n"}},
		{"bad id", app.PrincipalsCheck, []string{`ada" ssh-rsa`, "p"}, result{1, "", plainBox(`invalid key_id: ada" ssh-rsa`)}},
	} {
		p, stdout, stderr := s.process(tc.args...)
		exit := tc.program(p)
		if diff := cmp.Diff(tc.want, result{exit, stdout.String(), stderr.String()}, cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	s.api.Answer(internalapi.PathAuthorizedKeys, http.StatusBadRequest, `{}`)
	p, stdout, _ := s.process("git", "git", "AAAAknown=")
	if exit := app.KeysCheck(t.Context(), p); exit != 0 || stdout.String() != "# No key was found for AAAAknown=\n" {
		t.Errorf("API broken: %d %q", exit, stdout)
	}
	s.write(t, "config.yml", "nonsense: 1\n")
	for name, program := range map[string]func(app.Process) int{"keys": keys, "principals": app.PrincipalsCheck} {
		p, stdout, stderr := s.process("git", "git", "k")
		if exit := program(p); exit != 1 || stdout.String() != "" || stderr.String() != "failed to read config, exiting\n" {
			t.Errorf("%s without configuration: %d %q %q", name, exit, stdout, stderr)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	check := func() result {
		p, stdout, stderr := s.process()
		exit := app.Check(t.Context(), p)
		return result{exit, stdout.String(), stderr.String()}
	}
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   result
	}{
		{"well", 200, `{"api_version":"v4","redis":true}`, result{0, "Internal API available: OK\nRedis available via internal API: OK\n", ""}},
		{"no Redis", 200, `{"api_version":"v4","redis":false}`, result{1, "Internal API available: OK\n", "Redis available via internal API: FAILED\n"}},
		{"refused", 401, `{"message":"401 Unauthorized"}`, result{1, "", "Internal API available: FAILED - 401 Unauthorized\n"}},
	} {
		s.api.Answer(internalapi.PathCheck, tc.status, tc.body)
		if diff := cmp.Diff(tc.want, check(), cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestPrograms_version(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, program := range map[string]func(app.Process) int{
		app.ShellProgram:           func(p app.Process) int { return app.Shell(t.Context(), p) },
		app.KeysCheckProgram:       func(p app.Process) int { return app.KeysCheck(t.Context(), p) },
		app.PrincipalsCheckProgram: app.PrincipalsCheck,
		app.CheckProgram:           func(p app.Process) int { return app.Check(t.Context(), p) },
	} {
		p, stdout, _ := s.process("-version")
		if exit := program(p); exit != 0 || !regexp.MustCompile(`^`+name+` \S+-\S+\n$`).MatchString(stdout.String()) {
			t.Errorf("%s: %d %q", name, exit, stdout)
		}
	}
}
