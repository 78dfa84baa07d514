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
