package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"gitsplit/kit/errs"
)

// shell is a repository that is reached over SSH. It is a Remote. The key and the
// conversation stay in this process: git gets a socket, so there is no program to
// start with options, and no file that holds a key.
type shell struct {
	endpoint *Endpoint
	path     string
	config   *ssh.ClientConfig
}

// CheckAny is Check for requests that may also name a repository by ssh://. Such a
// one needs a key, or a password in the URL, and the server's own key among the
// known hosts; without, it is errs.Invalid.
func (p Policy) CheckAny(ctx context.Context, t Target) (Remote, error) {
	if !strings.HasPrefix(t.URL, "ssh://") {
		return p.Check(ctx, t)
	}
	u, err := parse(t.URL, "ssh")
	if err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" || u.RawQuery != "" || strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errs.New(errs.Invalid, "the URL of the remote has no valid path")
	}
	e := &Endpoint{host: u.Hostname(), port: u.Port()}
	if e.port == "" {
		e.port = "22"
	}
	s := &shell{endpoint: e, path: u.Path, config: &ssh.ClientConfig{User: "git", Timeout: headerTimeout}}
	password, _ := u.User.Password()
	e.secrets = []string{password}
	if name := u.User.Username(); name != "" {
		s.config.User = name
	}
	if s.config.Auth, err = methods(t.Key, password); err != nil {
		return nil, err
	}
	if err := s.trust(t.KnownHosts); err != nil {
		return nil, err
	}
	e.addresses, err = p.resolve(ctx, e.host, t.Resolved)
	return s, err
}

// methods are the ways to prove who we are.
func methods(key, password string) ([]ssh.AuthMethod, error) {
	var list []ssh.AuthMethod
	if key != "" {
		signer, err := ssh.ParsePrivateKey([]byte(key))
		if err != nil { // its text could quote the key
			return nil, errs.New(errs.Invalid, "the SSH key cannot be read")
		}
		list = append(list, ssh.PublicKeys(signer))
	}
	if password != "" {
		list = append(list, ssh.Password(password))
	}
	if len(list) == 0 {
		return nil, errs.New(errs.Invalid, "a remote over SSH needs a key or a password")
	}
	return list, nil
}

// trust accepts the server's keys that known holds, and no other.
func (s *shell) trust(known string) error {
	fd, err := unix.MemfdCreate("known_hosts", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("read known hosts: %w", err)
	}
	file := os.NewFile(uintptr(fd), "known_hosts")
	defer func() { _ = file.Close() }()
	if _, err := file.WriteString(known); err != nil {
		return fmt.Errorf("read known hosts: %w", err)
	}
	check, err := knownhosts.New(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return errs.New(errs.Invalid, "the known hosts cannot be read")
	}
	algorithms, err := knownAlgorithms(check, net.JoinHostPort(s.endpoint.host, s.endpoint.port))
	if err != nil {
		return err
	}
	s.config.HostKeyCallback, s.config.HostKeyAlgorithms = check, algorithms
	return nil
}

// knownAlgorithms lists what a host may prove itself with: a server that has other
// keys too must not choose one of those.
func knownAlgorithms(check ssh.HostKeyCallback, host string) ([]string, error) {
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, fmt.Errorf("ask known hosts: %w", err)
	}
	var unlike *knownhosts.KeyError
	if err := check(host, &net.TCPAddr{}, nobody); !errors.As(err, &unlike) || len(unlike.Want) == 0 {
		return nil, errs.New(errs.Invalid, "the known hosts have no key of the remote's server")
	}
	var list []string
	for _, known := range unlike.Want {
		if known.Key.Type() == ssh.KeyAlgoRSA {
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		list = append(list, known.Key.Type())
	}
	return list, nil
}

func (s *shell) describe(ctx context.Context, service *Service) (Facts, error) {
	return describeListed(ctx, service, s)
}

func (s *shell) connect(context.Context) (*line, error) {
	l, conn, err := wakeable()
	if err != nil {
		return nil, err
	}
	l.conceal = s.endpoint.Conceal
	l.serve = func(ctx context.Context, subcommand string) error {
		defer func() { _ = conn.Close() }()
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		command := "git-upload-pack"
		if subcommand == "push" {
			command = "git-receive-pack"
		}
		err := s.converse(ctx, command+" "+quote(s.path), conn)
		if err != nil && ctx.Err() == nil {
			return errs.Wrap(errs.FailedPrecondition, s.endpoint.Conceal("remote over SSH: "+err.Error()), err)
		}
		return err
	}
	return l, nil
}

// converse runs a command at the server between git's end of the socket and ours.
func (s *shell) converse(ctx context.Context, command string, conn io.ReadWriter) error {
	tcp, err := s.endpoint.DialContext(ctx, "tcp", "")
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	address := net.JoinHostPort(s.endpoint.host, s.endpoint.port)
	c, channels, requests, err := ssh.NewClientConn(idle{tcp}, address, s.config)
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	client := ssh.NewClient(c, channels, requests)
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	_ = session.Setenv("GIT_PROTOCOL", "version=2") // a server that does not take it speaks the older one
	var stderr firstBytes
	in, err := session.StdinPipe()
	if err != nil {
		return err
	}
	session.Stdout, session.Stderr = conn, &stderr
	if err := session.Start(command); err != nil {
		return err
	}
	go func() { // ends when the socket is closed, by git or by our caller
		_, _ = io.Copy(in, conn)
		_ = in.Close()
	}()
	if err := session.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(stderr)))
	}
	return nil
}

// quote makes one word of a path for the server's shell, as git does (sq_quote).
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// idle ends a connection on which nothing comes for too long.
type idle struct{ net.Conn }

func (c idle) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idleBound)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// firstBytes keeps the beginning of what is written.
type firstBytes []byte

func (b *firstBytes) Write(p []byte) (int, error) {
	const limit = 1 << 10
	if room := limit - len(*b); room > 0 {
		*b = append(*b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
