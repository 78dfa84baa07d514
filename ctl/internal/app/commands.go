package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"gitsplit/ctl/internal/banner"
	"gitsplit/ctl/internal/containers"
	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/status"
	"gitsplit/kit/durable"
)

// initialize is `gitsplit init`.
func initialize(ctx context.Context, sys System) error {
	set, h, err := load(sys)
	if err != nil {
		return err
	}
	unlock, err := open(h)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := prepare(ctx, sys, set, h, false); err != nil {
		return err
	}
	_, err = fmt.Fprintf(sys.Stdout, "%s is ready for: gitsplit up\n", h.Root)
	return err
}

// showStatus is `gitsplit status`.
func showStatus(sys System) error {
	_, h, err := load(sys)
	if err != nil {
		return err
	}
	if !h.Locked() {
		_, err := fmt.Fprintf(sys.Stdout, "gitsplit is not running in %s\n", h.Root)
		return errors.Join(errNotReady, err)
	}
	s, err := status.Read(h.Run(statusFile))
	if errors.Is(err, os.ErrNotExist) {
		_, err := fmt.Fprintf(sys.Stdout, "gitsplit is being prepared in %s\n", h.Root)
		return errors.Join(errNotReady, err)
	}
	if err != nil {
		return err
	}
	if err := s.Show(sys.Stdout); err != nil {
		return err
	}
	if !s.AllReady() {
		return errNotReady
	}
	return nil
}

// credentials is `gitsplit credentials`.
func credentials(sys System) error {
	set, h, err := load(sys)
	if err != nil {
		return err
	}
	if _, err := os.Stat(h.Secret(home.RootPassword)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is nothing in %s yet; run: gitsplit up", h.Root)
	}
	return banner.Print(sys.Stdout, h, set)
}

// openContainers reads what containers are to be set up with, and takes the lock of
// their home.
func openContainers(sys System) (_ containers.Plan, unlock func(), err error) {
	set, h, err := load(sys)
	if err != nil {
		return containers.Plan{}, nil, err
	}
	plan, err := containers.Load(sys.LookupEnv, h, set)
	if err != nil {
		return containers.Plan{}, nil, err
	}
	unlock, err = open(h)
	return plan, unlock, err
}

// provision is `gitsplit provision`. What it prints at its end is kept beside the
// secrets, for gitsplit-inside.
func provision(sys System) error {
	plan, unlock, err := openContainers(sys)
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(makeSecrets(sys, plan.Settings, plan.Home), plan.Write()); err != nil {
		return err
	}
	compose, _ := sys.LookupEnv(containers.VarCompose)
	var text bytes.Buffer
	if err := banner.PrintCompose(&text, plan.Home, plan.Settings, compose); err != nil {
		return err
	}
	if err := durable.WriteFile(plan.Home.Secret("credentials"), text.Bytes(), 0o600); err != nil {
		return err
	}
	_, err = sys.Stdout.Write(text.Bytes())
	return err
}

// configure is `gitsplit configure`. Where the SSH host keys are, it also writes down
// their public halves for clients, for gitsplit-inside to show.
func configure(sys System) error {
	plan, unlock, err := openContainers(sys)
	if err != nil {
		return err
	}
	defer unlock()
	mounted, _ := sys.LookupEnv(containers.VarSecrets)
	if err := plan.Configure(mounted); err != nil {
		return err
	}
	keys, err := plan.Home.ReadHostKeys()
	if err != nil || len(keys) == 0 {
		return err
	}
	return banner.WriteKnownHosts(plan.Home, plan.Settings, keys)
}
