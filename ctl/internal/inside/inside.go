// Package inside is the command line of gitsplit-inside. It must stay small in the
// binary, so it does without net, fmt and templates: what there is to print, `gitsplit
// provision` has written down.
package inside

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// System is what the program gets from its surroundings.
type System struct {
	Home           string // GITSPLIT_HOME
	Compose        string // GITSPLIT_COMPOSE, the command that reaches the containers, if there is one
	Environ        []string
	Stdout, Stderr io.Writer
	// Exec replaces the process, as syscall.Exec.
	Exec func(program string, args, env []string) error
}

const usage = `gitsplit, inside a container

  gitsplit credentials       addresses, the password of root, and a first push to paste
  gitsplit show WHAT         one of: password, token, ca, known-hosts
  gitsplit admin …           accounts, tokens, keys, projects, jobs: gitsplit admin help
  gitsplit storage …         list, add, weight
  gitsplit project …         move, and the rest of gitsplit admin project
  gitsplit backup …          everything into one archive: gitsplit backup help
  gitsplit restore …         an installation of an archive, where nothing runs but PostgreSQL and gitaly
  gitsplit doctor            check every hop, and tell what to do; --json for programs,
                             --reconcile records pushes whose references moved without a trace
  gitsplit healthcheck ADDR  ask the probe listener at 127.0.0.1:port whether the service is ready
`

const (
	railsAPI = "/usr/local/bin/rails-api"
	timeout  = 3 * time.Second
)

// files are the things to show, below the home.
func files() map[string]string {
	return map[string]string{
		"credentials": "secrets/credentials", "password": "secrets/initial_root_password", "token": "secrets/initial_root_token",
		"ca": "secrets/tls/ca.crt", "known-hosts": "config/ssh_known_hosts",
	}
}

// Main runs a command and returns the exit code: 0, 1 for a failure, 2 for a wrong
// command line.
func Main(args []string, sys System) int {
	var err error
	switch {
	case len(args) == 1 && args[0] == "credentials":
		err = sys.show("credentials")
	case len(args) == 2 && args[0] == "show" && files()[args[1]] != "":
		err = sys.show(args[1])
	case len(args) == 2 && args[0] == "healthcheck":
		err = healthcheck(args[1])
	case len(args) >= 1 && slices.Contains([]string{"admin", "storage", "project", "backup", "restore", "doctor"}, args[0]):
		config := filepath.Join(sys.Home, "config", "rails-api.yml")
		err = sys.Exec(railsAPI, append([]string{"rails-api", "-config", config}, sys.railsArgs(args[0], args[1:])...), sys.Environ)
	default:
		_, _ = io.WriteString(sys.Stderr, usage)
		return 2
	}
	if err != nil {
		_, _ = io.WriteString(sys.Stderr, "gitsplit: "+err.Error()+"\n")
		return 1
	}
	return 0
}

// railsArgs is a command as rails-api knows it. Backups are told where the secrets
// are, and a restore what comes after it.
func (s System) railsArgs(command string, rest []string) []string {
	secrets := filepath.Join(s.Home, "secrets")
	switch {
	case command == "storage", command == "project":
		return append([]string{"admin", command}, rest...)
	case command == "backup":
		return append([]string{command, "--secrets", secrets}, rest...)
	case command == "restore" && s.Compose != "":
		return append([]string{command, "--secrets", secrets, "--next", s.Compose + " up -d"}, rest...)
	case command == "restore":
		return append([]string{command, "--secrets", secrets}, rest...)
	case command == "doctor" && len(rest) > 0 && rest[0] == "--reconcile":
		return append([]string{"reconcile"}, rest[1:]...)
	}
	return append([]string{command}, rest...)
}

func (s System) show(what string) error {
	text, err := os.ReadFile(filepath.Join(s.Home, files()[what]))
	if err != nil {
		return err
	}
	_, err = s.Stdout.Write(text)
	return err
}

// healthcheck returns nil if the service whose probes are at addr, on this host,
// says that it is ready, else what it says. It uses the system's calls: package net
// would be a third of the program.
func healthcheck(addr string) (err error) {
	_, digits, _ := strings.Cut(addr, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return errors.New(addr + " is not 127.0.0.1:port")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	conn := os.NewFile(uintptr(fd), addr)
	defer func() { err = errors.Join(err, conn.Close()) }()
	limit := syscall.NsecToTimeval(timeout.Nanoseconds())
	for _, option := range []int{syscall.SO_SNDTIMEO, syscall.SO_RCVTIMEO} { // SO_SNDTIMEO bounds connecting too
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, option, &limit); err != nil {
			return err
		}
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return errors.New("connect to " + addr + ": " + err.Error())
	}
	if _, err := conn.WriteString("GET /-/readiness HTTP/1.0\r\nHost: probe\r\n\r\n"); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(conn, 4096))
	if err != nil {
		return err
	}
	status, rest, _ := strings.Cut(string(text), "\r\n")
	if fields := strings.Fields(status); len(fields) > 1 && fields[1] == "200" {
		return nil
	}
	_, body, _ := strings.Cut(rest, "\r\n\r\n")
	return errors.New("not ready: " + strings.TrimSpace(body))
}
