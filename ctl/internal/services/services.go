// Package services knows the processes of gitsplit: their programs, command
// lines, configuration files, environment, order, and how each is asked whether it
// is ready. Everything that has to agree between two services (socket names,
// secrets, addresses) is decided here, in one place.
//
// The order follows from who cannot start without whom: rails-api needs its
// database for the migrations, sidekiq and workhorse what rails-api has made
// ready, gitlab-sshd asks through workhorse. gitaly needs nothing: it calls
// workhorse only while it serves a push. Stopping is the same in reverse, so that
// requests end before what they are relayed to.
package services

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/pg"
	"gitsplit/ctl/internal/settings"
)

// Plan is what the definitions follow from.
type Plan struct {
	Home     home.Home
	Settings settings.Settings
	Postgres pg.Cluster
	// Redis is the path of redis-server.
	Redis string
	// Bin is the directory of our own programs.
	Bin string
	// Environ is the environment of gitsplit, in the form of os.Environ.
	Environ []string
}

// Names of the processes, in the order in which they are shown.
const (
	Postgres  = "postgres"
	Redis     = "redis"
	Gitaly    = "gitaly"
	RailsAPI  = "rails-api"
	Sidekiq   = "sidekiq"
	Workhorse = "gitlab-workhorse"
	SSHD      = "gitlab-sshd"
)

// Names returns all processes in the order in which they are shown.
func Names() []string {
	return []string{Postgres, Redis, Gitaly, RailsAPI, Sidekiq, Workhorse, SSHD}
}

// Ours reports whether the process is one of our Go programs.
func Ours(name string) bool { return name != Postgres && name != Redis }

// Socket returns the path of a socket.
func (p Plan) Socket(name string) string { return p.Home.Socket(name + ".sock") }

// ProbeAddr is where a service serves its probes and metrics.
func (p Plan) ProbeAddr(name string) string { return "unix:" + p.Socket(name+"-probe") }

// InternalURL is where gitlab-sshd and gitaly reach the internal API.
func (p Plan) InternalURL() string {
	return "http+unix://" + url.PathEscape(p.Socket("workhorse-internal"))
}

// ObjectStorage is where rails-api keeps LFS objects and attachments.
func (p Plan) ObjectStorage() string {
	if p.Settings.ObjectStorage != "" {
		return p.Settings.ObjectStorage
	}
	return (&url.URL{Scheme: "file", Path: p.Home.Data("objects")}).String()
}

// UploadDir is where workhorse stores what rails-api will keep there.
func (p Plan) UploadDir() string { return p.Home.Data("objects", "tmp", "uploads") }

// CheckPrograms reports every program of ours that is not there.
func CheckPrograms(bin string) error {
	var missing []string
	for _, name := range []string{Gitaly, "gitaly-hooks", "gitaly-linguist", RailsAPI, Sidekiq, Workhorse, SSHD} {
		info, err := os.Stat(filepath.Join(bin, name))
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("not found in %s: %s; run: make build", bin, strings.Join(missing, ", "))
}
