// Package doctor looks at an installation from the outside, as its clients do, and at what lies in its home; what is behind the front
// doors, rails-api examines. Each finding says what is, and what to do when that is not well.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/settings"
	"gitsplit/kit/hops"
	"gitsplit/kit/secret"
)

// Finding is the answer to one question. rails-api's findings have the same form.
type Finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // of what is not well
}

// Site is what is examined.
type Site struct {
	Home     home.Home
	Settings settings.Settings
	// InternalURL is workhorse's internal listener.
	InternalURL string
}

// patience bounds each question.
const patience = 10 * time.Second

// Examine asks everything, one after the other.
func (s Site) Examine(ctx context.Context) []Finding {
	list := []Finding{}
	ask := func(check, remedy string, question func(context.Context) (string, error)) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		detail, err := question(ctx)
		f := Finding{Check: check, OK: err == nil, Detail: detail}
		if err != nil {
			f.Detail, f.Remedy = strings.Join(strings.Fields(err.Error()), " "), remedy
		}
		list = append(list, f)
	}
	log := " (see " + s.Home.Log("gitlab-workhorse") + ")"
	ask("git of this host", "apt-get install git", gitVersion)
	ask("secrets", "chmod 600 the file, or put back the one from a backup", s.secrets)
	ask("space", "make room on the file system of "+s.Home.Root, s.space)
	ask("port HTTP", "gitsplit status tells which service does not run"+log, s.http)
	ask("port HTTPS", "gitsplit status tells whether workhorse runs; see HTTPS in ctl/README.md for certificates"+log, s.https)
	ask("port SSH", "gitsplit status tells whether gitlab-sshd runs (see "+s.Home.Log("gitlab-sshd")+")", s.ssh)
	ask("external URL", "make EXTERNAL_URL lead to this host, and set the clocks", s.external)
	ask("internal API", "all services must have the same secrets: restart gitsplit"+log, s.internal)
	return list
}

func gitVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("git: %w", err)
	}
	var major, minor int
	text := strings.TrimSpace(string(out))
	if _, err := fmt.Sscanf(text, "git version %d.%d", &major, &minor); err != nil || major < 2 || major == 2 && minor < 39 {
		return "", fmt.Errorf("%s; 2.39 is the oldest that works", text)
	}
	return text, nil
}

// secrets reads the secrets as the services do.
func (s Site) secrets(context.Context) (string, error) {
	names := append(home.HostKeys(), home.ShellSecret, home.WorkhorseSecret, home.GitalyToken, home.DatabaseKey)
	var faults []error
	for _, name := range names {
		_, err := secret.Read(s.Home.Secret(name), 1)
		faults = append(faults, err)
	}
	return fmt.Sprintf("%d can be read, by us alone", len(names)), errors.Join(faults...)
}

// least is the share of a file system, in percent, that must be left.
const least = 5

func (s Site) space(context.Context) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.Home.Data(), &fs); err != nil {
		return "", fmt.Errorf("%s: %w", s.Home.Data(), err)
	}
	const gib = 1 << 30
	size := uint64(fs.Bsize)
	text := fmt.Sprintf("%.1f GiB free of %.1f GiB", float64(fs.Bavail*size)/gib, float64(fs.Blocks*size)/gib)
	if fs.Bavail*100 < fs.Blocks*least || fs.Files > 0 && fs.Ffree*100 < fs.Files*least {
		return "", fmt.Errorf("%s, and %d of %d files", text, fs.Ffree, fs.Files)
	}
	probe, err := os.CreateTemp(s.Home.Data(), ".doctor-*")
	if err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	return text + ", writable", errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func (s Site) http(ctx context.Context) (string, error) {
	return hops.Door{Addr: s.Settings.HTTPAddr()}.HTTP(ctx)
}

func (s Site) https(ctx context.Context) (string, error) {
	roots, err := hops.Roots(s.Home.Authority())
	if err != nil {
		return "", err
	}
	return hops.Door{Addr: s.Settings.HTTPSAddr()}.HTTPS(ctx, s.Settings.Host, roots)
}

func (s Site) ssh(ctx context.Context) (string, error) {
	return hops.Door{Addr: s.Settings.SSHAddr()}.SSH(ctx)
}

func (s Site) external(ctx context.Context) (string, error) {
	roots, err := hops.Roots(s.Home.Authority())
	if err != nil {
		return "", err
	}
	return hops.External(ctx, s.Settings.ExternalURL, roots)
}

func (s Site) internal(ctx context.Context) (string, error) {
	return hops.InternalAPI(ctx, s.InternalURL, s.Home.Secret(home.ShellSecret))
}
