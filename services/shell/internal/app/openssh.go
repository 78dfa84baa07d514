package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"

	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/console"
)

// restrictions are what a line for OpenSSH takes from its user (wire/gitlab-shell.md §8).
const restrictions = "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty"

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// sshLine returns a line of an authorized_keys or principals file that runs
// gitlab-shell as who, a key or a user.
func sshLine(root, who, id, value string) (string, error) {
	if !idPattern.MatchString(id) {
		return "", fmt.Errorf("invalid key_id: %s", id)
	}
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return "", errors.New("invalid value: a line break, or nothing")
	}
	shell := filepath.Join(root, "bin", ShellProgram)
	if strings.ContainsAny(shell, "\"\\\r\n \t") {
		return "", fmt.Errorf("the path %q cannot stand in a line for sshd", shell)
	}
	return fmt.Sprintf(`command="%s %s-%s",%s %s`, shell, who, id, restrictions, value), nil
}

// KeysCheck is gitlab-shell-authorized-keys-check, OpenSSH's AuthorizedKeysCommand: it
// prints the line of a key. Whatever is wrong with the look-up, the key is unknown.
func KeysCheck(ctx context.Context, p Process) int {
	if p.saidVersion(KeysCheckProgram) {
		return 0
	}
	if len(p.Args) != 3 {
		say(p.Stderr, "# Insufficient arguments. %d. Usage\n#\t%s <expected-username> <actual-username> <key>", len(p.Args), KeysCheckProgram)
		return 1
	}
	expected, actual, blob := p.Args[0], p.Args[1], p.Args[2]
	switch {
	case expected == "" || actual == "":
		say(p.Stderr, "# No username provided")
		return 1
	case blob == "":
		say(p.Stderr, "# No key provided")
		return 1
	}
	root, conf, ok := p.configured()
	if !ok {
		return 1
	}
	log, closeLog, err := conf.shellLog(KeysCheckProgram, root)
	if err != nil {
		say(p.Stderr, "failed to read config, exiting")
		return 1
	}
	defer closeLog()
	if expected != actual {
		log.WarnContext(ctx, "authorized_keys: user mismatch, denying access", slog.String("expected", expected), slog.String("actual", actual))
		return 0
	}
	line, err := p.keyLine(ctx, root, conf, blob)
	if err != nil {
		log.InfoContext(ctx, "no key", slog.Any(logging.KeyError, err))
		say(p.Stdout, "# No key was found for %s", console.Clean(strings.NewReplacer("\r", "", "\n", "").Replace(blob)))
		return 0
	}
	say(p.Stdout, "%s", line)
	return 0
}

func (p Process) keyLine(ctx context.Context, root string, conf Config, blob string) (string, error) {
	api, err := newAPI(conf, nil)
	if err != nil {
		return "", err
	}
	defer api.Close()
	key, err := api.AuthorizedKeys(ctx, blob)
	if err != nil {
		return "", err
	}
	return sshLine(root, "key", fmt.Sprint(key.ID), key.Key)
}

// configured reads the configuration of the programs that OpenSSH starts.
func (p Process) configured() (root string, conf Config, ok bool) {
	root, err := p.root()
	if err == nil {
		conf, err = load(root, p.LookupEnv)
	}
	if err != nil {
		say(p.Stderr, "failed to read config, exiting")
	}
	return root, conf, err == nil
}

// PrincipalsCheck is gitlab-shell-authorized-principals-check, OpenSSH's
// AuthorizedPrincipalsCommand: it prints a line for each principal, which runs
// gitlab-shell as the user that the certificate names.
func PrincipalsCheck(p Process) int {
	if p.saidVersion(PrincipalsCheckProgram) {
		return 0
	}
	if len(p.Args) < 2 {
		say(p.Stderr, "# Insufficient arguments. %d. Usage\n#\t%s <key-id> <principal1> [<principal2>...]", len(p.Args), PrincipalsCheckProgram)
		return 1
	}
	id, principals := p.Args[0], p.Args[1:]
	if id == "" {
		say(p.Stderr, "# No key_id provided")
		return 1
	}
	for _, principal := range principals {
		if principal == "" {
			say(p.Stderr, "# An invalid principal was provided")
			return 1
		}
	}
	root, _, ok := p.configured()
	if !ok {
		return 1
	}
	for _, principal := range principals {
		line, err := sshLine(root, "username", id, principal)
		if err != nil {
			_ = console.Refusal(p.Stderr, err.Error()) // sshd takes it away
			return 1
		}
		say(p.Stdout, "%s", line)
	}
	return 0
}

// Check is gitlab-shell-check: it asks the internal API whether it is well.
func Check(ctx context.Context, p Process) int {
	if p.saidVersion(CheckProgram) {
		return 0
	}
	_, conf, ok := p.configured()
	if !ok {
		return 1
	}
	api, err := newAPI(conf, nil)
	if err != nil {
		say(p.Stderr, "Internal API available: FAILED - %v", err)
		return 1
	}
	defer api.Close()
	state, err := api.Check(ctx)
	if err != nil {
		say(p.Stderr, "Internal API available: FAILED - %v", err)
		return 1
	}
	say(p.Stdout, "Internal API available: OK")
	if !state.Redis {
		say(p.Stderr, "Redis available via internal API: FAILED")
		return 1
	}
	say(p.Stdout, "Redis available via internal API: OK")
	return 0
}
