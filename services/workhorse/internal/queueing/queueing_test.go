package queueing_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gitsplit/services/workhorse/internal/queueing"
)

// Two run for 10 s each, three more wait for at most 5 s.
func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		work := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-time.After(10 * time.Second) })
		q := queueing.New("q", queueing.Limits{Running: 2, Waiting: 3, Time: 5 * time.Second}, reg, work)
		began := time.Now()
		type outcome struct {
			Name   string
			Status int
			Body   string
			After  time.Duration
		}
		outcomes := make(chan outcome, 10)
		send := func(ctx context.Context, name string) {
			go func() {
				w := httptest.NewRecorder()
				q.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/", nil))
				if w.Code >= 500 && w.Header().Get("Retry-After") == "" {
					t.Errorf("%s: no Retry-After", name)
				}
				outcomes <- outcome{name, w.Code, w.Body.String(), time.Since(began)}
			}()
			synctest.Wait()
		}
		left, leave := context.WithCancel(t.Context())
		send(t.Context(), "first")
		send(t.Context(), "second")
		send(t.Context(), "late")
		send(left, "leaves")
		<-time.After(6 * time.Second) // the queue is empty again
		send(t.Context(), "third")
		send(t.Context(), "fourth")
		send(left, "leaves too")
		send(t.Context(), "too many")
		leave()
		got := map[string]outcome{}
		for range 8 {
			o := <-outcomes
			got[o.Name] = o
		}
		const s = time.Second
		want := map[string]outcome{
			"first": {"first", 200, "", 10 * s}, "second": {"second", 200, "", 10 * s},
			"late":   {"late", 503, "Service Unavailable\n", 5 * s},
			"leaves": {"leaves", 503, "Service Unavailable\n", 5 * s},
			"third":  {"third", 200, "", 20 * s}, "fourth": {"fourth", 200, "", 20 * s},
			"leaves too": {"leaves too", 499, "", 6 * s},
			"too many":   {"too many", 429, "Too Many Requests\n", 6 * s},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if n, err := testutil.GatherAndCount(reg); err != nil || n < 8 {
			t.Errorf("%d metrics, %v", n, err)
		}
	})
}

func TestQueue_none(t *testing.T) {
	t.Parallel()
	next := http.NewServeMux()
	if got := queueing.New("q", queueing.Limits{}, prometheus.NewRegistry(), next); got != next {
		t.Errorf("a limit of 0 makes a queue: %v", got)
	}
}
