package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	osuser "os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
	"gitsplit/kit/fault"
	"gitsplit/kit/gitalyclient"
)

// site is an instance whose every connection can be cut and whose storage can be
// filled, with a user who has projects for trials.
type site struct {
	*stack.Stack
	front *stack.Stack // the same, as clients see it: behind a link
	dir   string
	watch *watch
	links map[string]*link
	user  *user.User
	home  string // of the clients
	// patience is the time until all must be settled after a fault.
	patience time.Duration
	forgiven map[string]bool // counters that wait for their expiry
	gitaly   *gitalyclient.Pool
}

// The connections that can be cut.
const (
	clientToFront   = "client and front"
	sshdToWorkhorse = "gitlab-sshd and workhorse"
	gitalyToAPI     = "gitaly and workhorse"
	workhorseToAPI  = "workhorse and rails-api"
	anyToGitaly     = "gitaly and its clients"
	apiToPostgres   = "rails-api and PostgreSQL"
	apiToRedis      = "rails-api and Redis"
)

// newSite starts an instance in a directory of its own. Its storage is a file system
// of its own if we may mount one.
func newSite(t *testing.T, extra ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "gsf") // short: sockets live below it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL's user must get through to its data
		t.Fatal(err)
	}
	s := &site{dir: dir, links: map[string]*link{}, patience: settleTime, forgiven: map[string]bool{}, home: filepath.Join(dir, "client")}
	t.Cleanup(func() { s.end(t) })
	if err := s.start(t, extra...); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) start(t *testing.T, extra ...string) error {
	for _, sub := range []string{"real", "link", "home/data/repositories", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := mountStorage(s.storage()); err != nil {
		return err
	}
	var err error
	if s.watch, err = newWatch(filepath.Join(s.dir, "points")); err != nil {
		return err
	}
	env, err := s.linkEnv()
	if err != nil {
		return err
	}
	covered := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { covered <- s.coverSockets(ctx) }()
	if s.Stack, err = stack.Start(t.Context(), bin, filepath.Join(s.dir, "home"), append(env, extra...)...); err != nil {
		return err
	}
	if err := <-covered; err != nil {
		return err
	}
	return s.populate(t)
}

func (s *site) storage() string { return filepath.Join(s.dir, "home/data/repositories") }

// linkEnv makes the links that settings can lead services to, and returns those.
func (s *site) linkEnv() ([]string, error) {
	me, err := osuser.Current()
	if err != nil {
		return nil, err
	}
	run, at := filepath.Join(s.dir, "home/run"), filepath.Join(s.dir, "link")
	pgSocket := ".s.PGSQL.5432"
	for name, ends := range map[string][2]string{
		sshdToWorkhorse: {at + "/shell", run + "/workhorse-internal.sock"},
		gitalyToAPI:     {at + "/api", run + "/workhorse-internal.sock"},
		apiToRedis:      {at + "/redis", run + "/redis.sock"},
		apiToPostgres:   {at + "/" + pgSocket, s.postgresSocket(pgSocket)},
	} {
		if s.links[name], err = newLink("unix", ends[0], "unix", ends[1]); err != nil {
			return nil, err
		}
	}
	url := func(path string) string { return "http+unix://" + strings.ReplaceAll(path, "/", "%2F") }
	return []string{
		fault.EnvSocket + "=" + filepath.Join(s.dir, "points"),
		"SHELL_GITLAB_URL=" + url(at+"/shell"), "GITALY_GITLAB_URL=" + url(at+"/api"),
		"RAILS_API_REDIS_URL=unix://" + at + "/redis",
		"RAILS_API_DATABASE_URL=postgres:///gitsplit?host=" + at + "&user=" + me.Username,
		"GITALY_SOCKET_PATH=" + s.dir + "/real/gitaly", "RAILS_API_LISTEN=unix:" + s.dir + "/real/rails",
	}, nil
}

// coverSockets puts links where gitaly and rails-api are looked for, as soon as they
// listen elsewhere.
func (s *site) coverSockets(ctx context.Context) error {
	for name, ends := range map[string][2]string{
		anyToGitaly: {"gitaly.sock", "real/gitaly"}, workhorseToAPI: {"rails-api.sock", "real/rails"},
	} {
		to := filepath.Join(s.dir, ends[1])
		if err := poll(ctx, time.Minute, func() error { _, err := os.Stat(to); return err }); err != nil {
			return err
		}
		var err error
		if s.links[name], err = newLink("unix", filepath.Join(s.dir, "home/run", ends[0]), "unix", to); err != nil {
			return err
		}
	}
	return nil
}

// postgresSocket is where the private PostgreSQL will listen.
func (s *site) postgresSocket(name string) string {
	return filepath.Join(s.dir, "home/run/postgres", name)
}

// populate makes the links of the clients and their user.
func (s *site) populate(t *testing.T) error {
	http, err := newLink("tcp", "127.0.0.1:0", "tcp", strings.TrimPrefix(s.HTTP, "http://"))
	if err != nil {
		return err
	}
	ssh, err := newLink("tcp", "127.0.0.1:0", "tcp", net.JoinHostPort(s.SSHHost, s.SSHPort))
	if err != nil {
		return err
	}
	s.links[clientToFront+" (http)"], s.links[clientToFront+" (ssh)"] = http, ssh
	return s.populateBehind(t, http, ssh)
}

// populateBehind makes the user and the home of the clients, who reach the instance
// through these links.
func (s *site) populateBehind(t *testing.T, http, ssh *link) (err error) {
	front := *s.Stack
	front.HTTP = "http://" + http.ln.Addr().String()
	_, front.SSHPort, _ = net.SplitHostPort(ssh.ln.Addr().String())
	s.front = &front
	if err := user.NewHome(t.Context(), s.front, s.home); err != nil {
		return err
	}
	s.gitaly = gitalyclient.NewPool(gitalyclient.Options{ClientName: "faults"})
	s.user, err = user.New(t.Context(), s.Stack, "pusher", s.dir)
	return err
}

// end stops the instance; its logs are kept if the test has failed.
func (s *site) end(t *testing.T) {
	if s.gitaly != nil {
		_ = s.gitaly.Close()
	}
	if s.Stack != nil {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	for _, l := range s.links {
		l.close()
	}
	if t.Failed() {
		keep(t, s)
	}
	unmount(s.storage())
	_ = os.RemoveAll(s.dir)
}

// keep copies the logs to where E2E_LOGS says.
func keep(t *testing.T, s *site) {
	to := os.Getenv("E2E_LOGS")
	if to == "" {
		return
	}
	to = filepath.Join(to, filepath.Base(s.dir))
	if err := os.CopyFS(to, os.DirFS(filepath.Join(s.dir, "home/log"))); err != nil {
		t.Errorf("keep logs: %v", err)
	}
	t.Logf("logs: %s", to)
}

// pid returns the process of a service, or an error while it is not ready.
func (s *site) pid(name string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(s.Home, "run/status.json"))
	if err != nil {
		return 0, err
	}
	var status struct {
		Processes []struct {
			Name, State string
			PID         int
		}
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		return 0, err
	}
	for _, p := range status.Processes {
		if p.Name == name && p.State == "ready" {
			return p.PID, nil
		}
	}
	return 0, fmt.Errorf("%s is not ready", name)
}

// services are the processes of an instance, in the words of gitsplit status.
func services() []string {
	return []string{"postgres", "redis", "gitaly", "rails-api", "sidekiq", "gitlab-workhorse", "gitlab-sshd"}
}

// whole waits until every service is ready and the public door says so.
func (s *site) whole(ctx context.Context) error {
	return poll(ctx, time.Minute, func() error {
		for _, name := range services() {
			pid, err := s.pid(name)
			if err != nil {
				return err
			}
			if err := syscall.Kill(pid, 0); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		status, body, err := s.API(ctx, s.user.Token, "GET", "user", nil)
		if err == nil && status != 200 {
			err = fmt.Errorf("api/v4/user: %d %s", status, body)
		}
		return err
	})
}

// poll calls check until it returns nil, and returns its last error if that does not
// come in time.
func poll(ctx context.Context, within time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", within, err)
		}
	}
}
