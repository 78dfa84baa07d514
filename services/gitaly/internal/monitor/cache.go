package monitor

import (
	"github.com/prometheus/client_golang/prometheus"
)

// PackCache are the metrics of the cache of packs.
type PackCache struct {
	reg               prometheus.Registerer
	lookups           *prometheus.CounterVec
	served, generated prometheus.Counter
}

func newPackCache(reg prometheus.Registerer) *PackCache {
	c := &PackCache{
		reg: reg,
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_pack_objects_cache_lookups_total", Help: "Packs asked for: hit or miss.",
		}, []string{"result"}),
		served: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitaly_pack_objects_served_bytes_total", Help: "Bytes of packs, progress included, that clients got.",
		}),
		generated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitaly_pack_objects_generated_bytes_total", Help: "Bytes of packs, progress included, that git made.",
		}),
	}
	reg.MustRegister(c.lookups, c.served, c.generated)
	return c
}

// Lookup counts a pack that was asked for.
func (c *PackCache) Lookup(hit bool) { c.lookups.WithLabelValues(hitOrMiss(hit)).Inc() }

// Generated counts what git made.
func (c *PackCache) Generated(bytes int64) { c.generated.Add(float64(bytes)) }

// Served counts what clients got.
func (c *PackCache) Served(bytes int64) { c.served.Add(float64(bytes)) }

// Watch shows how much the cache in a directory holds.
func (c *PackCache) Watch(dir string, usage func() (streams int, bytes int64)) {
	gauge := func(name, help string, value func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"dir": dir}}, value)
	}
	c.reg.MustRegister(
		gauge("gitaly_streamcache_index_entries", "Streams in the cache.", func() float64 {
			n, _ := usage()
			return float64(n)
		}),
		gauge("gitaly_streamcache_filestore_disk_usage_bytes", "Bytes of the cache's files.", func() float64 {
			_, n := usage()
			return float64(n)
		}))
}

func hitOrMiss(hit bool) string {
	if hit {
		return "hit"
	}
	return "miss"
}

// RefCache are the metrics of the cache of references.
type RefCache struct {
	attempts, invalidations, requests, misses, stored, fetched prometheus.Counter
	results                                                    *prometheus.CounterVec
}

func newRefCache(reg prometheus.Registerer) *RefCache {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	c := &RefCache{
		attempts:      counter("gitaly_inforef_cache_attempt_total", "Requests for references that the cache could answer."),
		invalidations: counter("gitaly_cacheinvalidator_rpc_total", "RPCs that may change references."),
		requests:      counter("gitaly_diskcache_requests_total", "Look-ups in the cache of references."),
		misses:        counter("gitaly_diskcache_miss_total", "Look-ups that found nothing."),
		stored:        counter("gitaly_diskcache_bytes_stored_total", "Bytes that went into the cache of references."),
		fetched:       counter("gitaly_diskcache_bytes_fetched_total", "Bytes that came out of it."),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitaly_inforef_cache_hit_miss_total", Help: "The same by outcome: hit, miss, or err while somebody writes.",
		}, []string{"type"}),
	}
	reg.MustRegister(c.results)
	return c
}

// InfoRefs counts a request by what became of it.
func (c *RefCache) InfoRefs(result string) {
	c.attempts.Inc()
	c.results.WithLabelValues(result).Inc()
}

// Invalidated counts an RPC that may change references.
func (c *RefCache) Invalidated() { c.invalidations.Inc() }

// Lookup counts a look for a stream.
func (c *RefCache) Lookup(hit bool) {
	c.requests.Inc()
	if !hit {
		c.misses.Inc()
	}
}

// Generated counts what git said.
func (c *RefCache) Generated(bytes int64) { c.stored.Add(float64(bytes)) }

// Served counts what clients got.
func (c *RefCache) Served(bytes int64) { c.fetched.Add(float64(bytes)) }
