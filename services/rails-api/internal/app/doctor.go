package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gitsplit/kit/secret"
	"gitsplit/services/rails-api/internal/admin"
	"gitsplit/services/rails-api/internal/doctor"
)

// doctor is `rails-api doctor`: what it finds, as text or with --json as an array, whose reader decides what is well.
func (b *base) doctor(ctx context.Context, s Streams, args []string) error {
	if len(args) > 1 || len(args) == 1 && !slices.Contains([]string{"--json", "-json"}, args[0]) {
		return &admin.UsageError{Text: "usage: gitsplit doctor [--json]"}
	}
	_, shell := secret.Read(b.cfg.ShellSecretFile, minSecret)
	_, workhorse := secret.ReadBase64(b.cfg.WorkhorseSecretFile, minSecret)
	_, database := secret.Read(b.cfg.DatabaseKeyFile, minSecret)
	secrets := map[string]error{"shell_secret_file": shell, "workhorse_secret_file": workhorse, "database_key_file": database}
	list := doctor.Examine(ctx, doctor.Deps{
		DB: b.db, Redis: b.redis, Gitaly: b.gitaly, Files: b.files, Now: time.Now,
		Fronts: b.cfg.Fronts, Host: b.site.External.Hostname(), Secret: b.cfg.ShellSecretFile,
	}, secrets)
	if len(args) == 0 {
		return doctor.Show(s.Out, list)
	}
	if err := json.NewEncoder(s.Out).Encode(list); err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	return nil
}
