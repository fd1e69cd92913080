// Package changes knows what changed around the pipelines of a tenant: what people and deploy scripts told, which
// versions of services began to run, and what the evaluation noted itself.
//
// Annotations come through the API and lie in the catalog of the store; versions are read from the labels of
// weir_service_info, and of the series of services that have none. Both go to query/pipeline, which shows them beside
// pipelines and asks them for causes; a new version goes back to the catalog as an annotation. Annotations may be told and asked for by
// anybody at any time; the rest belongs to the evaluation.
package changes

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// kindAnnotation is the kind of annotations in the catalog. Their name begins with their time, so that they are listed by time.
const kindAnnotation = "annotation"

// Bounds of annotations.
const (
	maxAnnotations = 10_000 // per tenant; the oldest make room
	annotationAge  = 90 * 24 * time.Hour
	maxTags        = 20
	maxTextBytes   = 4000
)

// Dropped counts the annotations that made room: too old, or too many.
type Dropped struct{ Age, Limit *metrics.Counter }

// Annotations are those of one tenant, as they were told and as Versions found them.
type Annotations struct {
	engine  store.Engine // asked for its catalog when needed: an engine may open its parts late
	tenant  store.Tenant
	log     *slog.Logger
	dropped Dropped
	list    atomic.Pointer[[]answer.Annotation] // oldest first; made anew by whoever has his turn, never changed

	turn   sync.Mutex // held while the catalog is read or written
	loaded bool
	next   int64 // when read again: another server may have written
}

// NewAnnotations builds an empty book over the catalog of an engine; where that has none, nothing can be kept.
func NewAnnotations(engine store.Engine, tenant store.Tenant, log *slog.Logger, dropped Dropped) *Annotations {
	b := &Annotations{engine: engine, tenant: tenant, log: log, dropped: dropped}
	b.list.Store(&[]answer.Annotation{})
	return b
}

// all are the annotations of this moment, not to be changed.
func (b *Annotations) all() []answer.Annotation { return *b.list.Load() }

// Read brings the book up to date once a minute, and throws out what is too old or too much. now is in Unix milliseconds.
func (b *Annotations) Read(ctx context.Context, now int64) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	cat := b.engine.Catalog()
	if cat == nil || b.loaded && now < b.next {
		return nil
	}
	b.next = now + 60_000
	docs, err := cat.List(ctx, b.tenant, kindAnnotation)
	if err != nil {
		return fmt.Errorf("cannot read annotations: %w", err)
	}
	list := make([]answer.Annotation, 0, len(docs))
	for i := range docs {
		var a answer.Annotation
		if err := json.Unmarshal(docs[i].Body, &a); err != nil {
			b.log.Warn("cannot read an annotation", "name", docs[i].Name, "error", err)
			continue
		}
		a.ID = docs[i].Name
		list = append(list, a)
	}
	slices.SortFunc(list, compare)
	b.list.Store(&list)
	b.loaded = true
	return b.prune(ctx, now)
}

func compare(a, b answer.Annotation) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID))
}

// prune drops those that ended long ago, and the oldest above the bound. The turn is the caller's.
func (b *Annotations) prune(ctx context.Context, now int64) error {
	list := slices.Clone(b.all())
	over := len(list) - maxAnnotations
	var err error
	i := -1
	list = slices.DeleteFunc(list, func(a answer.Annotation) bool {
		i++
		old := max(a.At, a.Until) < now-annotationAge.Milliseconds()
		if err != nil || !old && i >= over {
			return false
		}
		if e := b.engine.Catalog().Delete(ctx, b.tenant, kindAnnotation, a.ID); e != nil && !errors.Is(e, store.ErrNotFound) {
			err = fmt.Errorf("cannot drop an old annotation: %w", e)
			return false
		}
		if old {
			b.dropped.Age.Inc()
		} else {
			b.dropped.Limit.Inc()
		}
		return true
	})
	b.list.Store(&list)
	return err
}

// Check says what is wrong with what somebody tells, and fills in what they left out. now is in Unix milliseconds.
func Check(a *answer.Annotation, now int64) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("cannot take the annotation: %s: %w", fmt.Sprintf(format, args...), store.ErrInvalid)
	}
	if a.At == 0 {
		a.At = now
	}
	a.Text = strings.TrimSpace(a.Text)
	a.Kind = cmp.Or(strings.TrimSpace(a.Kind), "note")
	day := 24 * time.Hour.Milliseconds()
	tell := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	switch {
	case a.At < 0:
		return bad("at is %d: write Unix milliseconds, or leave it out for now", a.At)
	case a.At < 100_000_000_000:
		return bad("at is %d, which is %s: it must be Unix milliseconds; of seconds write %d000", a.At, tell(a.At), a.At)
	case a.At > now+day:
		return bad("at is %d, more than a day ahead: it must be Unix milliseconds, at most %d", a.At, now+day)
	case a.At < now-annotationAge.Milliseconds():
		return bad("at is %s: annotations are kept for 90 days", tell(a.At))
	case a.Until != 0 && a.Until < a.At:
		return bad("until %d is before at %d: leave it out for a moment, or write Unix milliseconds", a.Until, a.At)
	case a.Until > a.At+30*day:
		return bad("until is %s, more than 30 days after at: write Unix milliseconds", tell(a.Until))
	case a.Text == "":
		return bad("text is empty: say in a sentence what happened")
	case len(a.Text) > maxTextBytes:
		return bad("text has %d bytes: at most %d are possible; link to the rest", len(a.Text), maxTextBytes)
	case len(a.Kind) > 50 || len(a.Pipeline) > 200 || len(a.Service) > 200:
		return bad("kind, pipeline or service is too long: at most 50, 200 and 200 bytes are possible")
	case len(a.Tags) > maxTags:
		return bad("%d tags are given: at most %d are possible", len(a.Tags), maxTags)
	}
	for k, v := range a.Tags {
		if k == "" || len(k) > 100 || len(v) > 500 {
			return bad("the tag %.100q cannot be kept: its name must have 1 to 100 bytes, its value at most 500", k)
		}
	}
	return nil
}

// nameOf makes a name that sorts by time.
func nameOf(at int64) string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%015d-%s", at, hex.EncodeToString(b[:]))
}

// keep stores an annotation under its name and takes it into the book.
func (b *Annotations) keep(ctx context.Context, a answer.Annotation) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	return b.put(ctx, a)
}

// put is keep of somebody whose turn it is.
func (b *Annotations) put(ctx context.Context, a answer.Annotation) error {
	cat := b.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot keep the annotation: this store keeps no documents: %w", store.ErrUnavailable)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("cannot encode the annotation: %w", err)
	}
	if _, err := cat.Put(ctx, b.tenant, kindAnnotation, a.ID, body, -1, a.By); err != nil {
		return fmt.Errorf("cannot keep the annotation: %w", err)
	}
	list := append(make([]answer.Annotation, 0, len(b.all())+1), b.all()...)
	list = slices.DeleteFunc(list, func(o answer.Annotation) bool { return o.ID == a.ID })
	i, _ := slices.BinarySearchFunc(list, a, compare)
	list = slices.Insert(list, i, a)
	b.list.Store(&list)
	return nil
}

// Tell keeps what by tells, once Check calls it good, and returns it with its new name. now is in Unix milliseconds.
func (b *Annotations) Tell(ctx context.Context, by string, a answer.Annotation, now int64) (answer.Annotation, error) {
	a.ID, a.By, a.Seen = nameOf(a.At), by, false
	if a.Tags = maps.Clone(a.Tags); a.Tags == nil {
		a.Tags = map[string]string{}
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	if err := b.put(ctx, a); err != nil {
		return answer.Annotation{}, err
	}
	if len(b.all()) > maxAnnotations {
		if err := b.prune(ctx, now); err != nil {
			return answer.Annotation{}, err
		}
	}
	return a, nil
}

// TakeBack forgets one by its name; store.ErrNotFound when there is none.
func (b *Annotations) TakeBack(ctx context.Context, name string) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	cat := b.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot take back the annotation %q: %w", name, store.ErrNotFound)
	}
	if err := cat.Delete(ctx, b.tenant, kindAnnotation, name); err != nil {
		return fmt.Errorf("cannot take back the annotation %q: %w", name, err)
	}
	list := slices.DeleteFunc(slices.Clone(b.all()), func(a answer.Annotation) bool { return a.ID == name })
	b.list.Store(&list)
	return nil
}

// Told are those of what happened in [from, to], Unix milliseconds, that concern a subject, newest first.
func (b *Annotations) Told(about *Subject, from, to int64) []answer.Annotation {
	out := []answer.Annotation{}
	b.each(from, to, func(a *answer.Annotation) {
		if about.concerns(a) {
			out = append(out, *a)
		}
	})
	slices.Reverse(out)
	return out
}

// each calls f with what happened in [from, to], oldest first.
func (b *Annotations) each(from, to int64, f func(*answer.Annotation)) {
	list := b.all()
	// One may have begun up to 30 days before its end.
	i, _ := slices.BinarySearchFunc(list, from-30*86400_000, func(a answer.Annotation, at int64) int { return cmp.Compare(a.At, at) })
	for ; i < len(list) && list[i].At <= to; i++ {
		if max(list[i].At, list[i].Until) >= from {
			f(&list[i])
		}
	}
}

// lastDeployed is the version of the newest deploy that weir saw of a service, also before a restart; empty for none.
func (b *Annotations) lastDeployed(service string) string {
	list := b.all()
	for i := range list {
		a := &list[len(list)-1-i]
		if a.Seen && a.Service == service && a.Kind == deploy {
			return a.Tags["version"]
		}
	}
	return ""
}
