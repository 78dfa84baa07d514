//go:build compose

package compose

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// sameKeys connects often enough to meet every replica: all have one certificate,
// and, as the client knows no other, one set of host keys.
func (s *stack) sameKeys() {
	c := s.newClient()
	serials := map[string]bool{}
	for range 8 {
		conn, err := (&tls.Dialer{Config: trusting(s.t, c.path("ca"))}).DialContext(s.t.Context(), "tcp", fmt.Sprintf("localhost:%d", s.https))
		if err != nil {
			s.t.Fatal(err)
		}
		serials[conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
		_ = conn.Close()
		c.git(c.dir, "ls-remote", c.ssh("root/kept.git"))
	}
	if len(serials) != 1 {
		s.t.Errorf("the replicas have %d certificates", len(serials))
	}
	for _, service := range []string{"workhorse", "gitlab-sshd", "rails-api", "sidekiq"} {
		if n := len(s.running(service)); n != 2 {
			s.t.Errorf("%d containers of %s run, want 2", n, service)
		}
	}
}

// spread makes projects until each gitaly has a repository more: with equal weights
// 40 on one side come once in a billion runs.
func (s *stack) spread() {
	c := s.newClient()
	before := [2]int{len(s.repositories("gitaly")), len(s.repositories("gitaly-second"))}
	for i := range 40 {
		c.api(http.MethodPost, "projects", map[string]any{"name": fmt.Sprintf("spread-%d", i)}, nil)
		if len(s.repositories("gitaly")) > before[0] && len(s.repositories("gitaly-second")) > before[1] {
			return
		}
	}
	s.t.Errorf("40 projects: there were %v repositories, there are %d and %d", before, len(s.repositories("gitaly")), len(s.repositories("gitaly-second")))
}

// repositories are the directories of those on the disk of a gitaly.
func (s *stack) repositories(service string) []string {
	s.t.Helper()
	found, err := filepath.Glob(s.running(service)[0].file("data/repositories/@hashed/*/*/*.git"))
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// addresses checks that the services see the client behind HAProxy: here, the
// gateway of the network that HAProxy is reached through.
func (s *stack) addresses() {
	c := s.newClient()
	proxy := s.running("haproxy")[0]
	var gateway, own string
	for _, network := range proxy.NetworkSettings.Networks {
		gateway, own = network.Gateway, network.IPAddress
	}
	c.git(c.dir, "ls-remote", c.ssh("root/kept.git"))
	c.git(c.dir, "ls-remote", c.https("root/kept.git"))
	for _, service := range []string{"workhorse", "gitlab-sshd"} {
		s.eventually("the log of "+service+" has the client's address", func() error {
			log := s.compose("logs", "--no-color", "--tail", "200", service)
			if !strings.Contains(log, `"`+gateway) {
				return fmt.Errorf("there is no line with %s", gateway)
			}
			if strings.Contains(log, `"remote_addr":"`+own) {
				return fmt.Errorf("there is a line with HAProxy's own address %s", own)
			}
			return nil
		})
	}
}

// killed ends one replica of every stateless service while people work, and nobody
// notices. rails-api and sidekiq die at once; the fronts, to which clients are
// connected, are told to end, as in an upgrade.
func (s *stack) killed() {
	c := s.newClient()
	var done sync.WaitGroup
	var stop atomic.Bool
	var count [4]atomic.Int64
	worker := func(i int, url func(string) string) {
		dir := c.repository(fmt.Sprintf("load-%d", i))
		remote := url(fmt.Sprintf("root/load-%d.git", i))
		done.Go(func() {
			for n := 0; !stop.Load(); n++ {
				copied := fmt.Sprintf("copy-%d-%d", i, n)
				for _, step := range [][]string{
					{"-C", dir, "commit", "--quiet", "--allow-empty", "--message", copied},
					{"-C", dir, "push", "--quiet", remote, "main"},
					{"clone", "--quiet", remote, copied},
				} {
					if _, err := c.tryGit(c.dir, step...); err != nil {
						s.t.Errorf("round %d: %v", n, err)
						return
					}
				}
				count[i].Add(1)
			}
		})
	}
	for i := range count {
		worker(i, []func(string) string{c.ssh, c.https}[i%2])
	}
	rounds := func(more int64) {
		var from [4]int64
		for i := range count {
			from[i] = count[i].Load()
		}
		s.eventually("the load goes on", func() error {
			for i := range count {
				if count[i].Load() < from[i]+more && !s.t.Failed() {
					return fmt.Errorf("worker %d is in round %d", i, count[i].Load())
				}
			}
			return nil
		})
	}
	rounds(1)
	var dead []string
	for _, victim := range []struct{ service, signal string }{
		{"sidekiq", "KILL"}, {"rails-api", "KILL"}, {"workhorse", "TERM"}, {"gitlab-sshd", "TERM"},
	} {
		one := s.running(victim.service)[0]
		s.t.Logf("SIG%s for %s, after %d rounds", victim.signal, one.Name, count[0].Load())
		s.run("docker", "kill", "--signal", victim.signal, one.ID)
		dead = append(dead, one.ID)
		rounds(2)
	}
	stop.Store(true)
	done.Wait()
	s.run("docker", append([]string{"start"}, dead...)...) // whom the engine takes for stopped by hand
}
