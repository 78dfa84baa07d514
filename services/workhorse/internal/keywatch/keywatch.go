// Package keywatch waits for keys in Redis to change, all over one connection
// (wire/workhorse.md §7.1). Who changes a key publishes its new value on the channel
// "workhorse:notifications:<key>".
package keywatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"gitsplit/kit/logging"
)

const channelPrefix = "workhorse:notifications:"

// Outcome of a wait.
type Outcome int

// The outcomes.
const (
	Changed  Outcome = iota // the value was another one already, or is gone
	Seen                    // it changed while we waited
	Same                    // it was set again, or workhorse stops
	TimedOut                // nothing happened
)

// ErrLost is the error of waits whose connection to Redis is down or was lost.
var ErrLost = errors.New("no connection to Redis")

// Watcher waits for many keys at once. Run must run for it to work.
type Watcher struct {
	client  redis.UniversalClient
	log     *slog.Logger
	metrics *Metrics
	ended   chan struct{} // closed by end
	end     func()        // releases all waits

	mu     sync.Mutex
	conn   *redis.PubSub // nil while not connected
	topics map[string]*topic
	asked  map[string]int // subscriptions by channel that Redis has not confirmed yet
}

// topic is one channel and who waits on it.
type topic struct {
	ready   chan struct{} // closed once Redis has confirmed the subscription
	waiters map[chan string]struct{}
}

// New returns a Watcher on a client, which should serve nothing else: waits hold
// its connections.
func New(client redis.UniversalClient, metrics *Metrics, log *slog.Logger) *Watcher {
	ended := make(chan struct{})
	return &Watcher{client: client, log: log, metrics: metrics, ended: ended, end: sync.OnceFunc(func() { close(ended) })}
}

// The pauses before Redis is tried again.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// Run keeps the connection until ctx ends, then releases all waits. It may be
// called once.
func (w *Watcher) Run(ctx context.Context) {
	defer w.end()
	pause := firstPause
	for {
		connected, err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			pause = firstPause
		}
		w.log.WarnContext(ctx, "no connection to Redis: runners are not held back", slog.Any(logging.KeyError, err))
		timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = min(2*pause, longestPause)
	}
}

// session serves one connection until it is lost.
func (w *Watcher) session(ctx context.Context) (connected bool, err error) {
	conn := w.client.Subscribe(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends Receive
	defer func() {
		if stop() {
			err = errors.Join(err, conn.Close())
		}
	}()
	if err := conn.Ping(ctx); err != nil {
		return false, err
	}
	w.connect(conn)
	defer func() {
		if ctx.Err() != nil {
			w.end() // before the connection goes: nothing is lost, it is over
		}
		w.lose()
	}()
	return true, w.receive(ctx, conn)
}

// quiet is how long Redis may say nothing before it is asked whether it is there,
// and then before it is given up.
const quiet = 20 * time.Second

func (w *Watcher) receive(ctx context.Context, conn *redis.PubSub) error {
	pinged := false
	for {
		m, err := conn.ReceiveTimeout(ctx, quiet)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !pinged:
			pinged = true
			if err := conn.Ping(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		pinged = false
		switch m := m.(type) {
		case *redis.Subscription:
			w.metrics.subscriptions.Set(float64(m.Count))
			if m.Kind == "subscribe" {
				w.confirm(m.Channel)
			}
		case *redis.Message:
			w.metrics.messages.Inc()
			w.metrics.bytes.Add(float64(len(m.Payload)))
			w.deliver(m.Channel, m.Payload)
		}
	}
}

func (w *Watcher) connect(conn *redis.PubSub) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.topics, w.asked = conn, map[string]*topic{}, map[string]int{}
}

// lose ends all waits with ErrLost.
func (w *Watcher) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.topics {
		for c := range t.waiters {
			close(c)
		}
	}
	w.conn, w.topics, w.asked = nil, nil, nil
}

func (w *Watcher) confirm(channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[channel]--
	if w.asked[channel] > 0 { // that was an earlier subscription, given up since
		return
	}
	delete(w.asked, channel)
	if t := w.topics[channel]; t != nil {
		close(t.ready)
	}
}

func (w *Watcher) deliver(channel, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.topics[channel]
	if t == nil {
		w.metrics.action("drop-message")
		return
	}
	w.metrics.action("deliver-message")
	for c := range t.waiters {
		select {
		case c <- value:
		default: // it has one already
		}
	}
}

// subscribe returns where the values of a channel arrive, once ready is closed. At
// the loss of the connection news is closed.
func (w *Watcher) subscribe(ctx context.Context, channel string) (news chan string, ready <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		return nil, nil, ErrLost
	}
	t := w.topics[channel]
	if t == nil {
		w.metrics.action("create-subscription")
		if err := w.conn.Subscribe(ctx, channel); err != nil {
			return nil, nil, fmt.Errorf("subscribe: %w", err)
		}
		w.asked[channel]++
		t = &topic{ready: make(chan struct{}), waiters: map[chan string]struct{}{}}
		w.topics[channel] = t
	}
	news = make(chan string, 1)
	t.waiters[news] = struct{}{}
	w.metrics.watchers.Inc()
	return news, t.ready, nil
}

func (w *Watcher) unsubscribe(ctx context.Context, channel string, news chan string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.metrics.watchers.Dec()
	t := w.topics[channel]
	if t == nil {
		return
	}
	delete(t.waiters, news)
	if len(t.waiters) > 0 {
		return
	}
	delete(w.topics, channel)
	w.metrics.action("delete-subscription")
	_ = w.conn.Unsubscribe(ctx, channel) // a lost connection has none
}

// Wait waits until the key's value is another one than value, for at most the given
// time. A key that does not exist has the value "". Errors: ErrLost, the context's,
// and those of Redis.
func (w *Watcher) Wait(ctx context.Context, key, value string, patience time.Duration) (Outcome, error) {
	// Neither a subscription nor its end is left half written.
	whole := context.WithoutCancel(ctx)
	channel := channelPrefix + key
	news, ready, err := w.subscribe(whole, channel)
	if err != nil {
		return 0, err
	}
	defer w.unsubscribe(whole, channel, news)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ready:
	case v, ok := <-news:
		return w.judge(v, ok, value)
	case <-w.ended:
		return Same, nil
	case <-timer.C:
		return 0, ErrLost // Redis does not answer
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	current, err := w.client.Get(ctx, key).Result()
	switch {
	case err != nil && !errors.Is(err, redis.Nil):
		return 0, fmt.Errorf("get: %w", err)
	case current != value:
		return Changed, nil
	}
	select {
	case v, ok := <-news:
		return w.judge(v, ok, value)
	case <-w.ended:
		return Same, nil
	case <-timer.C:
		return TimedOut, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// judge reads what arrived: a value, or with !ok the loss of the connection.
func (w *Watcher) judge(news string, ok bool, old string) (Outcome, error) {
	switch {
	case !ok:
		select {
		case <-w.ended:
			return Same, nil
		default:
			return 0, ErrLost
		}
	case news == "": // rails-api has forgotten the queue
		return Changed, nil
	case news == old:
		return Same, nil
	}
	return Seen, nil
}
