// Package containers makes what a gitsplit of containers needs before its first
// service starts: secrets, host keys and configuration files, for the layout of
// deploy/docker-compose.yml. The home is the one of a single host, put together
// from volumes; what a service may know lies in a directory of its own below
// share, which is that service's whole directory of secrets.
//
// Host names are those of the compose files, ports those of the services.
package containers

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"text/template"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/settings"
	"gitsplit/kit/durable"
)

//go:embed templates
var templates embed.FS

// Names of the secrets that only containers have.
const (
	superuserPassword = "postgres_password"
	databasePassword  = "database_password"
	databaseURL       = "database_url"
	redisPassword     = "redis_password"
	redisURL          = "redis_url"
)

// Plan is what the files follow from.
type Plan struct {
	Home     home.Home
	Settings settings.Settings
	// Storages are the gitaly servers.
	Storages []Storage
	// Proxied says that a proxy is in front, which sends PROXY headers.
	Proxied bool
	// Composed says that the host names are those of the compose files; Write sets it.
	Composed bool
}

// Load reads the variables that only containers have.
func Load(lookup func(string) (string, bool), h home.Home, s settings.Settings) (Plan, error) {
	p := Plan{Home: h, Settings: s}
	var err error
	text, _ := lookup(VarStorages)
	if p.Storages, err = parseStorages(text); err != nil {
		return p, err
	}
	switch value, _ := lookup(VarProxied); value {
	case "", "0":
	case "1":
		p.Proxied = true
	default:
		return p, fmt.Errorf("%s: %q is neither 1 nor 0", VarProxied, value)
	}
	return p, nil
}

// Write makes the secrets that are absent, writes every configuration file anew,
// and gives each service its share of the secrets. Those of home.MakeSecrets and
// the host keys have to be there.
func (p Plan) Write() error {
	p.Composed = true
	if err := p.makeSecrets(); err != nil {
		return err
	}
	errs := []error{
		p.writeConfigs(),
		// PostgreSQL and Redis run as other users: their volumes are closed to other
		// containers instead.
		p.render("database.sql", p.share("postgres", "gitsplit.sql"), shared, p),
		p.render("redis.conf", p.share("redis", "redis.conf"), shared, p),
	}
	return errors.Join(append(errs, p.distribute()...)...)
}

// writeConfigs writes the configuration files of all services anew. They hold no
// secrets, only their paths.
func (p Plan) writeConfigs() error {
	var errs []error
	for _, storage := range p.Storages {
		errs = append(errs, p.render("gitaly.toml", p.Home.Config("gitaly-"+storage.Name+".toml"), private, struct {
			Plan
			Storage
		}{p, storage}))
	}
	for name, path := range map[string]string{
		"rails-api.yml":  p.Home.Config("rails-api.yml"),
		"workhorse.toml": p.Home.Config("workhorse.toml"),
		"shell.yml":      p.Home.Config("shell", "config.yml"),
	} {
		errs = append(errs, p.render(name, path, private, p))
	}
	return errors.Join(errs...)
}

func (Plan) render(name, path string, mode os.FileMode, data any) error {
	all, err := template.ParseFS(templates, "templates/*")
	if err != nil {
		return fmt.Errorf("configuration templates: %w", err)
	}
	var text bytes.Buffer
	if err := all.ExecuteTemplate(&text, name, data); err != nil {
		return err
	}
	return durable.WriteFile(path, text.Bytes(), mode)
}

const (
	private = 0o600
	shared  = 0o444
)

func (p Plan) makeSecrets() error {
	for _, name := range []string{superuserPassword, databasePassword, redisPassword} {
		if err := p.Home.MakeSecret(name); err != nil {
			return err
		}
	}
	urls := map[string]url.URL{
		databaseURL: {Scheme: "postgres", Host: "postgres:5432", Path: "/gitsplit", RawQuery: "sslmode=disable",
			User: url.UserPassword("gitsplit", p.secret(databasePassword))},
		redisURL: {Scheme: "redis", Host: "redis:6379", Path: "/0", User: url.UserPassword("", p.secret(redisPassword))},
	}
	for name, u := range urls {
		if err := durable.WriteFile(p.Home.Secret(name), []byte(u.String()+"\n"), private); err != nil {
			return err
		}
	}
	return nil
}

// secret returns one that was made, or "", which no service accepts.
func (p Plan) secret(name string) string {
	value, _ := p.Home.ReadSecret(name) // it was read when it was made
	return value
}

// distribute copies to each service the secrets that it may have.
func (p Plan) distribute() []error {
	shares := map[string][]string{
		"gitaly":    {home.GitalyToken, home.ShellSecret},
		"shell":     append(home.HostKeys(), home.ShellSecret),
		"workhorse": {home.WorkhorseSecret, redisPassword},
	}
	var errs []error
	for service, names := range shares {
		for _, name := range names {
			errs = append(errs, p.hand(name, p.share(service, name), private))
		}
	}
	errs = append(errs,
		p.hand(superuserPassword, p.share("postgres", "password"), shared),
		p.hand(redisPassword, p.share("redis", "password"), shared))
	return errs
}

func (p Plan) hand(name, path string, mode os.FileMode) error {
	text, err := os.ReadFile(p.Home.Secret(name))
	if err != nil {
		return err
	}
	return durable.WriteFile(path, text, mode)
}

func (p Plan) share(service, name string) string {
	return filepath.Join(p.Home.Root, "share", service, name)
}

// The methods below are for the templates.

// DatabasePassword is the password of the services' role.
func (p Plan) DatabasePassword() string { return p.secret(databasePassword) }

// RedisPassword is the password of Redis.
func (p Plan) RedisPassword() string { return p.secret(redisPassword) }

// HostKeys are the names of the SSH host keys, best first.
func (Plan) HostKeys() []string { return home.HostKeys() }

// ObjectStorage is where rails-api keeps LFS objects and attachments.
func (p Plan) ObjectStorage() string {
	return (&url.URL{Scheme: "file", Path: p.Home.Data("objects")}).String()
}

// UploadDir is where workhorse stores what rails-api will keep there.
func (p Plan) UploadDir() string { return p.Home.Data("objects", "tmp", "uploads") }

// checkHostPort refuses what would not be an address in every file it goes to.
func checkHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || !plainName(host) || port == "" || !digits(port) {
		return fmt.Errorf("%q is not host:port", text)
	}
	return nil
}
