package app

import (
	"fmt"
	"path/filepath"
	"time"

	"gitsplit/kit/config"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/inforefs"
	"gitsplit/services/gitaly/internal/limit"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/streamcache"
)

// PackObjectsCache is [pack_objects_cache].
type PackObjectsCache struct {
	Enabled bool `toml:"enabled"`
	// Dir is by default +gitaly/PackObjectsCache in the first storage.
	Dir    string          `toml:"dir"`
	MaxAge config.Duration `toml:"max_age"`
	// MinOccurrences is how often a pack is asked for before it is kept.
	MinOccurrences int `toml:"min_occurrences"`
	// Backpressure makes git wait for the fastest of those who get the pack.
	Backpressure bool `toml:"backpressure"`
	// MaxBytes is ours: the size of the whole cache.
	MaxBytes int64 `toml:"max_bytes"`
	// ShareFrom is ours, too: repositories whose packs have fewer bytes use the cache
	// only for fetches at the same time; one alone is faster without. 0 is for all.
	ShareFrom int64 `toml:"share_from"`
}

func defaultPackObjectsCache() PackObjectsCache {
	return PackObjectsCache{Enabled: true, MaxAge: config.Duration(5 * time.Minute), MinOccurrences: 1, Backpressure: true, MaxBytes: 10 << 30, ShareFrom: 4 << 20}
}

// cacheReserve is what the caches leave free of a disk that they share with
// repositories.
const cacheReserve = 1 << 30

func (c PackObjectsCache) faults() []error {
	var faults []error
	add := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("pack_objects_cache."+key+": "+format, args...))
	}
	if c.MaxAge <= 0 {
		add("max_age", "%v is not a positive duration", c.MaxAge)
	}
	if c.MinOccurrences < 0 {
		add("min_occurrences", "%d is negative", c.MinOccurrences)
	}
	if c.MaxBytes <= 0 {
		add("max_bytes", "%d is not a size: set enabled to false for no cache", c.MaxBytes)
	}
	if c.ShareFrom < 0 {
		add("share_from", "%d is negative", c.ShareFrom)
	}
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		add("dir", "%q is not absolute", c.Dir)
	}
	return faults
}

// packCache opens the cache of packs; it is nil when that is off.
func (a *App) packCache() (*streamcache.Cache, error) {
	c := a.cfg.PackObjectsCache
	if !c.Enabled {
		return nil, nil
	}
	dir := c.Dir
	if dir == "" {
		dir = a.ownDir("PackObjectsCache")
	}
	cache, err := streamcache.New(streamcache.Options{
		Dir: dir, MaxAge: c.MaxAge.D(), MaxBytes: c.MaxBytes, MinFree: cacheReserve, MinOccurrences: c.MinOccurrences,
		Backpressure: c.Backpressure, Log: a.log, Observer: a.metrics.PackCache,
	})
	if err != nil {
		return nil, fmt.Errorf("pack_objects_cache: %w", err)
	}
	a.metrics.PackCache.Watch(dir, cache.Usage)
	a.closers = append(a.closers, cache.Close)
	return cache, nil
}

// packs makes what serves pushes and fetches.
func (a *App) packs(git *gitcmd.Factory, setup pack.HookSetup) (*pack.Service, error) {
	cache, err := a.packCache()
	if err != nil {
		return nil, err
	}
	a.refs.Locator = a.locator
	if a.refs.Cache, err = a.refCache(); err != nil {
		return nil, err
	}
	return pack.New(pack.Options{
		Git: git, Hooks: setup, Journal: a.journal.Journal, Suspect: a.marks.Mark, Log: a.log, FinishTimeout: finishTimeout, Idle: a.cfg.Timeout.TransferIdle.D(),
		UploadPackNegotiation:    a.cfg.Timeout.UploadPackNegotiation.D(),
		UploadArchiveNegotiation: a.cfg.Timeout.UploadArchiveNegotiation.D(),
		Cache:                    cache,
		SpoolDir:                 a.ownDir("tmp"),
		InfoRefs:                 a.refs.Cache,
		ShareFrom:                a.cfg.PackObjectsCache.ShareFrom,
		Limit:                    limit.NewPacks(a.limits.packs, a.metrics.Packs),
	}), nil
}

// The cache of references: none stays for ever, since somebody may repair a repository
// by hand.
const (
	refCacheAge   = 5 * time.Minute
	refCacheBytes = 256 << 20
)

// refCache opens the cache of what upload-pack tells of references.
func (a *App) refCache() (*inforefs.Cache, error) {
	streams, err := streamcache.New(streamcache.Options{
		Dir: a.ownDir("cache"), MaxAge: refCacheAge, MaxBytes: refCacheBytes, MinFree: cacheReserve, Backpressure: true,
		Log: a.log, Observer: a.metrics.RefCache,
	})
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, streams.Close)
	return inforefs.New(streams, a.metrics.RefCache), nil
}

// ownDir is a directory of gitaly's own in the first storage.
func (a *App) ownDir(name string) string {
	return filepath.Join(a.locator.Storages()[0].Own(), name)
}
