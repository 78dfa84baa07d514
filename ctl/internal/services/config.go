package services

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"text/template"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/redis"
	"gitsplit/kit/durable"
)

//go:embed templates
var templates embed.FS

// WriteConfigs writes the configuration file of every service into the home, anew
// at each start, so that ports and paths are always those of this start. No file
// holds a secret, only where one is.
func (p Plan) WriteConfigs() error {
	all, err := template.ParseFS(templates, "templates/*")
	if err != nil {
		return fmt.Errorf("configuration templates: %w", err)
	}
	places := map[string]string{
		"gitaly.toml":    p.Home.Config("gitaly.toml"),
		"workhorse.toml": p.Home.Config("workhorse.toml"),
		"shell.yml":      p.Home.Config("shell", "config.yml"),
		"rails-api.yml":  p.Home.Config("rails-api.yml"),
	}
	var errs []error
	for name, path := range places {
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, name, p); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, durable.WriteFile(path, text.Bytes(), 0o600))
	}
	conf := redis.Config(p.Socket("redis"), p.Home.Data("redis"))
	errs = append(errs, durable.WriteFile(p.Home.Config("redis.conf"), []byte(conf), 0o600))
	return errors.Join(errs...)
}

// HostKeys are the names of the SSH host keys, best first; for the template.
func (Plan) HostKeys() []string { return home.HostKeys() }
