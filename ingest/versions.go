package ingest

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/store"
)

// versions remembers which version of a service runs where, as the resources of spans and OTLP metrics say, and keeps it
// as series: spans are searched by trace, and points do not carry it.
type versions struct {
	mu   sync.RWMutex
	seen map[versionKey]int64 // last seen, Unix milliseconds

	dropped *metrics.Counter
}

type versionKey struct {
	tenant                                             store.Tenant
	service, version, image, node, container, instance string
}

const (
	seriesVersion = "weir_service_info"
	versionEvery  = 15 * time.Second
	versionFor    = time.Minute // an instance is said to run for this long after its last word
	maxVersions   = 50_000      // instances of all tenants
)

func newVersions(set *metrics.Set) *versions {
	v := &versions{seen: map[versionKey]int64{}, dropped: set.NewCounter("weir_ingest_versions_dropped_total")}
	set.NewGauge("weir_ingest_versions", func() float64 {
		v.mu.RLock()
		defer v.mu.RUnlock()
		return float64(len(v.seen))
	})
	return v
}

// hear notes one resource. The strings of k need not outlive the call.
func (v *versions) hear(k versionKey, now int64) {
	if k.service == "" || k.version == "" && k.image == "" {
		return
	}
	if max(len(k.service), len(k.version), len(k.node), len(k.container), len(k.instance)) > 200 || len(k.image) > 500 {
		v.dropped.Inc() // nobody names versions like that
		return
	}
	if k.version == "" { // the tag of an image is the version of what is in it
		if i := strings.LastIndexByte(k.image, ':'); i > strings.LastIndexByte(k.image, '/') {
			k.version = k.image[i+1:]
		}
		if k.version == "" {
			return
		}
	}
	v.mu.RLock()
	at := v.seen[k]
	v.mu.RUnlock()
	if now-at < 5000 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.seen[k]; !known {
		if len(v.seen) >= maxVersions {
			v.dropped.Inc()
			return
		}
		for _, s := range []*string{&k.service, &k.version, &k.image, &k.node, &k.container, &k.instance} {
			*s = strings.Clone(*s)
		}
		k.tenant = store.Tenant(strings.Clone(string(k.tenant)))
	}
	v.seen[k] = now
}

// hearSpans notes the resources of spans; those of one resource lie beside each other.
func (v *versions) hearSpans(t store.Tenant, spans []store.Span, now int64) {
	var last *store.Attr
	for i := range spans {
		s := &spans[i]
		if len(s.Resource) == 0 || &s.Resource[0] == last {
			continue
		}
		last = &s.Resource[0]
		k := versionKey{tenant: t, service: s.Service, node: s.Node, container: s.Container}
		tag := ""
		for j := range s.Resource {
			switch a := &s.Resource[j]; a.Key {
			case "service.version":
				k.version = a.Str
			case "service.instance.id":
				k.instance = a.Str
			case "container.image.name":
				k.image = a.Str
			case "container.image.tag":
				tag = a.Str
			}
		}
		v.hear(k.tagged(tag), now)
	}
}

// hearMetrics notes the resources of OTLP metrics.
func (v *versions) hearMetrics(t store.Tenant, md pmetric.Metrics, now int64) {
	for _, rm := range md.ResourceMetrics().All() {
		at := rm.Resource().Attributes()
		get := func(name string) string {
			if x, ok := at.Get(name); ok {
				return x.AsString()
			}
			return ""
		}
		k := versionKey{
			tenant: t, service: get("service.name"), version: get("service.version"), node: get("host.name"), container: get("container.id"),
			instance: get("service.instance.id"), image: get("container.image.name"),
		}
		v.hear(k.tagged(get("container.image.tag")), now)
	}
}

func (k versionKey) tagged(tag string) versionKey {
	if k.image != "" && tag != "" {
		k.image += ":" + tag
	}
	return k
}

// run keeps the series until ctx ends. What the store does not take comes again with the next turn.
func (v *versions) run(ctx context.Context, m store.Metrics, failed func(error)) {
	tick := time.NewTicker(versionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for t, b := range v.batches(now.UnixMilli()) {
				if _, err := m.Append(ctx, t, b); err != nil && ctx.Err() == nil {
					failed(err)
				}
			}
		}
	}
}

// batches makes one sample for everything heard in the last minute, and forgets the rest.
func (v *versions) batches(now int64) map[store.Tenant]*store.MetricBatch {
	v.mu.Lock()
	maps.DeleteFunc(v.seen, func(_ versionKey, at int64) bool { return now-at > versionFor.Milliseconds() })
	keys := make([]versionKey, 0, len(v.seen))
	for k := range v.seen {
		keys = append(keys, k)
	}
	v.mu.Unlock()
	out := map[store.Tenant]*store.MetricBatch{}
	meta := metadata.Metadata{Type: "gauge", Help: "1 for each instance of a service with the version it runs, as its spans and OTLP metrics say."}
	for _, k := range keys {
		b := out[k.tenant]
		if b == nil {
			b = &store.MetricBatch{}
			out[k.tenant] = b
		}
		s := store.BatchSeries{Samples: []store.Sample{{T: now, V: 1}}, Meta: meta}
		for _, l := range [][2]string{
			{model.MetricNameLabel, seriesVersion},
			{"container", k.container},
			{"image", k.image},
			{"instance", k.instance},
			{"node", k.node},
			{"service", k.service},
			{"version", k.version},
		} {
			if l[1] != "" {
				s.LabelRefs = append(s.LabelRefs, uint32(len(b.Symbols)), uint32(len(b.Symbols)+1))
				b.Symbols = append(b.Symbols, l[0], l[1])
			}
		}
		b.Series = append(b.Series, s)
	}
	return out
}
