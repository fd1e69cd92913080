package origin

import "container/list"

// lru is a bounded map that forgets what was not used for longest. Its owner locks it.
type lru[K comparable, V any] struct {
	max   int
	m     map[K]*list.Element
	order *list.List // front = used last
}

type pair[K comparable, V any] struct {
	k K
	v V
}

func newLRU[K comparable, V any](n int) *lru[K, V] {
	return &lru[K, V]{max: n, m: map[K]*list.Element{}, order: list.New()}
}

func (l *lru[K, V]) get(k K) (V, bool) {
	e, ok := l.m[k]
	if !ok {
		var zero V
		return zero, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*pair[K, V]).v, true
}

func (l *lru[K, V]) put(k K, v V) {
	if e, ok := l.m[k]; ok {
		e.Value.(*pair[K, V]).v = v
		l.order.MoveToFront(e)
		return
	}
	if l.order.Len() >= l.max {
		last := l.order.Back()
		delete(l.m, last.Value.(*pair[K, V]).k)
		l.order.Remove(last)
	}
	l.m[k] = l.order.PushFront(&pair[K, V]{k, v})
}
