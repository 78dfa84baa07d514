//go:build compose

package compose

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// confined looks at every process as the kernel sees it: whose it is, what it may,
// and whether its root can be written.
func (s *stack) confined() {
	for _, c := range s.running("") {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.State.Pid))
		if err != nil {
			s.t.Fatal(err)
		}
		fields := map[string]string{}
		for _, line := range strings.Split(string(status), "\n") {
			if key, value, ok := strings.Cut(line, ":"); ok {
				fields[key] = strings.TrimSpace(value)
			}
		}
		uid, _, _ := strings.Cut(fields["Uid"], "\t")
		if uid == "0" || c.ours() && uid != "10001" {
			s.t.Errorf("%s runs as user %s", c.Name, uid)
		}
		for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
			if strings.Trim(fields[set], "0") != "" {
				s.t.Errorf("%s has capabilities: %s %s", c.Name, set, fields[set])
			}
		}
		if fields["NoNewPrivs"] != "1" || fields["Seccomp"] != "2" {
			s.t.Errorf("%s: NoNewPrivs %s, Seccomp %s", c.Name, fields["NoNewPrivs"], fields["Seccomp"])
		}
		if !s.readOnlyRoot(c) || c.HostConfig.Memory == 0 || c.HostConfig.PidsLimit == nil || *c.HostConfig.PidsLimit <= 0 {
			s.t.Errorf("%s: root read-only %v, memory limit %d", c.Name, s.readOnlyRoot(c), c.HostConfig.Memory)
		}
		if c.ours() {
			s.noShell(c)
		}
	}
}

func (s *stack) readOnlyRoot(c container) bool {
	s.t.Helper()
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", c.State.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "/" {
			return slices.Contains(strings.Split(fields[3], ","), "ro")
		}
	}
	return false
}

// reachable checks that the fronts, and nobody else, have ports on this machine,
// and who shares a network with PostgreSQL and Redis.
func (s *stack) reachable(fronts ...string) {
	published := map[string]bool{}
	members := map[string][]string{}
	for _, c := range s.running("") {
		for _, hosts := range c.NetworkSettings.Ports {
			for _, host := range hosts {
				if !slices.Contains(fronts, c.service()) || host.HostIP != "127.0.0.1" {
					s.t.Errorf("%s has the port %s:%s", c.Name, host.HostIP, host.HostPort)
				}
				published[host.HostPort] = true
			}
		}
		for network := range c.NetworkSettings.Networks {
			name := strings.TrimPrefix(network, s.name+"_")
			if !slices.Contains(members[name], c.service()) {
				members[name] = append(members[name], c.service())
			}
		}
	}
	for _, port := range []int{s.http, s.https, s.ssh} {
		if !published[strconv.Itoa(port)] {
			s.t.Errorf("port %d is not published", port)
		}
	}
	if len(published) != 3 {
		s.t.Errorf("the ports %v are published", published)
	}
	for network, want := range map[string][]string{
		"database": {"postgres", "rails-api", "sidekiq"},
		"cache":    {"rails-api", "redis", "sidekiq", "workhorse"},
	} {
		slices.Sort(members[network])
		if !slices.Equal(members[network], want) {
			s.t.Errorf("in the network %s are %v, want %v", network, members[network], want)
		}
	}
}

// sizes prints how large the images are, and holds them to their bounds, in MB.
func (s *stack) sizes() {
	for image, bound := range map[string]float64{
		"gitaly": 150, "rails-api": 30, "sidekiq": 30, "workhorse": 30, "gitlab-sshd": 30, "gitsplit": 30,
	} {
		text := s.run("docker", "image", "inspect", "--format", "{{.Size}}", "gitsplit/"+image+":latest")
		size, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		size /= 1e6
		s.t.Logf("image %-12s %6.1f MB, bound %.0f", image, size, bound)
		if size > bound {
			s.t.Errorf("the image of %s has %.1f MB, more than %.0f", image, size, bound)
		}
	}
}

// memory prints what every container uses when nobody asks for anything, and holds
// all of ours together to the bound, in MiB. It is what docker stats shows: without
// the pages of files that can go at once.
func (s *stack) memory(bound float64) {
	total := 0.0
	running := s.running("")
	args := []string{"stats", "--no-stream", "--format", "{{.Container}} {{.MemUsage}}"}
	for _, c := range running {
		args = append(args, c.ID)
	}
	usage := map[string]string{}
	for _, line := range strings.Split(s.run("docker", args...), "\n") {
		id, text, _ := strings.Cut(line, " ")
		usage[id] = text
	}
	for _, c := range running {
		used := s.mebibytes(usage[c.ID])
		s.t.Logf("idle memory %-12s %6.1f MiB", c.service(), used)
		if c.ours() {
			total += used
		}
	}
	s.t.Logf("idle memory of all containers of gitsplit: %.1f MiB, bound %.0f", total, bound)
	if total > bound {
		s.t.Errorf("the containers of gitsplit use %.1f MiB, more than %.0f", total, bound)
	}
}

// mebibytes reads "12.3MiB / 512MiB".
func (s *stack) mebibytes(text string) float64 {
	s.t.Helper()
	number, _, _ := strings.Cut(text, " /")
	for unit, factor := range map[string]float64{"GiB": 1024, "MiB": 1, "KiB": 1.0 / 1024} {
		if value, ok := strings.CutSuffix(strings.TrimSpace(number), unit); ok {
			used, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return used * factor
		}
	}
	s.t.Fatalf("docker stats says %q", text)
	return 0
}
