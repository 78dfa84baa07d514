// Package app wires the two programs of this module by hand: rails-api, which
// answers workhorse, and sidekiq, which does the jobs. Both share one
// configuration and one database.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/secret"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/site"
	"gitsplit/services/rails-api/internal/storage"
)

// Version and Revision are what the API calls itself: the GitLab release whose
// interfaces it speaks.
const (
	Version  = "18.2.0"
	Revision = "gitsplit"
)

// base is what both programs stand on.
type base struct {
	cfg     Config
	name    string
	log     *slog.Logger
	db      *pgxpool.Pool
	redis   *redis.Client
	pool    *gitalyclient.Pool
	gitaly  *gitaly.Client
	files   *storage.Store // LFS objects, attachments
	site    site.Site
	metrics *prometheus.Registry
	started atomic.Bool // every part runs
}

// open makes the clients. None of them connects yet: what they talk to may come later.
func open(ctx context.Context, cfg Config, name string, log *slog.Logger) (*base, error) {
	b := &base{cfg: cfg, name: name, log: log, metrics: prometheus.NewRegistry()}
	b.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	storages, err := readStorages(cfg.Storages)
	if err != nil {
		return nil, err
	}
	if b.site, err = siteOf(cfg); err != nil {
		return nil, err
	}
	if b.redis, err = openRedis(cfg.RedisURL); err != nil {
		return nil, err
	}
	b.pool = gitalyclient.NewPool(gitalyclient.Options{ClientName: name, Log: log})
	if b.gitaly, err = gitaly.New(b.pool, storages, rand.IntN); err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.gitaly.Also(b.added)
	if b.files, err = storage.Open(ctx, cfg.ObjectStorage); err != nil {
		return nil, errors.Join(err, b.close())
	}
	options := postgres.Options{Name: name, MaxConns: int32(cfg.DatabaseConnections)} //nolint:gosec // validated
	if b.db, err = postgres.Open(ctx, cfg.DatabaseURL, options); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// close releases everything, last opened first.
func (b *base) close() error {
	if b.db != nil {
		b.db.Close()
	}
	err := b.pool.Close()
	if b.files != nil {
		err = errors.Join(err, b.files.Close())
	}
	if closeErr := b.redis.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close redis: %w", closeErr))
	}
	return err
}

func siteOf(cfg Config) (site.Site, error) {
	u, err := url.Parse(strings.TrimSuffix(cfg.ExternalURL, "/"))
	if err != nil {
		return site.Site{}, fmt.Errorf("external_url: %w", err)
	}
	return site.Site{External: u, SSHHost: cfg.SSHHost, SSHPort: cfg.SSHPort, SSHUser: cfg.SSHUser}, nil
}

func readStorages(list []StorageConfig) ([]gitaly.Storage, error) {
	storages := make([]gitaly.Storage, 0, len(list))
	for _, s := range list {
		storage := gitaly.Storage{Name: s.Name, Address: s.GitalyAddress, Weight: s.Weight}
		if s.GitalyTokenFile != "" {
			token, err := secret.Read(s.GitalyTokenFile, minSecret)
			if err != nil {
				return nil, fmt.Errorf("storage %q: %w", s.Name, err)
			}
			storage.Token = string(token)
		}
		storages = append(storages, storage)
	}
	return storages, nil
}

// Limits on Redis are tight, since everything goes on without it.
const (
	redisDial   = 500 * time.Millisecond
	redisAnswer = time.Second
	minSecret   = 32
)

func openRedis(address string) (*redis.Client, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("redis_url: %w", err)
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = redisDial, redisAnswer, redisAnswer
	o.MaxRetries, o.DialerRetries, o.PoolSize = 1, 1, 10
	o.ContextTimeoutEnabled = true
	return redis.NewClient(o), nil
}

// keys reads a secret and the one before it, if there is one.
func keys(read func(path string) ([]byte, error), current, previous string) ([][]byte, error) {
	var list [][]byte
	for _, path := range []string{current, previous} {
		if path == "" {
			continue
		}
		key, err := read(path)
		if err != nil {
			return nil, err
		}
		list = append(list, key)
	}
	return list, nil
}

func shellKey(path string) ([]byte, error)     { return secret.Read(path, minSecret) }
func workhorseKey(path string) ([]byte, error) { return secret.ReadBase64(path, minSecret) }
