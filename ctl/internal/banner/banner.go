// Package banner prints what a person needs to begin: addresses, credentials, and
// blocks of shell lines that make the first push over HTTP, HTTPS and SSH. The
// blocks work as they stand when pasted into bash. The secret in them is read from
// its file at the time of use; it is in no argument, URL or history.
package banner

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"net"
	"strconv"
	"text/template"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/settings"
	"gitsplit/kit/durable"
)

//go:embed banner.tmpl compose.tmpl
var files embed.FS

// Print writes the banner of a home.
func Print(w io.Writer, h home.Home, s settings.Settings) error {
	return show(w, "banner.tmpl", h, s, "")
}

// PrintCompose writes the banner of a gitsplit in containers, whose files are out
// of reach for those who read it. compose is the command that reaches the
// containers from a checkout.
func PrintCompose(w io.Writer, h home.Home, s settings.Settings, compose string) error {
	return show(w, "compose.tmpl", h, s, compose)
}

func show(w io.Writer, name string, h home.Home, s settings.Settings, compose string) error {
	password, err := h.ReadSecret(home.RootPassword)
	if err != nil {
		return err
	}
	page, err := template.ParseFS(files, name)
	if err != nil {
		return fmt.Errorf("banner: %w", err)
	}
	var text bytes.Buffer // written at once, so that no log line comes in between
	err = page.Execute(&text, map[string]string{
		"URL": s.ExternalURL, "SSHURL": s.SSHURL(), "Compose": compose,
		"Password": password, "PasswordFile": h.Secret(home.RootPassword), "TokenFile": h.Secret(home.RootToken),
		"KnownHosts": KnownHostsFile(h), "HTTPSURL": s.HTTPSURL(), "Authority": h.Authority(),
	})
	if err != nil {
		return fmt.Errorf("banner: %w", err)
	}
	_, err = w.Write(text.Bytes())
	return err
}

// KnownHostsFile is the path of a known_hosts file with our own host keys.
func KnownHostsFile(h home.Home) string { return h.Config("ssh_known_hosts") }

// WriteKnownHosts writes that file, so that a client need not trust the first
// key that it is shown.
func WriteKnownHosts(h home.Home, s settings.Settings, keys []ssh.PublicKey) error {
	names := []string{knownhosts.Normalize(net.JoinHostPort(s.Host, strconv.Itoa(int(s.SSHPort))))}
	if s.Host == "localhost" {
		names = append(names, knownhosts.Normalize(s.SSHAddr()))
	}
	var text []byte
	for _, key := range keys {
		text = append(text, knownhosts.Line(names, key)+"\n"...)
	}
	return durable.WriteFile(KnownHostsFile(h), text, 0o600)
}
