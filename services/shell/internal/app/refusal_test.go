package app_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/internalapi"
)

// box is the frame around a failure, byte for byte (wire/gitlab-shell.md §4).
func box(text string) string {
	const ruler = "remote: ========================================================================\n"
	return "remote: \n" + ruler + "remote: \nremote: ERROR: " + text + "\n\nremote: \n" + ruler + "remote: \n"
}

func TestCommands(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	const notFound = "The project you were looking for could not be found or you don't have permission to view it."
	w.api.Answer(allowedPath, http.StatusNotFound, `{"status":false,"message":"`+notFound+`"}`)
	for _, tc := range []struct {
		name    string
		command []string
		want    result
	}{
		{"greeting", nil, result{0, "Welcome to GitLab, @ada!\n", ""}},
		{"greeting by name", []string{"discover"}, result{0, "Welcome to GitLab, @ada!\n", ""}},
		{"shell command", []string{"ls -la"}, result{128, "", box("Unknown command: ls -la")}},
		{"shell", []string{"bash -i"}, result{128, "", box("Unknown command: bash -i")}},
		{"scp", []string{"scp -t /tmp"}, result{128, "", box("Unknown command: scp -t /tmp")}},
		{"escape sequence", []string{"ls \x1b[2J"}, result{128, "", box("Unknown command: ls [2J")}},
		{"no repository", []string{"git-upload-pack"}, result{1, "", box("Disallowed command")}},
		{"two repositories", []string{"git-receive-pack a b"}, result{1, "", box("Disallowed command")}},
		{"option", []string{"git-upload-pack --exec=sh"}, result{1, "", box("Disallowed command")}},
		{"open quote", []string{"git-upload-pack 'x"}, result{128, "",
			box("Failed to parse command: Invalid SSH command: invalid command line string")}},
		{"no such project", []string{"git-upload-pack team/none.git"}, result{1, "", box(notFound)}},
		{"no such project, archive", []string{"git-upload-archive 'team/none'"}, result{1, "", box(notFound)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := w.ssh(t, append([]string{"-T", "git@127.0.0.1"}, tc.command...)...)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("ssh %q (-want +got):\n%s", tc.command, diff)
			}
		})
	}
}

func TestCommands_refusedByTheAPI(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, endpoint, command string
		status                  int
		body, want              string
	}{
		{"401", allowedPath, "git-receive-pack a", 401, `{"status":false,"message":"You can't push code to an archived project."}`,
			box("You can't push code to an archived project.")},
		{"status false", allowedPath, "git-receive-pack a", 200, `{"status":false,"message":"no","gl_console_messages":["hint"]}`,
			"remote: \nremote: hint\nremote: \n" + box("no")},
		{"several lines", allowedPath, "git-receive-pack a", 401, `{"message":"a\n\n   b"}`, box("a\n\n   b")},
		{"no message", allowedPath, "git-receive-pack a", 403, `{"error":"x"}`, box("")},
		{"no JSON", allowedPath, "git-receive-pack a", 404, `nope`, box("Internal API error (404)")},
		{"message is no string", allowedPath, "git-receive-pack a", 404, `{"message":{"error":"x"}}`, box("Internal API error (404)")},
		{"HTML", allowedPath, "git-receive-pack a", 200, `<html>`, box("parsing failed")},
		{"wrong type", allowedPath, "git-receive-pack a", 200, `{"status":"yes"}`, box("parsing failed")},
		{"empty object", allowedPath, "git-receive-pack a", 200, `{}`, box("")},
		{"no gitaly", allowedPath, "git-receive-pack a", 200, `{"status":true}`, box("no gitaly_address given")},
		{"redirect", allowedPath, "git-receive-pack a", 302, ``, box(`Internal API returned redirect (302) to ""`)},
		{"greeting refused", discoverPath, "", 403, `{"message":"no"}`, box("Failed to get username: no")},
		{"greeting is HTML", discoverPath, "", 200, `<html>`, box("Failed to get username: parsing failed")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, "")
			w.api.Answer(tc.endpoint, tc.status, tc.body)
			got := w.ssh(t, "-T", "git@127.0.0.1", tc.command)
			if diff := cmp.Diff(result{1, "", tc.want}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("ssh (-want +got):\n%s", diff)
			}
			if calls := w.gitaly.Calls(); len(calls) > 0 {
				t.Errorf("gitaly was called: %v", calls)
			}
		})
	}
}

func TestCommands_unknownUserIsAnonymous(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.api.Answer(discoverPath, 200, "null")
	if got, want := w.ssh(t, "-T", "git@127.0.0.1"), (result{0, "Welcome to GitLab, Anonymous!\n", ""}); got != want {
		t.Errorf("ssh: got %+v, want %+v", got, want)
	}
}

func TestLogin_openSSH(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	stranger := w.newKey(t, "stranger", 0)
	for _, tc := range []struct {
		name string
		args []string
		want result
	}{
		{"unknown key", append(w.sshArgs(stranger), "git@127.0.0.1"), denied("git")},
		{"another user", append(w.sshArgs(w.key), "root@127.0.0.1"), denied("root")},
		{"password only", append(w.sshArgs(w.key), "-o", "PreferredAuthentications=password,keyboard-interactive", "git@127.0.0.1"), denied("git")},
		{"second key", append(w.sshArgs(stranger, w.key), "-T", "git@127.0.0.1"), result{0, "Welcome to GitLab, @ada!\n", ""}},
		{"subsystem", append(w.sshArgs(w.key), "-s", "git@127.0.0.1", "sftp"), result{255, "", "subsystem request failed on channel 0\n"}},
		{"forwarding over stdio", append(w.sshArgs(w.key), "-W", "127.0.0.1:1", "git@127.0.0.1"), result{255, "", "stdio forwarding failed\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := capture(t, exec.CommandContext(t.Context(), "ssh", tc.args...))
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("ssh (-want +got):\n%s", diff)
			}
		})
	}
}

func denied(user string) result {
	return result{255, "", user + "@127.0.0.1: Permission denied (publickey).\n"}
}

// The attack of CVE-2024-45337: offer a key that one has not got, then sign with
// one's own. The server must not mistake the first for the user.
func TestLogin_someoneElsesKeyFirst(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	victim := w.newKey(t, "victim", 1)
	if err := os.Remove(victim); err != nil { // the public half is all the attacker has
		t.Fatal(err)
	}
	args := append(w.sshArgs(victim+".pub", w.key), "-o", "LogLevel=DEBUG2", "-T", "git@127.0.0.1")
	got := capture(t, exec.CommandContext(t.Context(), "ssh", args...))
	if got.exit != 0 {
		t.Fatalf("ssh: %+v", got)
	}
	if n := len(w.api.Hits(internalapi.PathAuthorizedKeys)); n < 2 {
		t.Fatalf("%d key look-ups: the victim's key was not offered:\n%s", n, got.stderr)
	}
	if hits := w.api.Hits(discoverPath); len(hits) != 1 || hits[0].Query != "key_id=7" {
		t.Errorf("the session ran as %+v, want key 7", hits)
	}
}

func TestHostKey_survivesRestart(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	before, err := os.ReadFile(filepath.Join(w.dir, "host_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	if err := <-w.stopped; err != nil {
		t.Fatal(err)
	}
	w.serve(t)
	if after, _ := os.ReadFile(filepath.Join(w.dir, "host_ed25519")); string(after) != string(before) {
		t.Error("the second start has another host key")
	}
}
