package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"gitsplit/kit/config"
)

// Version is sent to rails-api in Gitlab-Workhorse and printed by -version. The
// build sets it.
var Version = "dev"

// Exit codes (wire/workhorse.md §1.1).
const (
	exitOK     = 0
	exitFailed = 1 // while running
	exitUsage  = 2 // bad flag or configuration
)

// Main is the command: it runs workhorse until ctx ends, and returns the exit
// code. Messages about flags and configuration go to stderr as text; from then on
// stderr carries the log.
func Main(ctx context.Context, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) int {
	cmd, err := parse(args, lookupEnv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "gitlab-workhorse: %v\n", err)
		return exitUsage
	case cmd.version:
		_, _ = fmt.Fprintf(stdout, "gitlab-workhorse %s\n", Version)
		return exitOK
	case cmd.check:
		_, _ = fmt.Fprintln(stdout, "configuration ok")
		return exitOK
	}
	if err := run(ctx, cmd.config, stderr); err != nil {
		_, _ = fmt.Fprintf(stderr, "gitlab-workhorse: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func run(ctx context.Context, c Config, stderr io.Writer) (err error) {
	log, closeLog, err := c.openLog(stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	redis.SetLogger(libraryLog{log}) // one for the process
	a, err := New(ctx, c, log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// command is what the command line asks for.
type command struct {
	config  Config
	version bool
	check   bool
}

// parse reads flags, file and environment.
func parse(args []string, lookupEnv func(string) (string, bool), stderr io.Writer) (command, error) {
	cmd := command{config: Defaults()}
	given := Defaults() // what the flags say
	fs := flag.NewFlagSet("gitlab-workhorse", flag.ContinueOnError)
	fs.SetOutput(stderr)
	file := fs.String("config", "", "TOML configuration file")
	fs.BoolVar(&cmd.version, "version", false, "print the version and exit")
	fs.BoolVar(&cmd.check, "check-config", false, "check the configuration and exit")
	settings := settingFlags(fs, &given)
	if err := fs.Parse(args); err != nil {
		return cmd, err
	}
	if fs.NArg() > 0 {
		return cmd, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if cmd.version {
		return cmd, nil
	}
	o := config.Options{File: *file, EnvPrefix: "WORKHORSE", LookupEnv: lookupEnv}
	if err := config.Load((*unjudged)(&cmd.config), o); err != nil {
		return cmd, err
	}
	fs.Visit(func(f *flag.Flag) {
		if apply, ok := settings[f.Name]; ok {
			apply(&cmd.config)
		}
	})
	return cmd, cmd.config.Validate()
}

// unjudged is a Config without Validate: the flags are laid over it first.
type unjudged Config

// settingFlags defines the flags that are settings. The functions it returns,
// by flag name, copy the flag's value to a configuration.
func settingFlags(fs *flag.FlagSet, g *Config) map[string]func(*Config) {
	timeout := time.Duration(g.ProxyHeadersTimeout)
	fs.StringVar(&g.SecretPath, "secretPath", g.SecretPath, "file of the secret shared with rails-api")
	fs.StringVar(&g.ListenNetwork, "listenNetwork", g.ListenNetwork, "network to listen on: tcp, tcp4, tcp6 or unix")
	fs.StringVar(&g.ListenAddr, "listenAddr", g.ListenAddr, "address to listen on")
	fs.StringVar(&g.ListenUmask, "listenUmask", g.ListenUmask, "what the mode of Unix sockets leaves out of 0777")
	fs.StringVar(&g.AuthBackend, "authBackend", g.AuthBackend, "URL of rails-api")
	fs.StringVar(&g.AuthSocket, "authSocket", g.AuthSocket, "Unix socket of rails-api")
	fs.StringVar(&g.CableBackend, "cableBackend", g.CableBackend, "URL of the backend of web sockets")
	fs.StringVar(&g.CableSocket, "cableSocket", g.CableSocket, "Unix socket of the backend of web sockets")
	fs.DurationVar(&timeout, "proxyHeadersTimeout", timeout, "how long rails-api may take to begin an answer")
	queue, polling := time.Duration(g.APIQueueDuration), time.Duration(g.APICILongPollingDuration)
	fs.IntVar(&g.APILimit, "apiLimit", g.APILimit, "requests for CI jobs served at once; 0 is no limit")
	fs.IntVar(&g.APIQueueLimit, "apiQueueLimit", g.APIQueueLimit, "requests for CI jobs that may wait beyond those")
	fs.DurationVar(&queue, "apiQueueDuration", queue, "how long they may wait")
	fs.DurationVar(&polling, "apiCiLongPollingDuration", polling, "how long a runner is held back while there is no job; 0 is off")
	fs.StringVar(&g.DocumentRoot, "documentRoot", g.DocumentRoot, "directory of static files and error pages")
	fs.BoolVar(&g.PropagateCorrelationID, "propagateCorrelationID", g.PropagateCorrelationID,
		"adopt X-Request-Id of public requests")
	fs.StringVar(&g.PrometheusListenAddr, "prometheusListenAddr", g.PrometheusListenAddr,
		"address of metrics and probes")
	fs.StringVar(&g.LogFile, "logFile", g.LogFile, "file of the log, instead of stderr")
	fs.StringVar(&g.LogFormat, "logFormat", g.LogFormat, "format of the log: json, structured, text or none")
	return map[string]func(*Config){
		"logFile":                  func(c *Config) { c.LogFile = g.LogFile },
		"logFormat":                func(c *Config) { c.LogFormat = g.LogFormat },
		"apiLimit":                 func(c *Config) { c.APILimit = g.APILimit },
		"apiQueueLimit":            func(c *Config) { c.APIQueueLimit = g.APIQueueLimit },
		"apiQueueDuration":         func(c *Config) { c.APIQueueDuration = config.Duration(queue) },
		"apiCiLongPollingDuration": func(c *Config) { c.APICILongPollingDuration = config.Duration(polling) },
		"documentRoot":             func(c *Config) { c.DocumentRoot = g.DocumentRoot },
		"secretPath":               func(c *Config) { c.SecretPath = g.SecretPath },
		"listenNetwork":            func(c *Config) { c.ListenNetwork = g.ListenNetwork },
		"listenAddr":               func(c *Config) { c.ListenAddr = g.ListenAddr },
		"listenUmask":              func(c *Config) { c.ListenUmask = g.ListenUmask },
		"authBackend":              func(c *Config) { c.AuthBackend = g.AuthBackend },
		"cableBackend":             func(c *Config) { c.CableBackend = g.CableBackend },
		"cableSocket":              func(c *Config) { c.CableSocket = g.CableSocket },
		"authSocket":               func(c *Config) { c.AuthSocket = g.AuthSocket },
		"proxyHeadersTimeout":      func(c *Config) { c.ProxyHeadersTimeout = config.Duration(timeout) },
		"propagateCorrelationID":   func(c *Config) { c.PropagateCorrelationID = g.PropagateCorrelationID },
		"prometheusListenAddr":     func(c *Config) { c.PrometheusListenAddr = g.PrometheusListenAddr },
	}
}
