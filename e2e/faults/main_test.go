// Package faults_test breaks gitsplit in every way that it promises to survive, at
// every point of pushes, merges and clones, and looks at what the client was told, what
// is stored, what is recorded and what is left. It runs programs built with the points of kit/fault.
//
// An instance runs a round of trials at once: one command in each of its
// projects, each held at its own point, until all are there; then one thing is broken
// for all of them.
package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
)

// bin holds the programs, built once, with points.
var bin string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == user.AskpassName {
		os.Exit(user.Askpass())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gsf")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // best effort
	if err := os.Chmod(dir, 0o711); err != nil {
		return fail(err)
	}
	bin = filepath.Join(dir, "bin")
	if err := stack.Build(context.Background(), "../..", bin, "FAULTS=,faults"); err != nil {
		return fail(err)
	}
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "faults:", err)
	return 1
}
