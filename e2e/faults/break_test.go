package faults_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gitsplit/kit/fault"
)

// breakage is one way in which things go wrong.
type breakage struct {
	name string
	// fits says which jobs it can happen to; nil is all.
	fits func(j *job) bool
	// do breaks something while the jobs are held; undo puts it right, nil where
	// gitsplit does that.
	do func(ctx context.Context, s *site, jobs []*job) (undo func() error, err error)
	// lasts is how long it stays so, if clients do not end earlier.
	lasts time.Duration
	// late lets the jobs go on only when all is well again, if the dice say so.
	late bool
	// silent says that Redis does not answer: pushes go on uncounted.
	silent bool
}

// breakages are all that the suite knows; stopped is how long a stopped process
// stays so.
func breakages(stopped time.Duration) []breakage {
	const outage = 3 * time.Second
	all := []breakage{
		{name: "client killed", do: toClients(syscall.SIGKILL)},
		{name: "client interrupted", do: toClients(syscall.SIGINT)},
		{name: "git receive-pack or upload-pack killed", fits: whileGit, do: toGit},
		{name: "gitaly-hooks killed", fits: whileHook, do: toHooks},
		{name: "PostgreSQL slow", do: slowPostgres, lasts: outage},
		{name: "PostgreSQL out of connections", do: crowdPostgres, lasts: outage},
	}
	for _, name := range services() {
		fits := fitsService(name)
		all = append(all, breakage{name: name + " killed", fits: fits, do: toService(name, syscall.SIGKILL), late: true},
			breakage{name: name + " stopped", fits: fits, do: toService(name, syscall.SIGSTOP), lasts: stopped, silent: name == "redis"})
	}
	for _, name := range []string{sshdToWorkhorse, gitalyToAPI, workhorseToAPI, anyToGitaly, apiToPostgres, apiToRedis} {
		all = append(all, breakage{name: "network cut: " + name, do: cutLinks(name), lasts: outage, silent: name == apiToRedis,
			fits: func(j *job) bool { return name != sshdToWorkhorse || j.lane.transport == "ssh" }})
	}
	all = append(all, breakage{name: "network cut: " + clientToFront, do: cutLinks(clientToFront+" (ssh)", clientToFront+" (http)"), lasts: outage})
	if mountable() {
		all = append(all,
			breakage{name: "disk full", lasts: outage, do: func(_ context.Context, s *site, _ []*job) (func() error, error) { return fill(s.storage()) }},
			breakage{name: "storage read-only", lasts: outage, do: func(_ context.Context, s *site, _ []*job) (func() error, error) { return seal(s.storage()) }})
	}
	return all
}

func fitsService(name string) func(*job) bool {
	return func(j *job) bool { return name != "gitlab-sshd" || j.lane.transport == "ssh" }
}

// whileGit reports whether git runs at the job's point.
func whileGit(j *job) bool {
	return !j.merge && !slices.Contains([]string{fault.AfterKeyLookup, fault.AfterAccessCheck, fault.BeforeExitStatus}, j.point)
}

// whileHook reports whether gitaly-hooks runs at the job's point.
func whileHook(j *job) bool {
	return whileGit(j) && j.point != fault.MidPack && j.point != fault.MidClone
}

func toClients(sig syscall.Signal) func(context.Context, *site, []*job) (func() error, error) {
	return func(_ context.Context, _ *site, jobs []*job) (func() error, error) {
		for _, j := range jobs {
			if j.merge {
				j.leave()
				continue
			}
			if err := syscall.Kill(-j.cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, err
			}
		}
		return nil, nil
	}
}

func toService(name string, sig syscall.Signal) func(context.Context, *site, []*job) (func() error, error) {
	return func(_ context.Context, s *site, _ []*job) (func() error, error) {
		pid, err := s.pid(name)
		if err != nil {
			return nil, err
		}
		if sig == syscall.SIGSTOP {
			return func() error { return syscall.Kill(pid, syscall.SIGCONT) }, syscall.Kill(pid, sig)
		}
		return nil, syscall.Kill(pid, sig)
	}
}

func toGit(_ context.Context, _ *site, jobs []*job) (func() error, error) {
	return nil, killEach(jobs, func(args []string, exe string) bool {
		return strings.HasPrefix(filepath.Base(exe), "git") && (slices.Contains(args, "receive-pack") || slices.Contains(args, "upload-pack"))
	})
}

func toHooks(_ context.Context, _ *site, jobs []*job) (func() error, error) {
	return nil, killEach(jobs, func(_ []string, exe string) bool { return filepath.Base(exe) == "gitaly-hooks" })
}

// killEach kills for each job the processes that match and work in its repository.
func killEach(jobs []*job, match func(args []string, exe string) bool) (err error) {
	for _, j := range jobs {
		killed := 0
		procs, _ := filepath.Glob("/proc/[0-9]*")
		for _, proc := range procs {
			raw, _ := os.ReadFile(proc + "/cmdline")
			exe, _ := os.Readlink(proc + "/exe")
			cwd, _ := os.Readlink(proc + "/cwd")
			if cwd != j.lane.repo && !strings.Contains(string(raw), j.lane.repo) || !match(strings.Split(string(raw), "\x00"), exe) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(proc))
			if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
				killed++
			}
		}
		if killed == 0 {
			err = errors.Join(err, fmt.Errorf("at %s over %s: %w", j.point, j.lane.transport, errNobody))
		}
	}
	return err
}

func cutLinks(names ...string) func(context.Context, *site, []*job) (func() error, error) {
	return func(_ context.Context, s *site, _ []*job) (func() error, error) {
		for _, name := range names {
			s.links[name].breakOff()
		}
		return func() error {
			for _, name := range names {
				s.links[name].heal()
			}
			return nil
		}, nil
	}
}

func slowPostgres(_ context.Context, s *site, _ []*job) (func() error, error) {
	s.links[apiToPostgres].delay(300 * time.Millisecond)
	return func() error { s.links[apiToPostgres].heal(); return nil }, nil
}

// crowdPostgres takes all connections that PostgreSQL has while rails-api has none.
func crowdPostgres(ctx context.Context, s *site, _ []*job) (func() error, error) {
	l := s.links[apiToPostgres]
	l.breakOff()
	defer l.heal()
	var crowd []net.Conn
	undo := func() error {
		for _, c := range crowd {
			_ = c.Close()
		}
		return nil
	}
	for {
		conn, err := login(ctx, l.addresses[0])
		if errors.Is(err, errCrowded) {
			return undo, nil
		}
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		crowd = append(crowd, conn)
	}
}

// errNobody says that there is no such process to kill.
var errNobody = errors.New("no such process")

var errCrowded = errors.New("too many clients already")

// login opens a connection of PostgreSQL's protocol and leaves it idle.
func login(ctx context.Context, socket string) (net.Conn, error) {
	me, err := osuser.Current()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	body := "\x00\x03\x00\x00user\x00" + me.Username + "\x00database\x00gitsplit\x00\x00"
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)); err != nil {
		return nil, err
	}
	if err := ready(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// ready reads PostgreSQL's answer to a login up to its end: who has no more than the
// reserved connections left refuses only after the authentication has gone well.
func ready(conn net.Conn) error {
	for {
		var head struct {
			Kind byte
			Size uint32
		}
		if err := binary.Read(conn, binary.BigEndian, &head); err != nil {
			return err
		}
		body := make([]byte, head.Size-4)
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		switch {
		case head.Kind == 'Z':
			return nil
		case head.Kind == 'E' && bytes.Contains(body, []byte("C53300\x00")):
			return errCrowded
		case head.Kind == 'E':
			return errors.New(string(body))
		}
	}
}
