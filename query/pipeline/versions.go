package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/series"
)

// seriesService is what ingest makes of the resources of spans and OTLP metrics: which version of a service runs where.
const seriesService = "weir_service_info"

// Bounds of what is looked at to find versions.
const (
	versionEvery    = 15_000 // ms
	versionSpan     = 60_000
	maxVersionsOf   = 50   // of one service
	maxVersioned    = 2000 // services
	maxVersionScan  = 5000 // series of one service
	rolloutPatience = 30 * 60_000
	versionBack     = 3 * 60_000 // a version that was gone this long and runs again is a deploy
)

// versionBook follows which versions of the services of all stages run.
type versionBook struct {
	next int64
	by   map[string]*serviceVersions
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

// readVersions looks at the versions of all services that are stages, and makes a deploy marker of a new one.
func (t *tenant) readVersions(ctx context.Context, now int64) error {
	b := &t.versions
	if now < b.next {
		return nil
	}
	b.next = now + versionEvery
	if b.by == nil {
		b.by = map[string]*serviceVersions{}
	}
	services := map[string]bool{}
	for id, p := range t.pipes {
		stages, _ := t.stagesOf(p)
		p.services = map[string]bool{}
		for i := range stages {
			p.services[stages[i].Name] = true
			for _, s := range t.servicesOf(id, stages[i].Name) {
				p.services[s] = true
				if len(services) < maxVersioned {
					services[s] = true
				}
			}
		}
	}
	for s := range b.by {
		if !services[s] {
			delete(b.by, s)
		}
	}
	if len(services) == 0 {
		return nil
	}
	found, err := t.scanVersions(ctx, now, services)
	if err != nil {
		return err
	}
	for _, s := range slices.Sorted(maps.Keys(found)) {
		if err := t.follow(ctx, now, s, found[s]); err != nil {
			return err
		}
	}
	return nil
}

type foundVersion struct {
	image     string
	instances map[string]bool
}

// scanVersions counts the instances of each version of the services that had samples in the last minute.
func (t *tenant) scanVersions(ctx context.Context, now int64, services map[string]bool) (map[string]map[string]*foundVersion, error) {
	q, err := t.s.engine.Metrics().Querier(t.id, now-versionSpan, now)
	if err != nil {
		return nil, fmt.Errorf("cannot read versions: %w", err)
	}
	defer func() { _ = q.Close() }()
	out := map[string]map[string]*foundVersion{}
	scanned := map[string]int{}
	take := func(ls labels.Labels) bool {
		s, v := ls.Get("service"), ls.Get("version")
		if !services[s] || v == "" || scanned[s] >= maxVersionScan {
			return false
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
				return false
			}
			f = &foundVersion{instances: map[string]bool{}}
			m[v] = f
		}
		f.image = cmp.Or(ls.Get("image"), f.image)
		where := cmp.Or(ls.Get("instance"), ls.Get("container"), ls.Get("k8s_pod_name"), ls.Get("pod"), ls.Get("pid"))
		f.instances[ls.Get("node")+"\x00"+where] = true
		return false
	}
	versioned := labels.MustNewMatcher(labels.MatchNotEqual, "version", "")
	if err := series.Each(ctx, q, seriesService, take, nil, versioned); err != nil {
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
		set := q.Select(ctx, false, nil, own, versioned)
		for set.Next() {
			if series := set.At(); series.Labels().Get(model.MetricNameLabel) != "" {
				take(series.Labels())
			}
		}
		if err := set.Err(); err != nil {
			return nil, fmt.Errorf("cannot read versions of %q: %w", s, err)
		}
	}
	return out, nil
}

// follow compares the versions of a service with those known. The first versions ever seen are no change.
func (t *tenant) follow(ctx context.Context, now int64, service string, found map[string]*foundVersion) error {
	sv := t.versions.by[service]
	if sv == nil {
		sv = &serviceVersions{seen: map[string]*versionOf{}, current: t.lastDeployed(service)}
		t.versions.by[service] = sv
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
			ID: nameAnnotation(now), At: now, Kind: changeDeploy, Service: service, Seen: true, By: "weir",
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
		if err := t.keep(ctx, *sv.deploy); err != nil {
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

// lastDeployed is the version of the newest deploy that weir saw of a service, also before a restart; empty for none.
func (t *tenant) lastDeployed(service string) string {
	for i := range t.annotations.list {
		a := &t.annotations.list[len(t.annotations.list)-1-i]
		if a.Seen && a.Service == service && a.Kind == changeDeploy {
			return a.Tags["version"]
		}
	}
	return ""
}

// versionsOf lists the versions of the services of a stage, newest first, for its page.
func (t *tenant) versionsOf(pipeline, stage string) []answer.VersionRow {
	out := []answer.VersionRow{}
	for _, s := range t.servicesOf(pipeline, stage) {
		if sv := t.versions.by[s]; sv != nil {
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

// versionNow is what StageRow shows: the versions that run now, joined by a comma.
func (t *tenant) versionNow(pipeline, stage string) string {
	text := ""
	for _, v := range t.versionsOf(pipeline, stage) {
		if v.Instances > 0 {
			if text != "" {
				text += ", "
			}
			text += v.Version
		}
	}
	return text
}
