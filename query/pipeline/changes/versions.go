package changes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// seriesService is what ingest makes of the resources of spans and OTLP metrics: which version of a service runs where.
const seriesService = "weir_service_info"

// Bounds of what is looked at to find versions.
const (
	versionEvery    = 15_000 // ms
	versionSpan     = 60_000
	maxVersionsOf   = 50   // of one service
	maxVersionScan  = 5000 // series of one service
	rolloutPatience = 30 * 60_000
	versionBack     = 3 * 60_000 // a version that was gone this long and runs again is a deploy
)

// deploy is the kind of the annotations made of new versions.
const deploy = "deploy"

// Versions follows which versions of the services of all stages run.
type Versions struct {
	engine store.Engine
	tenant store.Tenant
	told   *Annotations // where deploys go, and where those before a restart are
	next   int64
	by     map[string]*serviceVersions
}

// NewVersions builds a book that reads the series of an engine and tells new versions as annotations.
func NewVersions(engine store.Engine, tenant store.Tenant, told *Annotations) *Versions {
	return &Versions{engine: engine, tenant: tenant, told: told, by: map[string]*serviceVersions{}}
}

// serviceVersions are the versions of one service.
type serviceVersions struct {
	current string                // that of most instances when last nothing changed
	seen    map[string]*versionOf // by version
	deploy  *answer.Annotation    // of the newest version, while it is rolled out
}

type versionOf struct {
	image       string
	first, last int64 // Unix milliseconds
	instances   int   // now
}

// Read looks every 15 s at the versions of the services that are stages, which it then asks for, and makes a deploy
// marker of a new one. now is in Unix milliseconds.
func (b *Versions) Read(ctx context.Context, now int64, served func() map[string]bool) error {
	if now < b.next {
		return nil
	}
	b.next = now + versionEvery
	services := served()
	for s := range b.by {
		if !services[s] {
			delete(b.by, s)
		}
	}
	if len(services) == 0 {
		return nil
	}
	found, err := b.scan(ctx, now, services)
	if err != nil {
		return err
	}
	for _, s := range slices.Sorted(maps.Keys(found)) {
		if err := b.follow(ctx, now, s, found[s]); err != nil {
			return err
		}
	}
	return nil
}

type foundVersion struct {
	image     string
	instances map[string]bool
}

// scan counts the instances of each version of the services that had samples in the last minute.
func (b *Versions) scan(ctx context.Context, now int64, services map[string]bool) (map[string]map[string]*foundVersion, error) {
	q, err := b.engine.Metrics().Querier(b.tenant, now-versionSpan, now)
	if err != nil {
		return nil, fmt.Errorf("cannot read versions: %w", err)
	}
	defer func() { _ = q.Close() }()
	out := map[string]map[string]*foundVersion{}
	scanned := map[string]int{}
	take := func(ls labels.Labels) {
		s, v := ls.Get("service"), ls.Get("version")
		if !services[s] || v == "" || scanned[s] >= maxVersionScan {
			return
		}
		scanned[s]++
		m := out[s]
		if m == nil {
			m = map[string]*foundVersion{}
			out[s] = m
		}
		f := m[v]
		if f == nil {
			if len(m) >= maxVersionsOf {
				return
			}
			f = &foundVersion{instances: map[string]bool{}}
			m[v] = f
		}
		f.image = cmp.Or(ls.Get("image"), f.image)
		where := cmp.Or(ls.Get("instance"), ls.Get("container"), ls.Get("k8s_pod_name"), ls.Get("pod"), ls.Get("pid"))
		f.instances[ls.Get("node")+"\x00"+where] = true
	}
	versioned := labels.MustNewMatcher(labels.MatchNotEqual, "version", "")
	each := func(m *labels.Matcher) error {
		set := q.Select(ctx, false, nil, m, versioned)
		for set.Next() {
			if ls := set.At().Labels(); ls.Get(model.MetricNameLabel) != "" {
				take(ls)
			}
		}
		return set.Err()
	}
	if err := each(labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, seriesService)); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", seriesService, err)
	}
	// Whoever sends no spans and no OTLP metrics tells its version as a label of its own series.
	for s := range services {
		if out[s] != nil {
			continue
		}
		own := labels.MustNewMatcher(labels.MatchEqual, "service", s)
		vs, _, err := q.LabelValues(ctx, "version", nil, own)
		if err != nil {
			return nil, fmt.Errorf("cannot read versions of %q: %w", s, err)
		}
		if len(vs) == 0 {
			continue
		}
		if err := each(own); err != nil {
			return nil, fmt.Errorf("cannot read versions of %q: %w", s, err)
		}
	}
	return out, nil
}

// follow compares the versions of a service with those known. The first versions ever seen are no change.
func (b *Versions) follow(ctx context.Context, now int64, service string, found map[string]*foundVersion) error {
	sv := b.by[service]
	if sv == nil {
		sv = &serviceVersions{seen: map[string]*versionOf{}, current: b.told.lastDeployed(service)}
		b.by[service] = sv
	}
	total := 0
	for _, o := range sv.seen {
		o.instances = 0
	}
	fresh := ""
	for _, v := range slices.Sorted(maps.Keys(found)) {
		f := found[v]
		o := sv.seen[v]
		if o == nil {
			o = &versionOf{first: now}
			if len(sv.seen) >= maxVersionsOf {
				oldest := slices.MinFunc(slices.Collect(maps.Keys(sv.seen)), func(a, b string) int { return cmp.Compare(sv.seen[a].last, sv.seen[b].last) })
				delete(sv.seen, oldest)
			}
			sv.seen[v] = o
			if sv.current != "" && v != sv.current {
				fresh = v
			}
		} else if now-o.last > versionBack && v != sv.current { // an old version is back: a rollback
			fresh, o.first = v, now
		}
		o.image, o.last, o.instances = cmp.Or(f.image, o.image), now, len(f.instances)
		total += o.instances
	}
	if sv.current == "" {
		sv.current = mostly(sv.seen)
		return nil
	}
	if fresh != "" {
		a := answer.Annotation{
			ID: nameOf(now), At: now, Kind: deploy, Service: service, Seen: true, By: "weir",
			Tags: map[string]string{"version": fresh, "before": sv.current},
		}
		if img := sv.seen[fresh].image; img != "" {
			a.Tags["image"] = img
		}
		sv.deploy = &a
		sv.current = fresh
	}
	if sv.deploy == nil {
		return nil
	}
	o := sv.seen[sv.deploy.Tags["version"]]
	text := fmt.Sprintf("%s %s → %s (%d of %d instances)", service, sv.deploy.Tags["before"], sv.deploy.Tags["version"], o.instances, total)
	if text != sv.deploy.Text {
		sv.deploy.Text = text
		if err := b.told.keep(ctx, *sv.deploy); err != nil {
			return err
		}
	}
	if o.instances == total && now-sv.deploy.At > 2*versionSpan || now-sv.deploy.At > rolloutPatience {
		sv.deploy = nil
	}
	return nil
}

// mostly is the version of most instances, of equals the one whose name is last.
func mostly(seen map[string]*versionOf) string {
	best := ""
	for v, o := range seen {
		if o.instances > 0 && (best == "" || o.instances > seen[best].instances || o.instances == seen[best].instances && v > best) {
			best = v
		}
	}
	return best
}

// Of lists the versions of services, newest first.
func (b *Versions) Of(services []string) []answer.VersionRow {
	out := []answer.VersionRow{}
	for _, s := range services {
		if sv := b.by[s]; sv != nil {
			for v, o := range sv.seen {
				out = append(out, answer.VersionRow{Version: v, Image: o.image, Instances: o.instances, First: o.first, Last: o.last})
			}
		}
	}
	slices.SortFunc(out, func(a, b answer.VersionRow) int {
		return cmp.Or(-cmp.Compare(a.First, b.First), -cmp.Compare(a.Last, b.Last), cmp.Compare(a.Version, b.Version))
	})
	return out
}

// Running are the versions of services that run now, joined by a comma.
func (b *Versions) Running(services []string) string {
	text := ""
	for _, v := range b.Of(services) {
		if v.Instances > 0 {
			if text != "" {
				text += ", "
			}
			text += v.Version
		}
	}
	return text
}
