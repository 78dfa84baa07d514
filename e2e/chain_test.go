package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/e2e/stack"
)

// hooks is what happens between the start and the end of a push in gitaly, over
// either transport: the hooks of git in their order, and what they ask. update and
// reference-transaction have nothing to do here and are not started.
var hooks = []string{
	"gitaly /gitaly.HookService/PreReceiveHook",
	"rails-api POST /api/v4/internal/allowed refs",
	"rails-api POST /api/v4/internal/pre_receive",
	"gitaly /gitaly.HookService/PostReceiveHook",
	"rails-api POST /api/v4/internal/post_receive",
	"sidekiq post_receive",
}

// TestCallChain pushes one branch over SSH and one over HTTP and reads the steps
// out of the services' logs: those that design.md §1 names, in that order, once each.
func TestCallChain(t *testing.T) {
	t.Parallel()
	// The chains are told apart by their correlation id, so the instance may be shared.
	t.Run("ssh", func(t *testing.T) {
		t.Parallel()
		want := append([]string{
			"gitlab-sshd git-receive-pack",
			"rails-api GET /api/v4/internal/authorized_keys",
			"rails-api POST /api/v4/internal/allowed _any",
			"gitaly /gitaly.SSHService/SSHReceivePack",
		}, hooks...)
		got := chain(t, "ssh", func(l stack.Line) bool { return l.RPC == "/gitaly.SSHService/SSHReceivePack" })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("steps (-want +got)\n%s", diff)
		}
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		want := append([]string{
			"gitlab-workhorse POST git-receive-pack",
			"rails-api POST git-receive-pack",
			"gitaly /gitaly.SmartHTTPService/PostReceivePack",
		}, hooks...)
		got := chain(t, "http", func(l stack.Line) bool { return l.RPC == "/gitaly.SmartHTTPService/PostReceivePack" })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("steps (-want +got)\n%s", diff)
		}
	})
}

// chain makes one push to an existing project and returns the steps of the
// request that contains marker.
func chain(t *testing.T, transport string, marker func(stack.Line) bool) []string {
	t.Helper()
	c := newClient(t, shared, transport)
	dir := c.worktree("chain")
	before := knownIDs(t, marker)
	c.git(dir, "commit", "-q", "--allow-empty", "-m", "second")
	c.git(dir, "push", "-q", "origin", "main:refs/heads/second")

	var lines []stack.Line
	eventually(t, 10*time.Second, func() string {
		all, err := shared.AccessLog()
		if err != nil {
			return err.Error()
		}
		id := ""
		for _, l := range all {
			if marker(l) && !before[l.CorrelationID] && strings.Contains(l.Project, c.actor.Username) {
				id = l.CorrelationID
			}
		}
		lines = slices.DeleteFunc(all, func(l stack.Line) bool { return l.CorrelationID != id })
		if id == "" || !slices.ContainsFunc(lines, func(l stack.Line) bool { return l.Service == "sidekiq" }) {
			return fmt.Sprintf("the chain is not complete: %+v", lines)
		}
		return ""
	})
	return steps(lines)
}

func knownIDs(t *testing.T, marker func(stack.Line) bool) map[string]bool {
	t.Helper()
	all, err := shared.AccessLog()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, l := range all {
		if marker(l) {
			ids[l.CorrelationID] = true
		}
	}
	return ids
}

// steps names each line. Workhorse passes every internal call through; those
// lines say nothing new and are checked separately.
func steps(lines []stack.Line) []string {
	var names []string
	for _, l := range lines {
		passed := l.Service == "gitlab-workhorse" && strings.Contains(l.Path, "/internal")
		if !passed && !question(l) {
			names = append(names, step(l))
		}
	}
	return names
}

// question reports a call by which rails-api or sidekiq looks something up in
// gitaly: those are no steps of the chain.
func question(l stack.Line) bool {
	for _, service := range []string{"SSHService", "SmartHTTPService", "HookService"} {
		if strings.Contains(l.RPC, service) {
			return false
		}
	}
	return l.RPC != ""
}

func step(l stack.Line) string {
	switch {
	case l.RPC != "":
		return l.Service + " " + l.RPC
	case l.Job != "":
		return l.Service + " " + l.Job
	case l.Method == "":
		return l.Service + " " + l.Command
	}
	route := l.Route
	if i := strings.LastIndex(l.Path, ".git/"); i >= 0 {
		route = l.Path[i+len(".git/"):]
	}
	return strings.TrimSpace(l.Service + " " + l.Method + " " + route + " " + l.Changes)
}
