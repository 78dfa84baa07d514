package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"gitsplit/kit/lifecycle"
	"gitsplit/kit/netx"
	"gitsplit/services/workhorse/internal/api"
)

// Run serves until ctx ends, then lets requests end for the shutdown timeout, and
// frees everything. It may be called once.
func (a *App) Run(ctx context.Context) error {
	var parts []lifecycle.Part
	if a.metrics != nil {
		srv := netx.HTTPServer(a.probes.Handler(), a.log)
		parts = append(parts, lifecycle.HTTP("metrics", srv, a.metrics, 0))
	}
	parts = append(parts, a.probing())
	if a.archives != nil {
		parts = append(parts, background("archives", a.archives.Run))
	}
	grace := a.config.ShutdownTimeout.D()
	if a.internal != nil {
		parts = append(parts, lifecycle.HTTP("internal", a.server(a.internalDoor), a.internal, grace))
	}
	for i, ln := range a.public {
		parts = append(parts, lifecycle.HTTP(fmt.Sprintf("public %d", i), a.server(a.publicDoor), ln, grace))
	}
	if a.watcher != nil { // stops before the listeners: runners that wait are let go at once
		parts = append(parts, a.watching())
	}
	parts = append(parts, a.announcing())
	a.log.InfoContext(ctx, "starting")
	err := lifecycle.Run(ctx, a.log, parts...)
	a.log.InfoContext(context.WithoutCancel(ctx), "stopped")
	return errors.Join(err, a.close())
}

func (a *App) server(h http.Handler) *http.Server {
	srv := netx.HTTPServer(h, a.log)
	srv.DisableGeneralOptionsHandler = true // the front answers "*"
	return srv
}

// probing checks dependencies in the background, until the last request is done.
func (a *App) probing() lifecycle.Part { return background("probes", a.probes.Run) }

// background is a part that works until it is told to end.
func background(name string, run func(context.Context)) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		ready()
		run(ctx)
		return nil
	}}
}

// watching keeps the connection on which Redis tells of new jobs.
func (a *App) watching() lifecycle.Part {
	return lifecycle.Part{Name: "long polling", Run: func(ctx context.Context, ready func()) error {
		ready()
		a.watcher.Run(ctx)
		return nil
	}}
}

// announcing is the last to start and so the first to stop: readiness ends before
// the listeners close, by as long as a load balancer needs to notice.
func (a *App) announcing() lifecycle.Part {
	delay := a.config.ShutdownDelay.D()
	return lifecycle.Part{Name: "readiness", Grace: delay + lifecycle.DefaultGrace, Run: func(ctx context.Context, ready func()) error {
		ready()
		<-ctx.Done()
		a.probes.Stop()
		time.Sleep(delay) // nothing may end it early: clients still come
		close(a.ending)
		return nil
	}}
}

// close frees what New opened; closing twice is harmless.
func (a *App) close() error {
	for _, c := range []*api.Client{a.api, a.cable} {
		if c != nil {
			c.Close()
		}
	}
	if a.uploads != nil {
		a.uploads.Close()
	}
	if a.certs.acme != nil {
		a.certs.acme.Close()
	}
	var faults []error
	if a.redis != nil {
		if err := a.redis.Close(); !errors.Is(err, redis.ErrClosed) {
			faults = append(faults, err)
		}
	}
	if a.gitalys != nil {
		faults = append(faults, a.gitalys.Close())
	}
	for _, ln := range append([]net.Listener{a.internal, a.metrics}, a.public...) {
		if ln == nil {
			continue
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
