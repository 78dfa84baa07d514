package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"gitsplit/kit/config"
	"gitsplit/kit/logging"
)

// usage is what a wrong command line gets.
const usage = "usage: gitaly [serve] CONFIG_FILE | gitaly check-config CONFIG_FILE | gitaly -version"

// Main runs the command line until ctx ends. Logs go to stderr, answers to stdout.
func Main(ctx context.Context, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) error {
	command, file, err := parse(args)
	if err != nil {
		return err
	}
	if command == "version" {
		_, err := fmt.Fprintf(stdout, "Gitaly, version %s\n", Version)
		return err
	}
	cfg := DefaultConfig()
	if err := config.Load(&cfg, config.Options{File: file, EnvPrefix: "GITALY", LookupEnv: lookupEnv}); err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	if command == "check-config" {
		return nil
	}
	log, err := logging.New(stderr, logging.Options{Service: "gitaly", Level: cfg.Logging.Level})
	if err != nil {
		return err
	}
	syscall.Umask(0o077) // files and directories for this user alone (security-baseline.md C4)
	a, err := New(ctx, cfg, log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func parse(args []string) (command, file string, err error) {
	switch {
	case len(args) == 1 && (args[0] == "-version" || args[0] == "--version" || args[0] == "version"):
		return "version", "", nil
	case len(args) == 2 && (args[0] == "serve" || args[0] == "check-config"):
		return args[0], args[1], nil
	case len(args) == 1 && args[0] != "" && args[0][0] != '-':
		return "serve", args[0], nil
	}
	return "", "", errors.New(usage)
}
