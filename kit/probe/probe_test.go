package probe_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/probe"
)

func get(t *testing.T, s *probe.Set, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		s := probe.New(prometheus.NewRegistry())
		s.Add("db", func(context.Context) error {
			if up.Load() {
				return nil
			}
			return errors.New("refused")
		})
		s.AddOptional("redis", func(context.Context) error { return errors.New("gone") })
		if code, body := get(t, s, "/-/readiness"); code != 503 || !strings.Contains(body, "starting") {
			t.Errorf("before the first round: %d %s", code, body)
		}
		ctx, cancel := context.WithCancel(context.Background())
		go s.Run(ctx)
		synctest.Wait()
		if code, body := get(t, s, "/-/readiness"); code != 503 || !strings.Contains(body, "db: refused") {
			t.Errorf("dependency down: %d %s", code, body)
		}
		up.Store(true)
		time.Sleep(100 * time.Millisecond) // virtual time: the fast pace
		if code, body := get(t, s, "/-/readiness"); code != 200 || !strings.Contains(body, `"redis":"gone"`) {
			t.Errorf("only an optional one down: %d %s", code, body)
		}
		s.Stop()
		if code, _ := get(t, s, "/-/readiness"); code != 503 {
			t.Errorf("stopping: %d", code)
		}
		if code, _ := get(t, s, "/-/liveness"); code != 200 {
			t.Errorf("liveness while stopping: %d", code)
		}
		cancel()
	})
}

func TestSet_metrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sample"}, func() float64 { return 7 }))
	if code, body := get(t, probe.New(reg), "/metrics"); code != 200 || !strings.Contains(body, "sample 7") {
		t.Errorf("metrics: %d %s", code, body)
	}
}

func TestSet_profiles(t *testing.T) {
	t.Parallel()
	s := probe.New(prometheus.NewRegistry())
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/heap": 200, "/debug/pprof/block": 200, "/debug/pprof/cmdline": 404} {
		if code, _ := get(t, s, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}
