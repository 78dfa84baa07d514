package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis says where Redis is, in GitLab's keys. Without URL and Sentinel there is
// none.
type Redis struct {
	URL      string `toml:"URL"` // unix:/path, tcp://host:port, redis://… or rediss://…
	Username string `toml:"Username"`
	Password string `toml:"Password"`
	DB       int    `toml:"DB"`
	// Connections kept, and in all; 0 leaves it to the library.
	MaxIdle   int `toml:"MaxIdle"`
	MaxActive int `toml:"MaxActive"`
	// Sentinels (host:port, or redis://host:port) win over URL.
	Sentinel         []string `toml:"Sentinel"`
	SentinelMaster   string   `toml:"SentinelMaster"`
	SentinelUsername string   `toml:"SentinelUsername"`
	SentinelPassword string   `toml:"SentinelPassword"`
}

func (r Redis) configured() bool { return r.URL != "" || len(r.Sentinel) > 0 }

const masked = "[MASKED]"

// MarshalJSON leaves passwords out: it is how the settings are logged.
func (r Redis) MarshalJSON() ([]byte, error) {
	type plain Redis
	shown := plain(r)
	for _, secret := range []*string{&shown.Password, &shown.SentinelPassword} {
		if *secret != "" {
			*secret = masked
		}
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		shown.URL = masked
	} else {
		shown.URL = u.Redacted()
	}
	return json.Marshal(shown)
}

// libraryLog takes what the Redis library would print to stderr, which is for JSON
// lines. What matters comes as errors too.
type libraryLog struct{ log *slog.Logger }

// Printf logs a line.
func (l libraryLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis library", slog.String("text", fmt.Sprintf(format, v...)))
}

// A Redis that does not answer in this time is down: requests do not wait for it.
const redisTimeout = 2 * time.Second

// options returns how to connect.
func (r Redis) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Username: r.Username, Password: r.Password, DB: r.DB, MaxIdleConns: r.MaxIdle, PoolSize: r.MaxActive,
		DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, PoolTimeout: redisTimeout,
		ContextTimeoutEnabled: true,
	}
	if len(r.Sentinel) > 0 {
		return o, r.sentinel(o)
	}
	raw := r.URL
	switch scheme, rest, _ := strings.Cut(raw, ":"); scheme {
	case "unix":
		raw = "unix://" + strings.TrimPrefix(rest, "//")
	case "tcp":
		raw = "redis:" + rest
	}
	from, err := redis.ParseURL(raw)
	if err != nil {
		return nil, errors.New("want unix:/path, tcp://host:port, redis:// or rediss://") // err may hold a password
	}
	o.Addrs = []string{from.Addr} // a path is known by its slash
	o.TLSConfig = from.TLSConfig
	if from.Username != "" {
		o.Username = from.Username
	}
	if from.Password != "" {
		o.Password = from.Password
	}
	if from.DB != 0 {
		o.DB = from.DB
	}
	return o, nil
}

func (r Redis) sentinel(o *redis.UniversalOptions) error {
	if r.SentinelMaster == "" {
		return errors.New("sentinels need SentinelMaster")
	}
	o.MasterName, o.SentinelUsername, o.SentinelPassword = r.SentinelMaster, r.SentinelUsername, r.SentinelPassword
	for _, s := range r.Sentinel {
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			s = u.Host
		}
		o.Addrs = append(o.Addrs, s)
	}
	return nil
}

// client connects on first use; nil without Redis.
func (r Redis) client() (redis.UniversalClient, error) {
	if !r.configured() {
		return nil, nil
	}
	o, err := r.options()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return redis.NewUniversalClient(o), nil
}
