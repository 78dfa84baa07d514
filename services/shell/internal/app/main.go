package app

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/session"
)

// Main is gitlab-sshd: it reads args, starts the daemon and returns when ctx has
// ended and everything is stopped. The log goes to stderr, answers to stdout.
func Main(ctx context.Context, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("config-dir", "", "directory of "+configName)
	check := flags.Bool("check-config", false, "check the configuration and exit")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		v, built := version()
		_, err := fmt.Fprintf(stdout, "%s %s-%s\n", program, v, built)
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return fmt.Errorf("usage: %s -config-dir DIR [-check-config]", program)
	}
	conf, err := load(*dir, lookupEnv)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if *check {
		_, err := conf.secret()
		return err
	}
	out, closeLog := conf.logFile(stderr)
	defer closeLog()
	log, err := conf.logger(program, out)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "starting", slog.Any("config", conf.masked()))
	flag, _ := lookupEnv(groupCertificatesFlag)
	a, err := New(conf, flag == "1", log) //nolint:contextcheck // opening a listener does not wait
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// groupCertificatesFlag is the variable that opens logins with certificates of groups
// when it is 1 (wire/gitlab-shell.md §7).
const groupCertificatesFlag = "FF_GITLAB_SHELL_SSH_CERTIFICATES"

// logFile opens the log, or returns instead what is given.
func (c *Config) logFile(instead io.Writer) (w io.Writer, closeLog func()) {
	if c.LogFile == "" {
		return instead, func() {}
	}
	f, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return instead, func() {}
	}
	return f, func() { _ = f.Close() } // its lines are written
}

func (c *Config) logger(service string, w io.Writer) (*slog.Logger, error) {
	return logging.New(w, logging.Options{Service: service, Level: c.LogLevel, Text: c.LogFormat == "text"})
}

func (c *Config) tokens() session.Tokens {
	return session.Tokens{Enabled: c.PAT.Enabled, Scopes: c.PAT.AllowedScopes}
}

// version returns the version and the time of its commit, as the go tool noted them.
func version() (version, built string) {
	version, built = "0.0.0", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, built
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			built = s.Value
		}
	}
	return version, built
}
