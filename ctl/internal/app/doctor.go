package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"gitsplit/ctl/internal/doctor"
	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/services"
	"gitsplit/ctl/internal/settings"
)

// examine is `gitsplit doctor`: the installation from the outside, where it runs
// from a home, and what rails-api finds behind it.
func examine(ctx context.Context, sys System, asJSON bool) error {
	set, h, err := load(sys)
	if err != nil {
		return err
	}
	var list []doctor.Finding
	config := filepath.Join(set.Config, "rails-api.yml")
	if set.Config == "" {
		config = h.Config("rails-api.yml")
		plan := services.Plan{Home: h, Settings: set}
		list = append(list, running(set, h))
		list = append(list, doctor.Site{Home: h, Settings: set, InternalURL: plan.InternalURL()}.Examine(ctx)...)
	}
	list = append(list, behind(ctx, sys, config)...)
	return show(sys, list, asJSON)
}

func running(_ settings.Settings, h home.Home) doctor.Finding {
	if h.Locked() {
		return doctor.Finding{Check: "gitsplit", OK: true, Detail: "runs in " + h.Root}
	}
	return doctor.Finding{Check: "gitsplit", Detail: "does not run in " + h.Root, Remedy: "gitsplit up"}
}

// behind asks rails-api.
func behind(ctx context.Context, sys System, config string) (list []doctor.Finding) {
	cmd := exec.CommandContext(ctx, filepath.Join(sys.Bin, services.RailsAPI), "-config", config, "doctor", "--json") //nolint:gosec // our own program
	var stderr strings.Builder
	cmd.Env, cmd.Stderr = operatorEnv(sys), &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		return []doctor.Finding{{
			Check: "configuration of rails-api", Detail: strings.Join(strings.Fields(stderr.String()+" "+err.Error()), " "),
			Remedy: "correct " + config + ", or run: gitsplit up",
		}}
	}
	return list
}

func show(sys System, list []doctor.Finding, asJSON bool) error {
	bad := 0
	var text strings.Builder
	for _, f := range list {
		word := "ok  "
		if !f.OK {
			word, bad = "FAIL", bad+1
		}
		_, _ = fmt.Fprintf(&text, "%s  %-28s %s", word, f.Check, f.Detail)
		if !f.OK {
			_, _ = fmt.Fprintf(&text, "  →  %s", f.Remedy)
		}
		text.WriteByte('\n')
	}
	if asJSON {
		encoded, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			return fmt.Errorf("print what was found: %w", err)
		}
		text.Reset()
		text.Write(append(encoded, '\n'))
	}
	_, err := fmt.Fprint(sys.Stdout, text.String())
	if bad > 0 {
		return errors.Join(errNotReady, err)
	}
	return err
}
