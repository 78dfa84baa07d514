package faults_test

import (
	"fmt"
	"testing"
	"time"
)

// TestRollingRestart restarts every service, one instance after the other, while
// clients push and clone: no operation fails. Each stateless service has two
// instances behind what balances connections, which is told of a restart before, as
// that of a site is by readiness; workhorse finds out by itself which rails-api is
// there.
//
// gitaly has one instance: what begins while it is away waits for some seconds and may
// fail then, as may a push under way, whose check needs a gitaly that takes questions.
// That is counted; nothing is lost or untrue.
//
// FAULTS_CLIENTS is how many clients, FAULTS_PASSES how often all is restarted.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	f, err := newFleet(t)
	if err != nil {
		t.Fatal(err)
	}
	clients := setting("FAULTS_CLIENTS", 4)
	load, err := f.load(t.Context(), clients)
	if err != nil {
		t.Fatal(err)
	}
	for range max(1, setting("FAULTS_PASSES", 1)) {
		for _, name := range append(stateless(), "gitaly") {
			began, before := time.Now(), load.done.Load()
			if name == "gitaly" {
				load.away.Add(1)
			}
			err := f.restart(t.Context(), name)
			if name == "gitaly" {
				load.away.Add(1)
			}
			if err == nil { // the new instances work too
				err = load.more(t.Context(), clients)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			t.Logf("%s restarted: %d operations in %v", name, load.done.Load()-before, time.Since(began).Round(time.Millisecond))
		}
	}
	lanes, failures := load.end()
	for _, text := range failures {
		t.Errorf("failed: %s", text)
	}
	f.sound(t, lanes)
	fmt.Printf("\nrolling restart: %d clients, %d operations, %d failed, besides %d while gitaly was away\n",
		clients, load.done.Load(), len(failures), load.missed.Load())
}

// stateless are the services of which a site has several instances.
func stateless() []string { return []string{"rails-api", "sidekiq", "gitlab-workhorse", "gitlab-sshd"} }
