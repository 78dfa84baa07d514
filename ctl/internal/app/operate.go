package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/services"
	"gitsplit/ctl/internal/settings"
)

// operations are the commands that the owner of the database does: rails-api.
func operations() map[string]bool {
	return map[string]bool{"admin": true, "backup": true, "restore": true, "storage": true, "project": true}
}

// operate hands a command to rails-api, with the configuration of this
// installation, and is that program from then on.
func operate(ctx context.Context, sys System, args []string) error {
	if args[0] == "storage" || args[0] == "project" { // short for what operators do most
		args = append([]string{"admin"}, args...)
	}
	set, h, err := load(sys)
	if err != nil {
		return err
	}
	if args[0] == "restore" && set.Config == "" && !onlyReads(args) {
		return restore(ctx, sys, set, h, args)
	}
	config, err := railsConfig(set, h)
	if err != nil {
		return err
	}
	program := filepath.Join(sys.Bin, services.RailsAPI)
	err = sys.Exec(program, append([]string{services.RailsAPI}, railsArgs(h, config, args)...), operatorEnv(sys))
	return fmt.Errorf("run %s: %w", program, err)
}

// onlyReads reports whether a restore does nothing to the installation.
func onlyReads(args []string) bool {
	return slices.Contains(args, "--check") || slices.Contains(args, "-check") || slices.Contains(args, "help") || slices.Contains(args, "--help")
}

// railsArgs are rails-api's arguments for a command; backups are told where the
// secrets are.
func railsArgs(h home.Home, config string, args []string) []string {
	line := []string{"-config", config, args[0]}
	if dir := h.Secret(""); args[0] == "backup" || args[0] == "restore" {
		if _, err := os.Stat(dir); err == nil {
			line = append(line, "--secrets", dir)
		}
	}
	return append(line, args[1:]...)
}

// operatorEnv is the environment without what seeds a password.
func operatorEnv(sys System) []string {
	return slices.DeleteFunc(slices.Clone(sys.Environ), func(item string) bool { return strings.HasPrefix(item, settings.VarPassword+"=") })
}

// railsConfig is the configuration file of the installation, whose services run.
func railsConfig(set settings.Settings, h home.Home) (string, error) {
	if set.Config != "" {
		return filepath.Join(set.Config, "rails-api.yml"), nil
	}
	file := h.Config("rails-api.yml")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("there is nothing in %s yet; run: gitsplit up", h.Root)
	}
	if !h.Locked() {
		return "", fmt.Errorf("gitsplit is not running in %s; run: gitsplit up", h.Root)
	}
	return file, nil
}
