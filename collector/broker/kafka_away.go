package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// By when the parts of a poll must be done, in hundredths of its timeout. A broker that has not answered by then is left out, so
// that one which swallows questions takes no time from what is asked of the others after it; the ends come late and keep a quarter.
const (
	byKnock   = 10
	byTopics  = 40
	byStarts  = 55
	byGroups  = 65
	byCommits = 75
	byEnds    = 90
	byStables = 95
)

// metadataPause, in hundredths of the timeout, is how long a broker may take to list the topics until another one is asked too.
const metadataPause = 5

var errAway = errors.New("it did not answer before and is knocked at until it does")

// within is the context of a part of the poll.
func (k *kafkaSystem) within(ctx context.Context, by int) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, k.cur.now.Add(k.cfg.Timeout*time.Duration(by)/100))
}

// knock is a small question to a broker that did not answer. It may outlast polls; there is one for a broker at most.
type knock struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when err is set
	err    error
}

// isAway notes that a broker did not answer: the polls after do not wait for it until it does.
func (k *kafkaSystem) isAway(broker int32) {
	if _, ok := k.away[broker]; !ok {
		k.away[broker] = nil
	}
}

// knockAll asks brokers that are away whether they are back, each in the background.
func (k *kafkaSystem) knockAll(ctx context.Context) {
	for broker, n := range k.away {
		if n != nil {
			select {
			case <-n.done:
			default:
				continue // it is still waiting
			}
			if n.err == nil {
				delete(k.away, broker)
				continue
			}
		}
		kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.cfg.Timeout)
		n = &knock{cancel: cancel, done: make(chan struct{})}
		k.away[broker] = n
		b, req := k.cl.Broker(int(broker)), kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "weir", "1" // none is refused
		k.knocks.Go(func() {
			defer close(n.done)
			defer cancel()
			_, n.err = b.Request(kctx, req)
		})
	}
}

// heard waits a moment for brokers that are away. Those that do not answer are left out of the poll.
func (k *kafkaSystem) heard(ctx context.Context) {
	ctx, cancel := k.within(ctx, byKnock)
	defer cancel()
	known := map[int32]bool{}
	for _, b := range k.brokers {
		known[b] = true
	}
	for broker, n := range k.away {
		switch {
		case !known[broker]: // it left the cluster
			if n != nil {
				n.cancel()
			}
			delete(k.away, broker)
			continue
		case n == nil: // since the poll began
			continue
		}
		err := errAway
		select {
		case <-n.done:
		case <-ctx.Done():
		}
		select { // both may have come
		case <-n.done:
			err, k.away[broker] = n.err, nil
		default:
		}
		if err == nil {
			delete(k.away, broker)
			continue
		}
		k.cur.down[broker] = err
	}
}

// allAway tells whether no broker of the cluster answers.
func (k *kafkaSystem) allAway() bool {
	return !slices.ContainsFunc(k.brokers, func(b int32) bool { _, away := k.away[b]; return !away })
}

// downs says which brokers did not answer.
func (k *kafkaSystem) downs() error {
	var errs []error
	for _, b := range k.brokers {
		if err := k.cur.down[b]; err != nil {
			errs = append(errs, fmt.Errorf("broker %d: %w", b, err))
		}
	}
	return errors.Join(errs[:min(len(errs), maxTrouble)]...)
}

// askAny sends a request that every broker can answer to one that is not away.
func (k *kafkaSystem) askAny(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	for i := range k.brokers {
		b := k.brokers[(uint64(i)+k.cur.round)%uint64(len(k.brokers))]
		if _, away := k.away[b]; !away {
			return k.ask(ctx, b, req)
		}
	}
	return k.cl.Request(ctx, req)
}

// stopKnocks ends what runs in the background.
func (k *kafkaSystem) stopKnocks() {
	for _, n := range k.away {
		if n != nil {
			n.cancel()
		}
	}
	k.knocks.Wait()
	clear(k.away)
}

// metadata lists the topics. A broker that takes long is not waited for: others are asked beside it, and the first answer counts.
func (k *kafkaSystem) metadata(ctx context.Context) (kmsg.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		resp kmsg.Response
		err  error
	}
	answers := make(chan answer, metadataTries)
	next := time.NewTicker(k.cfg.Timeout * metadataPause / 100)
	defer next.Stop()
	asked, open := 0, 0
	var failed error
	for more := true; ; {
		if more && asked < metadataTries {
			asked, open = asked+1, open+1
			go func() { // the client goes round the brokers
				resp, err := k.cl.Request(ctx, kmsg.NewPtrMetadataRequest()) // no topics = all
				answers <- answer{resp, err}
			}()
		}
		if open == 0 {
			return nil, failed
		}
		select {
		case a := <-answers:
			if a.err == nil {
				return a.resp, nil
			}
			open, failed, more = open-1, a.err, true
		case <-next.C:
			more = true
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), failed)
		}
	}
}

// askCoordinator asks about groups. Their broker is the one that lists them; negative: the client finds out which it is.
func (k *kafkaSystem) askCoordinator(ctx context.Context, broker int32, req kmsg.Request) []kgo.ResponseShard {
	if broker >= 0 {
		resp, err := k.ask(ctx, broker, req)
		return []kgo.ResponseShard{{Req: req, Resp: resp, Err: err}}
	}
	answers := make(chan []kgo.ResponseShard, 1)
	go func() { answers <- k.cl.RequestSharded(ctx, req) }() // it may wait for a connection beyond the end of ctx
	select {
	case shards := <-answers:
		return shards
	case <-ctx.Done():
		return []kgo.ResponseShard{{Req: req, Err: ctx.Err()}}
	}
}

// inBatches cuts groups into questions to their coordinators: one after another to each, and few at a time. A coordinator that does not
// answer does not keep the others waiting.
func (k *kafkaSystem) inBatches(ctx context.Context, groups []*kafkaGroup, ask func(broker int32, batch []*kafkaGroup)) {
	by := map[int32][]*kafkaGroup{}
	for _, g := range groups {
		by[g.coordinator()] = append(by[g.coordinator()], g)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, groupsParallel)
	for broker, groups := range by {
		if k.cur.down[broker] != nil {
			k.missed(groups)
			continue
		}
		wg.Go(func() {
			for len(groups) > 0 {
				n, commits := 0, 0
				for n < len(groups) && n < batchGroups && (n == 0 || commits+groups[n].commits <= batchCommits) {
					commits += groups[n].commits
					n++
				}
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					k.missed(groups)
					return
				}
				free := sync.OnceFunc(func() { <-slots })
				patience := time.AfterFunc(k.cfg.Timeout/20, free)
				ask(broker, groups[:n])
				patience.Stop()
				free()
				groups = groups[n:]
			}
		})
	}
	wg.Wait()
}

// missed notes groups that were not asked about.
func (k *kafkaSystem) missed(groups []*kafkaGroup) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range groups {
		k.cur.trouble.add("cannot ask about groups: their broker does not answer in time", g.name, -1)
	}
}
