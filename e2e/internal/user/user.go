// Package user makes users for tests as an administrator does, with everything a
// person has, and the environment in which git and ssh act as one of them.
package user

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gitsplit/e2e/stack"
)

// User has everything a person has: a password, a token, an SSH key.
type User struct {
	Stack    *stack.Stack
	ID       int64
	Username string
	Password string
	Token    string
	KeyFile  string
	KeyID    int64
}

// RandomHex returns n random bytes as text.
func RandomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// New makes a user by the REST API as an administrator does, and registers a
// key with the user's own token. Files go to dir.
func New(ctx context.Context, s *stack.Stack, name, dir string) (*User, error) {
	root, err := s.Token()
	if err != nil {
		return nil, err
	}
	a := &User{Stack: s, Username: name + "-" + RandomHex(4), Password: "pw-" + RandomHex(12)}
	var made struct {
		ID    int64  `json:"id"`
		Token string `json:"token"`
	}
	if err := s.Must(ctx, root, http.MethodPost, "users", map[string]any{
		"username": a.Username, "name": name, "email": a.Username + "@example.test", "password": a.Password, "skip_confirmation": true,
	}, &made); err != nil {
		return nil, err
	}
	a.ID = made.ID
	path := fmt.Sprintf("users/%d/personal_access_tokens", a.ID)
	if err := s.Must(ctx, root, http.MethodPost, path, map[string]any{"name": "e2e", "scopes": []string{"api"}}, &made); err != nil {
		return nil, err
	}
	a.Token = made.Token
	if a.KeyFile, err = NewKey(ctx, filepath.Join(dir, a.Username)); err != nil {
		return nil, err
	}
	a.KeyID, err = a.Register(ctx, a.KeyFile)
	return a, err
}

// NewKey makes a pair of SSH keys in file and file.pub, and returns file.
func NewKey(ctx context.Context, file string) (string, error) {
	out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", file).CombinedOutput() //nolint:gosec // test
	if err != nil {
		return "", fmt.Errorf("ssh-keygen: %w\n%s", err, out)
	}
	return file, nil
}

// Register adds the public key beside file and returns its id.
func (a *User) Register(ctx context.Context, file string) (int64, error) {
	pub, err := os.ReadFile(file + ".pub")
	if err != nil {
		return 0, err
	}
	var made struct {
		ID int64 `json:"id"`
	}
	err = a.Stack.Must(ctx, a.Token, http.MethodPost, "user/keys", map[string]any{"title": "e2e", "key": string(pub)}, &made)
	return made.ID, err
}

// Env returns the variables that make git and ssh act as a, over either
// transport. home holds known_hosts and git's global configuration.
func (a *User) Env(home string) []string {
	return []string{
		"HOME=" + home,
		"GIT_CONFIG_GLOBAL=" + filepath.Join(home, ".gitconfig"),
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=" + filepath.Join(home, AskpassName),
		"E2E_USER=" + a.Username,
		"E2E_PASSWORD=" + a.Password,
		"TOKEN=" + a.Token,
		"GIT_SSH_COMMAND=" + SSHCommand(home, a.KeyFile),
	}
}

// SSHCommand is what git runs to connect with a key.
func SSHCommand(home, key string) string {
	return strings.Join([]string{
		"ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + filepath.Join(home, "known_hosts"), "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
	}, " ")
}

// NewHome fills dir with what every client needs: git's identity, the server's
// host key and the program that answers git's questions for credentials.
func NewHome(ctx context.Context, s *stack.Stack, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	const gitconfig = "[user]\n\tname = E2E\n\temail = e2e@example.test\n[init]\n\tdefaultBranch = main\n[core]\n\tcompression = 0\n[gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n"
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte(gitconfig), 0o600); err != nil {
		return err
	}
	key := filepath.Join(s.Home, "secrets", "ssh_host_ed25519_key")
	pub, err := exec.CommandContext(ctx, "ssh-keygen", "-y", "-f", key).Output() //nolint:gosec // test
	if err != nil {
		return fmt.Errorf("read the host key: %w", err)
	}
	known := fmt.Sprintf("[%s]:%s %s", s.SSHHost, s.SSHPort, pub)
	if err := os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known), 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return os.Symlink(self, filepath.Join(dir, AskpassName))
}

// AskpassName is the name under which this test binary answers git's credential
// questions.
const AskpassName = "e2e-askpass"

// Askpass answers git; it is the whole program, and returns its exit code.
func Askpass() int {
	answer := os.Getenv("E2E_PASSWORD")
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "Username") {
		answer = os.Getenv("E2E_USER")
	}
	fmt.Println(answer)
	return 0
}
