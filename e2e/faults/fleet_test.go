package faults_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gitsplit/e2e/stack"
)

// fleet is an instance with two processes of each stateless service besides its own,
// which nobody talks to.
type fleet struct {
	*site
	members map[string][]*member
}

// member is one process of a service.
type member struct {
	name  string
	args  []string
	env   []string
	doors map[*link]string // what leads to it, and by which address
	log   *os.File         // shared by all its lives
	cmd   *exec.Cmd
	ended chan error
}

func newFleet(t *testing.T) (*fleet, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gsf")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, links: map[string]*link{}, patience: settleTime, forgiven: map[string]bool{}, home: filepath.Join(dir, "client")}
	f := &fleet{site: s, members: map[string][]*member{}}
	t.Cleanup(func() {
		f.stop()
		s.end(t)
	})
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL's user must get through to its data
		return nil, err
	}
	for _, sub := range []string{"tmp", "home", "real"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	api := filepath.Join(dir, "api")
	if s.links[gitalyToAPI], err = newLink("unix", api, "unix", f.socket("internal", 0), f.socket("internal", 1)); err != nil {
		return nil, err
	}
	url := "http+unix://" + strings.ReplaceAll(api, "/", "%2F")
	if s.Stack, err = stack.Start(t.Context(), bin, filepath.Join(dir, "home"), "GITALY_GITLAB_URL="+url); err != nil {
		return nil, err
	}
	// HTTPS is the instance's own; all else of the file is repeated by the settings.
	if err := os.WriteFile(filepath.Join(dir, "workhorse.toml"), []byte("shutdown_timeout = \"10s\"\n"), 0o600); err != nil {
		return nil, err
	}
	if err := f.open(t.Context(), url); err != nil {
		return nil, err
	}
	return f, f.populateBehind(t, f.links[clientToFront+" (http)"], f.links[clientToFront+" (ssh)"])
}

// socket is a Unix socket of the n-th process of a service.
func (f *fleet) socket(name string, n int) string {
	return filepath.Join(f.dir, "real", fmt.Sprintf("%s-%d", name, n))
}

// open starts the processes, each with the settings of the instance's own but its
// addresses, and the links of the clients.
func (f *fleet) open(ctx context.Context, apiURL string) error {
	http, ssh := make([]string, 2), make([]string, 2)
	for n := range 2 {
		var err error
		if http[n], err = freeAddress(); err != nil {
			return err
		}
		if ssh[n], err = freeAddress(); err != nil {
			return err
		}
	}
	for name, to := range map[string][]string{clientToFront + " (http)": http, clientToFront + " (ssh)": ssh} {
		l, err := newLink("tcp", "127.0.0.1:0", "tcp", to...)
		if err != nil {
			return err
		}
		f.links[name] = l
	}
	for n := range 2 {
		for _, m := range f.plan(n, http[n], ssh[n], apiURL) {
			if err := f.begin(ctx, m); err != nil {
				return err
			}
			f.members[m.name] = append(f.members[m.name], m)
		}
	}
	return nil
}

// plan is the n-th process of each service, in the order in which they need each other.
func (f *fleet) plan(n int, http, ssh, apiURL string) []*member {
	config, secrets := filepath.Join(f.Home, "config"), filepath.Join(f.Home, "secrets")
	probe := func(name string) string { return "unix:" + f.socket(name+"-probe", n) }
	rails := []string{"-config", filepath.Join(config, "rails-api.yml")}
	return []*member{
		{name: "rails-api", args: rails, env: []string{"RAILS_API_LISTEN=unix:" + f.socket("rails", n), "RAILS_API_PROBE_LISTEN=" + probe("rails-api")}},
		{name: "sidekiq", args: rails, env: []string{"RAILS_API_SIDEKIQ_PROBE_LISTEN=" + probe("sidekiq")}},
		{
			name: "gitlab-workhorse",
			args: []string{
				"-config", filepath.Join(f.dir, "workhorse.toml"), "-secretPath", filepath.Join(secrets, "gitlab_workhorse_secret"),
				"-listenAddr", http, "-prometheusListenAddr", probe("gitlab-workhorse"),
			},
			env: []string{
				"WORKHORSE_AUTH_ADDRESSES=unix:" + f.socket("rails", 0) + ",unix:" + f.socket("rails", 1),
				"WORKHORSE_INTERNAL_LISTENER_NETWORK=unix", "WORKHORSE_INTERNAL_LISTENER_ADDR=" + f.socket("internal", n),
				"WORKHORSE_REDIS_URL=unix:" + filepath.Join(f.Home, "run/redis.sock"),
			},
			doors: map[*link]string{f.links[clientToFront+" (http)"]: http, f.links[gitalyToAPI]: f.socket("internal", n)},
		},
		{
			name: "gitlab-sshd", args: []string{"-config-dir", filepath.Join(config, "shell")},
			env:   []string{"SHELL_SSHD_LISTEN=" + ssh, "SHELL_SSHD_WEB_LISTEN=" + probe("gitlab-sshd"), "SHELL_GITLAB_URL=" + apiURL},
			doors: map[*link]string{f.links[clientToFront+" (ssh)"]: ssh},
		},
	}
}

// freeAddress is one at which nobody listens.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// begin starts a process and waits until it says that it is ready.
func (f *fleet) begin(ctx context.Context, m *member) error {
	var err error
	if m.log == nil {
		if m.log, err = os.CreateTemp(filepath.Join(f.Home, "log"), m.name+"-*.log"); err != nil {
			return err
		}
	}
	m.cmd = exec.Command(filepath.Join(bin, m.name), m.args...)
	m.cmd.Env, m.cmd.Stdout, m.cmd.Stderr = append(os.Environ(), m.env...), m.log, m.log
	if err := m.cmd.Start(); err != nil {
		return err
	}
	m.ended = make(chan error, 1)
	go func() { m.ended <- m.cmd.Wait() }()
	return poll(ctx, time.Minute, m.ready)
}

func (m *member) ready() error {
	for _, setting := range append(append([]string{}, m.env...), m.args...) {
		_, address, ok := strings.Cut(setting, "unix:")
		if !ok || !strings.Contains(address, "-probe-") {
			continue
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}}}
		resp, err := client.Get("http://probe/-/readiness")
		if err != nil {
			return err
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s is not ready: %s", m.name, resp.Status)
		}
		return nil
	}
	return fmt.Errorf("%s has no probe", m.name)
}

// end stops a process as an operator does.
func (m *member) end() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-m.ended:
		return err
	case <-time.After(time.Minute):
		_ = m.cmd.Process.Kill()
		return fmt.Errorf("%s does not stop", m.name)
	}
}

func (f *fleet) stop() {
	for _, members := range f.members {
		for _, m := range members {
			_ = m.end()
			_ = m.log.Close()
		}
	}
}

// restart stops and starts all instances of a service, one after the other.
func (f *fleet) restart(ctx context.Context, name string) error {
	if name == "gitaly" {
		return f.restartGitaly(ctx)
	}
	for _, m := range f.members[name] {
		for door, address := range m.doors {
			door.drain(address)
		}
		if err := m.end(); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
		if err := f.begin(ctx, m); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		for door := range m.doors {
			door.drain("")
		}
	}
	return nil
}

// restartGitaly lets gitsplit start it again.
func (f *fleet) restartGitaly(ctx context.Context) error {
	old, err := f.pid("gitaly")
	if err != nil {
		return err
	}
	if err := syscall.Kill(old, syscall.SIGTERM); err != nil {
		return err
	}
	return poll(ctx, time.Minute, func() error {
		pid, err := f.pid("gitaly")
		if err == nil && pid == old {
			err = fmt.Errorf("gitaly %d has not ended", pid)
		}
		return err
	})
}
