// Package gitaly asks the storage servers: which server holds a storage, the
// message that names a repository, and the calls the domain needs, each with a
// deadline and with errors in our kinds. What it asks is documented in wire/gitaly.md.
package gitaly

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
)

// Pool keeps connections to storage servers; kit/gitalyclient has one.
type Pool interface {
	Conn(address, token string) (*grpc.ClientConn, error)
}

// Storage is one place for repositories and the server that holds it.
type Storage struct {
	Name    string
	Address string // unix:/path, tcp://host:port or tls://host:port
	Token   string // shared secret, "" when the server wants none
	Weight  int    // share of new repositories
}

// Client asks storage servers. It is safe for concurrent use.
type Client struct {
	pool     Pool
	storages []Storage
	rnd      func(n int) int
	more     func(name string) (Storage, error)
	mu       sync.Mutex
	added    map[string]Storage // by more
}

// New returns a client. rnd returns a number below n and chooses the storage of
// new repositories.
func New(pool Pool, storages []Storage, rnd func(n int) int) (*Client, error) {
	if len(storages) == 0 {
		return nil, errors.New("no storage is configured")
	}
	return &Client{pool: pool, storages: storages, rnd: rnd, added: map[string]Storage{}}, nil
}

// Also has the client ask for storages that the configuration does not name. Where one
// is does not change: it is asked for once, for all callers together, and so in nobody's
// context. It is set before the client is used.
func (c *Client) Also(more func(name string) (Storage, error)) { c.more = more }

// unavailable is what people read when a storage server does not answer (wire/workhorse.md §10.4).
const unavailable = "The git server, Gitaly, is not available at this time. Please contact your administrator."

// Storage returns where a storage is.
func (c *Client) Storage(name string) (Storage, error) {
	for _, s := range c.storages {
		if s.Name == name {
			return s, nil
		}
	}
	s, err := c.lookUp(name)
	if err != nil {
		return s, errs.Wrap(errs.Unavailable, unavailable, fmt.Errorf("storage %q: %w", name, err))
	}
	return s, nil
}

func (c *Client) lookUp(name string) (Storage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.added[name]; ok {
		return s, nil
	}
	if c.more == nil {
		return Storage{}, errors.New("it is not configured")
	}
	s, err := c.more(name)
	if err == nil {
		c.added[name] = s
	}
	return s, err
}

// Storages returns those of the configuration, in its order.
func (c *Client) Storages() []Storage { return c.storages }

// Choose returns the name of a storage for a new repository, by weight: what weights
// says goes before the configuration, and may name storages that this does not.
func (c *Client) Choose(weights map[string]int) string {
	shares := maps.Clone(weights)
	if shares == nil {
		shares = map[string]int{}
	}
	for _, s := range c.storages {
		if _, ok := shares[s.Name]; !ok {
			shares[s.Name] = s.Weight
		}
	}
	names, total := slices.Sorted(maps.Keys(shares)), 0
	for _, weight := range shares {
		total += max(weight, 0)
	}
	if total > 0 {
		n := c.rnd(total)
		for _, name := range names {
			if n -= max(shares[name], 0); n < 0 {
				return name
			}
		}
	}
	return c.storages[0].Name
}

// Conn returns the connection to the server of a storage.
func (c *Client) Conn(storage string) (*grpc.ClientConn, error) {
	s, err := c.Storage(storage)
	if err != nil {
		return nil, err
	}
	conn, err := c.pool.Conn(s.Address, s.Token)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, unavailable, fmt.Errorf("connect to storage %q: %w", storage, err))
	}
	return conn, nil
}

// Repository returns the message that names a project's repository.
func Repository(p project.Project) *gitalypb.Repository {
	return &gitalypb.Repository{
		StorageName: p.Storage, RelativePath: p.DiskPath, GlRepository: p.GLRepository(), GlProjectPath: p.FullPath,
	}
}

// Repository returns the message that names a project's repository.
func (c *Client) Repository(p project.Project) *gitalypb.Repository { return Repository(p) }

// Alive asks the server of a storage whether it serves.
func (c *Client) Alive(ctx context.Context, storage string) error {
	conn, err := c.Conn(storage)
	if err != nil {
		return err
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return translate("health check", err)
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return errs.Wrap(errs.Unavailable, unavailable, fmt.Errorf("storage %q is %v", storage, answer.GetStatus()))
	}
	return nil
}

// Deadlines of the calls below.
const (
	fast   = 10 * time.Second // reads a ref or two, makes or removes a directory
	medium = 60 * time.Second // walks a history
	// listing tells every reference, as fast as they are compared with others.
	listing = 10 * time.Minute
)

// call runs one unary call with a deadline and translates its error.
func call[T any](ctx context.Context, what string, limit time.Duration, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := do(ctx)
	if err != nil {
		return answer, translate(what, err)
	}
	return answer, nil
}

// translate turns a server's answer into our kinds. What is not the server's
// absence, or the absence of what was asked for, is our mistake and internal.
func translate(what string, err error) error {
	err = fmt.Errorf("gitaly: %s: %w", what, err)
	switch status.Code(errors.Unwrap(err)) {
	case codes.Canceled:
		return errs.Wrap(errs.Canceled, "", err)
	case codes.NotFound:
		return errs.Wrap(errs.NotFound, "A repository for this project does not exist yet.", err)
	case codes.AlreadyExists:
		return errs.Wrap(errs.Exists, "", err)
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return errs.Wrap(errs.Unavailable, unavailable, err)
	}
	return err
}
