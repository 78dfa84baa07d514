package app

import (
	"context"
	"time"

	"gitsplit/services/gitaly/internal/limit"
)

// limits are those that the listeners and the pack cache share with what moves them.
type limits struct {
	calls limit.Options
	packs limit.Split
}

func (a *App) makeLimits() {
	a.limits = limits{calls: a.cfg.rpcLimits(a.metrics), packs: a.cfg.packLimit()}
}

// adaptive are the limits that move, under their names in metrics.
func (l limits) adaptive() map[string]*limit.Limiter {
	found := map[string]*limit.Limiter{}
	add := func(name string, split limit.Split) {
		if split.All.Adaptive() {
			found[name] = split.All
		}
		if split.Unauthenticated.Adaptive() {
			found[name+"-unauthenticated"] = split.Unauthenticated
		}
	}
	for rpc, split := range l.calls.RPCs {
		add("perRPC"+rpc, split)
	}
	add("packObjects", l.packs)
	return found
}

// adapt moves the adaptive limits until ctx ends. Without control groups nothing tells
// of pressure, and they grow to their maximum.
func (a *App) adapt(ctx context.Context) {
	moving := limit.Adaptive{Limits: a.limits.adaptive(), Observer: a.metrics, Log: a.log}
	if len(moving.Limits) == 0 {
		return
	}
	if a.cgroups == nil {
		a.log.WarnContext(ctx, "adaptive limits grow to their maximum: without control groups there is no sign of pressure")
	} else {
		thresholds := a.cfg.AdaptiveLimiting
		moving.Watchers = []limit.Watcher{
			{Name: "CgroupCpu", Pressure: a.cgroups.CPUPressure(thresholds.CPUThrottledThreshold, time.Now)},
			{Name: "CgroupMemory", Pressure: a.cgroups.MemoryPressure(thresholds.MemoryThreshold)},
		}
	}
	moving.Run(ctx)
}
