package pipeline

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

// annotationBook holds the annotations of a tenant, oldest first.
type annotationBook struct {
	list   []answer.Annotation
	loaded bool
	next   int64 // when read again: another server may have written
}

// readAnnotations brings the book up to date once a minute, and throws out what is too old or too much.
func (t *tenant) readAnnotations(ctx context.Context, now int64) error {
	b := &t.annotations
	cat := t.s.engine.Catalog()
	if cat == nil || b.loaded && now < b.next {
		return nil
	}
	b.next = now + 60_000
	docs, err := cat.List(ctx, t.id, kindAnnotation)
	if err != nil {
		return fmt.Errorf("cannot read annotations: %w", err)
	}
	b.list = b.list[:0]
	for i := range docs {
		var a answer.Annotation
		if err := json.Unmarshal(docs[i].Body, &a); err != nil {
			t.s.log.Warn("cannot read an annotation", "name", docs[i].Name, "error", err)
			continue
		}
		a.ID = docs[i].Name
		b.list = append(b.list, a)
	}
	slices.SortFunc(b.list, compareAnnotations)
	b.loaded = true
	return t.pruneAnnotations(ctx, now)
}

func compareAnnotations(a, b answer.Annotation) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID))
}

// pruneAnnotations drops those that ended long ago, and the oldest above the bound.
func (t *tenant) pruneAnnotations(ctx context.Context, now int64) error {
	b := &t.annotations
	over := len(b.list) - maxAnnotations
	var err error
	i := -1
	b.list = slices.DeleteFunc(b.list, func(a answer.Annotation) bool {
		i++
		old := max(a.At, a.Until) < now-annotationAge.Milliseconds()
		if err != nil || !old && i >= over {
			return false
		}
		if e := t.s.engine.Catalog().Delete(ctx, t.id, kindAnnotation, a.ID); e != nil && !errors.Is(e, store.ErrNotFound) {
			err = fmt.Errorf("cannot drop an old annotation: %w", e)
			return false
		}
		if old {
			t.s.agedOut.Inc()
		} else {
			t.s.pushedOut.Inc()
		}
		return true
	})
	return err
}

// checkAnnotation says what is wrong with what somebody tells, and fills in what they left out.
func checkAnnotation(a *answer.Annotation, now int64) error {
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

// nameAnnotation makes a name that sorts by time.
func nameAnnotation(at int64) string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%015d-%s", at, hex.EncodeToString(b[:]))
}

// keep stores an annotation under its name and takes it into the book.
func (t *tenant) keep(ctx context.Context, a answer.Annotation) error {
	cat := t.s.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot keep the annotation: this store keeps no documents: %w", store.ErrUnavailable)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("cannot encode the annotation: %w", err)
	}
	if _, err := cat.Put(ctx, t.id, kindAnnotation, a.ID, body, -1, a.By); err != nil {
		return fmt.Errorf("cannot keep the annotation: %w", err)
	}
	b := &t.annotations
	b.list = slices.DeleteFunc(b.list, func(o answer.Annotation) bool { return o.ID == a.ID })
	i, _ := slices.BinarySearchFunc(b.list, a, compareAnnotations)
	b.list = slices.Insert(b.list, i, a)
	return nil
}

// Annotate stores what somebody tells.
func (s *Service) Annotate(ctx context.Context, id store.Tenant, by string, a answer.Annotation) (answer.Annotation, error) {
	if err := checkAnnotation(&a, time.Now().UnixMilli()); err != nil {
		return answer.Annotation{}, err
	}
	if _, err := s.viewOf(ctx, id); err != nil {
		return answer.Annotation{}, err
	}
	a.ID, a.By, a.Seen = nameAnnotation(a.At), by, false
	if a.Tags = maps.Clone(a.Tags); a.Tags == nil {
		a.Tags = map[string]string{}
	}
	t := s.tenant(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.keep(ctx, a); err != nil {
		return answer.Annotation{}, err
	}
	if len(t.annotations.list) > maxAnnotations {
		if err := t.pruneAnnotations(ctx, time.Now().UnixMilli()); err != nil {
			return answer.Annotation{}, err
		}
	}
	return a, nil
}

// DeleteAnnotation takes one back; store.ErrNotFound when there is none.
func (s *Service) DeleteAnnotation(ctx context.Context, id store.Tenant, name string) error {
	t := s.tenant(id)
	cat := s.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot take back the annotation %q: %w", name, store.ErrNotFound)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := cat.Delete(ctx, id, kindAnnotation, name); err != nil {
		return fmt.Errorf("cannot take back the annotation %q: %w", name, err)
	}
	t.annotations.list = slices.DeleteFunc(t.annotations.list, func(a answer.Annotation) bool { return a.ID == name })
	return nil
}

// Annotations answers what happened in [from, to], newest first; of a pipeline also what concerns all of them.
func (s *Service) Annotations(ctx context.Context, id store.Tenant, from, to time.Time, pipeline string) (answer.Annotations, error) {
	if _, err := s.viewOf(ctx, id); err != nil {
		return answer.Annotations{}, err
	}
	t := s.tenant(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	out := answer.Annotations{Annotations: []answer.Annotation{}}
	t.annotated(from.UnixMilli(), to.UnixMilli(), func(a *answer.Annotation) {
		if pipeline == "" || t.concerns(a, pipeline) {
			out.Annotations = append(out.Annotations, *a)
		}
	})
	slices.Reverse(out.Annotations)
	return out, nil
}

// annotated calls f with what happened in [from, to], oldest first.
func (t *tenant) annotated(from, to int64, f func(*answer.Annotation)) {
	list := t.annotations.list
	// One may have begun up to 30 days before its end.
	i, _ := slices.BinarySearchFunc(list, from-30*86400_000, func(a answer.Annotation, at int64) int { return cmp.Compare(a.At, at) })
	for ; i < len(list) && list[i].At <= to; i++ {
		if max(list[i].At, list[i].Until) >= from {
			f(&list[i])
		}
	}
}

// concerns says whether an annotation is about a pipeline: about all, about it, or about a service of its stages.
func (t *tenant) concerns(a *answer.Annotation, pipeline string) bool {
	if a.Pipeline != "" {
		return a.Pipeline == pipeline
	}
	if a.Service == "" {
		return true
	}
	p := t.pipes[pipeline]
	if p == nil {
		return false
	}
	return p.services[a.Service]
}
