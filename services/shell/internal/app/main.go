package app

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"gitsplit/kit/logging"
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
	log, err := logging.New(stderr, logging.Options{Service: program, Level: conf.LogLevel})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "starting", slog.Any("config", conf.masked()))
	a, err := New(conf, log) //nolint:contextcheck // opening a listener does not wait
	if err != nil {
		return err
	}
	return a.Run(ctx)
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
