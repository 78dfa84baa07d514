package counter_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/redistest"
)

const repo = "project-1"

// TestCounter_named: a push with an identity is in flight once, whatever is reported twice or never.
func TestCounter_named(t *testing.T) {
	t.Parallel()
	now, r := time.Now(), redistest.New(t)
	c := counter.New(r, slog.New(slog.DiscardHandler), func() time.Time { return now })
	a, b, d, e := strings.Repeat("a", 32), strings.Repeat("b", 32), strings.Repeat("d", 32), strings.Repeat("e", 32)
	for i, step := range []struct {
		begin, end string
		later      time.Duration
		want       int64
	}{
		{begin: a, want: 1}, {begin: a, want: 1}, {begin: b, want: 2}, {end: a, want: 1}, {end: a, want: 1},
		{later: time.Minute, begin: a, want: 1}, {later: 8 * time.Minute, begin: d, want: 2}, {later: 90 * time.Second, want: 1},
		{later: 10 * time.Minute, want: 0}, {begin: b, want: 1}, {end: b, want: 0},
		{end: e, want: 0}, {begin: e, want: 0}, {begin: d, want: 1}, {end: d, want: 0}, // the end of e overtook its begin
	} {
		now = now.Add(step.later)
		var err error
		if step.begin != "" {
			err = c.Begin(t.Context(), repo, step.begin)
		}
		if step.end != "" {
			err = c.End(t.Context(), repo, step.end)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.InFlight(t.Context(), repo); n != step.want || err != nil {
			t.Errorf("step %d: %d in flight, %v; want %d", i, n, err, step.want)
		}
	}
	if left, err := r.Keys(t.Context(), "*").Result(); len(left) != 1 || left[0] != "git-receive-pack-ended:"+repo || err != nil {
		t.Errorf("left: %q, %v", left, err)
	}
}

// TestCounter_mixed: pushes with and without an identity count together, and all of them expire.
func TestCounter_mixed(t *testing.T) {
	t.Parallel()
	r := redistest.New(t)
	c := counter.New(r, slog.New(slog.DiscardHandler), time.Now)
	for _, id := range []string{"", "", strings.Repeat("a", 32)} {
		if err := c.Begin(t.Context(), repo, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.End(t.Context(), repo, ""); err != nil {
		t.Fatal(err)
	}
	if n, err := c.InFlight(t.Context(), repo); n != 2 || err != nil {
		t.Errorf("%d in flight, %v", n, err)
	}
	for _, key := range []string{"git-receive-pack-reference-counter:" + repo, "git-receive-pack-pushes:" + repo} {
		if ttl := r.TTL(t.Context(), key).Val(); ttl <= 590*time.Second || ttl > 600*time.Second {
			t.Errorf("%s expires in %v", key, ttl)
		}
	}
}

// TestCounter_Age: Redis itself tells, so that one that was started again is young.
func TestCounter_Age(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := counter.New(redistest.New(t), slog.New(slog.DiscardHandler), time.Now)
	if age, err := c.Age(t.Context()); err != nil || age < 0 || age > time.Since(began) {
		t.Errorf("%v, %v", age, err)
	}
	if _, err := counter.New(redistest.Down(t), slog.New(slog.DiscardHandler), time.Now).Age(t.Context()); err == nil {
		t.Error("no Redis has an age")
	}
}
