package app_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/kit/sidechannel"
)

// work makes a working copy with one commit and the project as its origin.
func (s *setup) work() string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "work")
	git(s.t, "", "init", "-q", "--initial-branch=main", dir)
	git(s.t, dir, "remote", "add", "origin", s.remote())
	s.commit(dir, "a.txt", []byte("hello\n"))
	return dir
}

func (s *setup) commit(dir, name string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	git(s.t, dir, "add", name)
	git(s.t, dir, "commit", "-q", "-m", "add "+name)
}

func noise(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJourney(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "1", "2"} {
		t.Run("protocol "+version, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			v := "protocol.version=" + version
			work := s.work()
			git(t, work, "-c", v, "push", "-q", "origin", "main")
			clone := filepath.Join(t.TempDir(), "clone")
			git(t, "", "-c", v, "clone", "-q", s.remote(), clone)
			if got, want := git(t, clone, "rev-parse", "HEAD"), git(t, work, "rev-parse", "HEAD"); got != want {
				t.Errorf("clone has %s, want %s", got, want)
			}
			s.commit(work, "b.txt", []byte("more\n"))
			git(t, work, "-c", v, "push", "-q", "origin", "main", "main:second")
			git(t, clone, "-c", v, "fetch", "-q")
			if got, want := git(t, clone, "rev-parse", "origin/second"), git(t, work, "rev-parse", "main"); got != want {
				t.Errorf("fetch brought %s, want %s", got, want)
			}
			shallow := filepath.Join(t.TempDir(), "shallow")
			git(t, "", "-c", v, "clone", "-q", "--depth=1", s.remote(), shallow)
			if n := strings.TrimSpace(git(t, shallow, "rev-list", "--count", "HEAD")); n != "1" {
				t.Errorf("shallow clone has %s commits", n)
			}
			git(t, shallow, "-c", v, "fetch", "-q", "--unshallow")
			git(t, work, "-c", v, "push", "-q", "origin", ":second")
			git(t, s.gitaly.repo, "fsck", "--strict")
			c := s.gitaly.last(t)
			if c.Method != "PostReceivePack" || c.GLID != "user-1" || len(c.Options) != 1 {
				t.Errorf("the last call of gitaly is %+v", c)
			}
		})
	}
}

// A push past http.postBuffer is chunked, and a probe of one flush packet goes
// before it.
func TestJourney_largePush(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	work := s.work()
	s.commit(work, "big", noise(t, 8<<20))
	git(t, work, "push", "-q", "origin", "main")
	git(t, work, "-c", "http.postBuffer=100000000", "push", "-q", "origin", "main:with-length")
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, "", "clone", "-q", s.remote(), clone)
	git(t, clone, "fsck", "--strict")
	if n := strings.Count(s.log.String(), `"route":"/:repository.git/git-receive-pack"`); n != 3 {
		t.Errorf("%d push requests, want the probe and two pushes", n)
	}
}

// Many refs make the fetch request long enough for git to compress it.
func TestJourney_compressedFetch(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	work := s.work()
	for i := range 60 {
		git(t, work, "commit", "-q", "--allow-empty", "-m", fmt.Sprint(i))
		git(t, work, "branch", fmt.Sprintf("b%d", i))
	}
	git(t, work, "push", "-q", "--all", "origin")
	for _, version := range []string{"0", "2"} {
		clone := filepath.Join(t.TempDir(), "clone"+version)
		trace, err := tryGit(t, "", "-c", "protocol.version="+version, "-c", "http.postBuffer=100000", "clone", s.remote(), clone)
		if err != nil {
			t.Fatalf("clone: %v\n%s", err, trace)
		}
		if n := len(strings.Fields(git(t, clone, "branch", "-r", "--format=%(refname)"))); n != 62 {
			t.Errorf("version %s: %d branches, want 62", version, n)
		}
	}
}

func TestJourney_refusals(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	out, err := tryGit(t, "", "ls-remote", strings.Replace(s.remote(), "password@", "wrong@", 1))
	if err == nil || !strings.Contains(out, "remote: HTTP Basic: Access denied") || !strings.Contains(out, "Authentication failed") {
		t.Errorf("wrong password: %v\n%s", err, out)
	}
	s.rails.stop()
	out, err = tryGit(t, "", "ls-remote", s.remote())
	s.rails.start()
	if err == nil || !strings.Contains(out, "remote: GitLab is not responding") || !strings.Contains(out, "502") {
		t.Errorf("rails-api down: %v\n%s", err, out)
	}
}

// A path without .git is rails-api's: it redirects, and git goes on below the new
// base.
func TestJourney_redirect(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.rails.proxied = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(r.RequestURI, "/info/refs", ".git/info/refs", 1), http.StatusMovedPermanently)
	}
	git(t, s.work(), "push", "-q", "origin", "main")
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, "", "clone", "-q", strings.TrimSuffix(s.remote(), ".git"), clone)
	git(t, clone, "rev-parse", "HEAD")
}

// A transfer that is on its way when workhorse is told to stop is finished; new
// connections are refused.
func TestJourney_stop(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	reached, goOn := make(chan struct{}), make(chan struct{})
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
		close(reached)
		<-goOn
		_, err := io.WriteString(c, "whole")
		return err
	}
	stopped := make(chan error, 1)
	go func() {
		<-reached
		go func() { stopped <- s.stop() }()
		for { // until the listener is closed
			c, err := net.Dial("tcp", s.at())
			if err != nil {
				break
			}
			_ = c.Close()
		}
		close(goOn)
	}()
	res, body := s.do("POST", fetchPath, strings.NewReader("0000"), "Content-Type", fetchType)
	if res.StatusCode != 200 || body != "whole" {
		t.Errorf("answer %d %q", res.StatusCode, body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}
