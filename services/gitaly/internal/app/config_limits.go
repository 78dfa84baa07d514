package app

import (
	"cmp"
	"fmt"

	"gitsplit/kit/config"
	"gitsplit/services/gitaly/internal/limit"
	"gitsplit/services/gitaly/internal/method"
)

// Concurrency is one [[concurrency]]: how many calls of an RPC work on one repository
// at a time.
type Concurrency struct {
	RPC string `toml:"rpc"` // "/gitaly.SSHService/SSHReceivePack"
	ConcurrencyLimits
	// Unauthenticated is for calls without a user, apart from those with one. Unset,
	// one limit is for both.
	Unauthenticated ConcurrencyLimits `toml:"unauthenticated"`
}

// ConcurrencyLimits is a limit with its queue.
type ConcurrencyLimits struct {
	MaxPerRepo     int             `toml:"max_per_repo"`
	MaxConcurrency int             `toml:"max_concurrency"` // the newer name; it wins
	MaxQueueSize   int             `toml:"max_queue_size"`  // 0 is 500
	MaxQueueWait   config.Duration `toml:"max_queue_wait"`  // 0 is for ever
	// Adaptive makes the limit move between MinLimit and MaxLimit, from InitialLimit:
	// down when the cgroup of the repositories is short of CPU or memory, else up.
	Adaptive     bool `toml:"adaptive"`
	InitialLimit int  `toml:"initial_limit"`
	MaxLimit     int  `toml:"max_limit"`
	MinLimit     int  `toml:"min_limit"`
}

// PackObjectsLimiting is [pack_objects_limiting]. Its key is the client's address;
// packs that come from the cache do not count.
type PackObjectsLimiting struct {
	ConcurrencyLimits
	MaxQueueLength  int               `toml:"max_queue_length"` // the older name of max_queue_size
	Unauthenticated ConcurrencyLimits `toml:"unauthenticated"`
}

// AdaptiveLimiting is [adaptive_limiting]: what counts as pressure.
type AdaptiveLimiting struct {
	CPUThrottledThreshold float64 `toml:"cpu_throttled_threshold"` // share of the time
	MemoryThreshold       float64 `toml:"memory_threshold"`        // share of the cgroup's limit
}

// Limits is [limits]. Each number is for reading and for writing RPCs apart; 0 is no
// limit.
type Limits struct {
	// Calls are unary RPCs, over as soon as git has the answer.
	CallsPerRepository int             `toml:"calls_per_repository"`
	Calls              int             `toml:"calls"` // on the whole server
	CallWait           config.Duration `toml:"call_wait"`
	// Transfers are streams, fetches and pushes, which take as long as their client,
	// and apart from them copies of repositories, which take as long as another server.
	TransfersPerRepository int             `toml:"transfers_per_repository"`
	Transfers              int             `toml:"transfers"`
	TransferWait           config.Duration `toml:"transfer_wait"`
	// AnonymousTransfers are those of callers without a user, on the whole server: the
	// other places are kept for people who are logged in.
	AnonymousTransfers int `toml:"anonymous_transfers"`
	// QueueSize is how many wait for each of them, and per repository.
	QueueSize int `toml:"queue_size"`
	// ChildMemoryBytes bounds what each git process allocates. Packs mapped into memory
	// do not count, so it need not grow with them.
	ChildMemoryBytes int64 `toml:"child_memory_bytes"`
	// ChildCPUTime bounds the computing of a git process that answers a question,
	// PushCPUTime that of one which takes a push in; fetches, archives and
	// housekeeping have none.
	ChildCPUTime config.Duration `toml:"child_cpu_time"`
	PushCPUTime  config.Duration `toml:"push_cpu_time"`
}

// defaultQueue is how many calls wait unless the configuration says otherwise.
const defaultQueue = 500

// minChildMemory is what a hook in Go needs, which inherits the bound of its git.
const minChildMemory = 256 << 20

// The limit of packs for one client, as GitLab has it.
const (
	defaultPacks     = 200
	defaultPackQueue = 200
)

// replicateRPC is the one RPC that is limited without being configured, since it makes a
// repository anew (wire/gitaly.md §10).
const replicateRPC = "/gitaly.RepositoryService/ReplicateRepository"

func (l ConcurrencyLimits) set() bool { return l != ConcurrencyLimits{} }

// limiter makes the limiter; nil when none is set.
func (l ConcurrencyLimits) limiter() *limit.Limiter {
	if !l.set() {
		return nil
	}
	rule := limit.Rule{
		Running: cmp.Or(l.MaxConcurrency, l.MaxPerRepo), Queue: cmp.Or(l.MaxQueueSize, defaultQueue), Wait: l.MaxQueueWait.D(),
	}
	if l.Adaptive {
		rule.Running, rule.Min, rule.Max = l.InitialLimit, l.MinLimit, l.MaxLimit
	}
	return limit.New(rule)
}

// faults names what is wrong with the limit at a key of the file.
func (l ConcurrencyLimits) faults(at string) []error {
	var faults []error
	add := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf(at+"."+key+": "+format, args...))
	}
	for key, n := range map[string]int{
		"max_per_repo": l.MaxPerRepo, "max_concurrency": l.MaxConcurrency, "max_queue_size": l.MaxQueueSize, "max_queue_wait": int(l.MaxQueueWait),
	} {
		if n < 0 {
			add(key, "is below 0")
		}
	}
	switch {
	case !l.Adaptive && l.MaxConcurrency == 0 && l.MaxPerRepo == 0:
		add("max_concurrency", "missing")
	case !l.Adaptive:
	case l.MinLimit <= 0:
		add("min_limit", "%d is not above 0", l.MinLimit)
	case l.InitialLimit < l.MinLimit || l.InitialLimit > l.MaxLimit:
		add("initial_limit", "%d is not between min_limit %d and max_limit %d", l.InitialLimit, l.MinLimit, l.MaxLimit)
	}
	return faults
}

func (c Config) limitFaults() []error {
	var faults []error
	seen := map[string]bool{}
	for i, l := range c.Concurrency {
		at := fmt.Sprintf("concurrency[%d]", i)
		switch {
		case len(method.Of(l.RPC).Target) == 0:
			faults = append(faults, fmt.Errorf("%s.rpc: %q is no RPC about a repository, such as /gitaly.SSHService/SSHReceivePack", at, l.RPC))
		case seen[l.RPC]:
			faults = append(faults, fmt.Errorf("%s.rpc: %q is there twice", at, l.RPC))
		}
		seen[l.RPC] = true
		faults = append(faults, l.ConcurrencyLimits.faults(at)...)
		if l.Unauthenticated.set() {
			faults = append(faults, l.Unauthenticated.faults(at+".unauthenticated")...)
		}
	}
	faults = append(faults, c.PackObjectsLimiting.ConcurrencyLimits.faults("pack_objects_limiting")...)
	if c.PackObjectsLimiting.Unauthenticated.set() {
		faults = append(faults, c.PackObjectsLimiting.Unauthenticated.faults("pack_objects_limiting.unauthenticated")...)
	}
	for key, share := range map[string]float64{
		"cpu_throttled_threshold": c.AdaptiveLimiting.CPUThrottledThreshold, "memory_threshold": c.AdaptiveLimiting.MemoryThreshold,
	} {
		if share <= 0 || share > 1 {
			faults = append(faults, fmt.Errorf("adaptive_limiting.%s: %v is no share above 0 and up to 1", key, share))
		}
	}
	l := c.Limits
	if min(l.CallsPerRepository, l.Calls, l.TransfersPerRepository, l.Transfers, l.AnonymousTransfers, l.QueueSize, int(l.CallWait), int(l.TransferWait),
		int(l.ChildMemoryBytes), int(l.ChildCPUTime), int(l.PushCPUTime)) < 0 {
		faults = append(faults, fmt.Errorf("limits: nothing in it may be below 0"))
	}
	if l.ChildMemoryBytes > 0 && l.ChildMemoryBytes < minChildMemory {
		faults = append(faults, fmt.Errorf("limits.child_memory_bytes: %d is less than git's hooks need, %d", l.ChildMemoryBytes, minChildMemory))
	}
	return faults
}

// rpcLimits makes the limiters of the RPCs.
func (c Config) rpcLimits(o limit.Observer) limit.Options {
	calls := func() limit.Bounds {
		return c.Limits.bounds(c.Limits.CallsPerRepository, c.Limits.Calls, c.Limits.CallWait)
	}
	transfers := func() limit.Bounds {
		return c.Limits.bounds(c.Limits.TransfersPerRepository, c.Limits.Transfers, c.Limits.TransferWait)
	}
	limits := limit.Options{
		RPCs:  map[string]limit.Split{replicateRPC: {All: limit.New(limit.Rule{Running: 1, Queue: defaultQueue})}},
		Reads: calls(), Writes: calls(), Downloads: transfers(), Uploads: transfers(), Copies: transfers(), Observer: o,
	}
	for _, l := range c.Concurrency {
		limits.RPCs[l.RPC] = limit.Split{All: l.limiter(), Unauthenticated: l.Unauthenticated.limiter()}
	}
	return limits
}

// bounds makes the limiters of one kind of RPC.
func (l Limits) bounds(repository, server int, wait config.Duration) limit.Bounds {
	limiter := func(running int) *limit.Limiter {
		if running == 0 {
			return nil
		}
		return limit.New(limit.Rule{Running: running, Queue: l.QueueSize, Wait: wait.D()})
	}
	return limit.Bounds{Repository: limiter(repository), Server: limiter(server)}
}

// packLimit makes the limit of pack-objects.
func (c Config) packLimit() limit.Split {
	p := c.PackObjectsLimiting
	if p.MaxQueueSize == 0 {
		p.MaxQueueSize = cmp.Or(p.MaxQueueLength, defaultPackQueue)
	}
	return limit.Split{All: p.limiter(), Unauthenticated: p.Unauthenticated.limiter()}
}
