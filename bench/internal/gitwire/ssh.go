package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Phases says when each part of an SSH session was over, from its begin.
type Phases struct {
	Exchange time.Duration // key exchange, and the server's proof of its host key
	Key      time.Duration // the server knows the key and wants a signature
	Login    time.Duration // the signature is good
	First    time.Duration // first byte of the command's output
	End      time.Duration // exit status
}

// Shell is an SSH server, and who logs in.
type Shell struct {
	Addr, User string
	From       string // local address to come from; "" is any
	Signer     ssh.Signer
}

// NewShell reads the private key in a file.
func NewShell(addr, user, keyFile string) (Shell, error) {
	raw, err := os.ReadFile(keyFile) //nolint:gosec // made for this run
	if err != nil {
		return Shell{}, err
	}
	signer, err := ssh.ParsePrivateKey(raw)
	return Shell{Addr: addr, User: user, Signer: signer}, err
}

// keyExchange is the same with all servers.
const keyExchange = "curve25519-sha256"

// Dial logs in. The phases up to the login are written to ph, if not nil.
func (s Shell) Dial(ctx context.Context, ph *Phases) (*ssh.Client, error) {
	if ph == nil {
		ph = new(Phases)
	}
	began := time.Now()
	var d net.Dialer
	if s.From != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(s.From)}
	}
	conn, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	cfg := &ssh.ClientConfig{
		User: s.User, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Config: ssh.Config{KeyExchanges: []string{keyExchange}},
		Auth: []ssh.AuthMethod{ssh.PublicKeys(timedSigner{s.Signer, func() { ph.Key = time.Since(began) }})},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error {
			ph.Exchange = time.Since(began)
			return nil
		},
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, s.Addr, cfg)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	ph.Login = time.Since(began)
	return ssh.NewClient(c, chans, reqs), nil
}

// timedSigner tells when the client is asked to sign: the server has accepted the key.
type timedSigner struct {
	ssh.Signer
	asked func()
}

func (t timedSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	t.asked()
	return t.Signer.Sign(rand, data)
}

// SignWithAlgorithm keeps ssh.MultiAlgorithmSigner's cousin visible through the wrapper.
func (t timedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	t.asked()
	if a, ok := t.Signer.(ssh.AlgorithmSigner); ok {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return t.Signer.Sign(rand, data)
}

// Session is one command, as a Pipe.
type Session struct {
	s     *ssh.Session
	in    io.WriteCloser
	out   io.Reader
	first atomic.Int64 // when the first byte came, UnixNano
}

// Command starts a command of git with protocol v2 on a logged-in connection.
func Command(c *ssh.Client, command string) (*Session, error) {
	s, err := c.NewSession()
	if err != nil {
		return nil, err
	}
	p := &Session{s: s}
	if err := s.Setenv("GIT_PROTOCOL", "version=2"); err != nil {
		return nil, errors.Join(fmt.Errorf("set GIT_PROTOCOL: %w", err), s.Close())
	}
	if p.in, err = s.StdinPipe(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if p.out, err = s.StdoutPipe(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Start(command); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

func (p *Session) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if n > 0 {
		p.first.CompareAndSwap(0, time.Now().UnixNano())
	}
	return n, err
}

func (p *Session) Write(b []byte) (int, error) { return p.in.Write(b) }

// CloseWrite ends the command's input.
func (p *Session) CloseWrite() error { return p.in.Close() }

// Wait returns when the command has ended, and closes the session.
func (p *Session) Wait() error {
	err := p.s.Wait()
	_ = p.s.Close() // the server has closed it
	return err
}

// First is when the first byte of output came.
func (p *Session) First() time.Time { return time.Unix(0, p.first.Load()) }
