package redis_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/ctl/internal/redis"
	"gitsplit/ctl/internal/supervise"
)

func TestReady_realServer(t *testing.T) {
	t.Parallel()
	program, err := redis.Find()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("/tmp", "redis-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, conf := filepath.Join(dir, "redis.sock"), filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(redis.Config(socket, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	sup, err := supervise.New([]supervise.Spec{{
		Name: "redis", Path: program, Args: []string{conf}, Output: io.Discard, Grace: 5 * time.Second,
		Ready: func(ctx context.Context, _ int) error { return redis.Ready(ctx, socket) },
	}}, supervise.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := sup.Run(ctx, cancel); err != nil { // stopped as soon as ready
		t.Fatalf("Run: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.rdb"))
	if err != nil || len(left) > 0 {
		t.Errorf("redis wrote %v (%v)", left, err)
	}
}

func TestReady_faults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := redis.Ready(t.Context(), filepath.Join(dir, "none.sock")); err == nil {
		t.Error("no server, but ready")
	}
	for _, answer := range []string{"-LOADING\r\n", "", strings.Repeat("x", 1000)} {
		ln, err := net.Listen("unix", filepath.Join(dir, "r.sock"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := ln.Accept()
			if err == nil {
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}()
		if err := redis.Ready(t.Context(), ln.Addr().String()); err == nil {
			t.Errorf("answer %q was taken for a pong", answer)
		}
		_ = ln.Close()
	}
}
