package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirhq/weir/query/answer"
)

// balances of the pipeline orders: three readers, and three stages that put out what they take in.
const ordersRows = 6

// window plays a scene within one whole event window and returns it. Its faults end shortly before the window does.
func (k *checker) window(ctx context.Context, name string) (int64, error) {
	w := k.width()
	win := (time.Now().Unix()/w + 1) * w
	if err := pause(ctx, time.Until(time.Unix(win, 0).Add(300*time.Millisecond))); err != nil {
		return 0, err
	}
	if name == "healthy" { // as a scene it would end those of the other pipelines, which begin at the same time
		if err := k.heal(ctx, ofOrders); err != nil {
			return 0, err
		}
	} else if err := k.play(ctx, name); err != nil {
		return 0, err
	}
	if err := pause(ctx, time.Until(time.Unix(win+w, 0).Add(-1200*time.Millisecond))); err != nil {
		return 0, err
	}
	for _, s := range scenes() {
		if s.Name == name {
			return win, k.heal(ctx, s.Pipeline)
		}
	}
	return win, nil
}

// orders plays the scenes of the pipeline orders. Each counted scene has a window of its own and is compared while the next plays.
func (k *checker) orders(ctx context.Context) error {
	if err := k.state(ctx, ofOrders, "healthy", "", 60*time.Second, answer.OK); err != nil {
		return err
	}
	first, err := k.scenesOfOrders(ctx)
	if err != nil {
		return err
	}
	return k.rest(ctx, first)
}

// scenesOfOrders plays all scenes but the restart and says which window was the first.
func (k *checker) scenesOfOrders(parent context.Context) (int64, error) {
	behind, ctx := errgroup.WithContext(parent)
	first, err := k.counted(ctx, behind, "healthy")
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"drop", "fanout", "double", "filter", "poison"} {
		if _, err := k.counted(ctx, behind, name); err != nil {
			return 0, err
		}
	}
	// What stands still from here on would hold up the last window.
	if err := pause(ctx, k.opt.Grace+4*time.Second); err != nil {
		return 0, err
	}
	if err := k.late(ctx); err != nil {
		return 0, err
	}
	// A loss is the first thing to be told for about a minute.
	if err := k.state(ctx, ofOrders, "losses, mended", "", 2*k.opt.Window+90*time.Second, answer.OK); err != nil {
		return 0, err
	}
	for _, s := range [][2]string{{"slow", "enrich"}, {"stall", "sink"}} {
		scene, stuck := s[0], s[1]
		if err := k.play(ctx, scene); err != nil {
			return 0, err
		}
		if err := k.state(ctx, ofOrders, scene, stuck, promptly, answer.Late); err != nil {
			return 0, err
		}
		if err := k.recover(ctx, ofOrders, scene); err != nil {
			return 0, err
		}
	}
	return first, behind.Wait()
}

// rest plays the restart, and looks once more at every window of all scenes.
func (k *checker) rest(ctx context.Context, first int64) error {
	win, err := k.window(ctx, "restart")
	if err != nil {
		return err
	}
	var all []int64
	for w := first; w < win; w += k.width() {
		all = append(all, w)
	}
	due := time.Unix(win, 0).Add(k.opt.Window + k.opt.Grace)
	if err := k.eventually(ctx, "restart", "no false loss", "every window settled, 0 lost", due, k.opt.Window+promptly, func(ctx context.Context) (string, bool) {
		return k.harmless(ctx, ofOrders, []int64{win, win + k.width()})
	}); err != nil {
		return err
	}
	if err := k.state(ctx, ofOrders, "late and restart, mended", "", 60*time.Second, answer.OK); err != nil {
		return err
	}
	return k.eventually(ctx, "all of orders", "every window", k.told(ofOrders, all...)+", 0 elsewhere", time.Now(), promptly, func(ctx context.Context) (string, bool) {
		return k.exact(ctx, ofOrders, ordersRows, all)
	})
}

// counted plays a scene of orders for one window, and leaves it to behind to compare it when it is settled.
func (k *checker) counted(ctx context.Context, behind *errgroup.Group, name string) (int64, error) {
	win, err := k.window(ctx, name)
	if err != nil {
		return 0, err
	}
	due := time.Unix(win, 0).Add(k.opt.Window + k.opt.Grace)
	behind.Go(func() error {
		if err := pause(ctx, time.Until(due)); err != nil {
			return err
		}
		return k.eventually(ctx, name, "window "+clock(win), k.told(ofOrders, win)+", 0 elsewhere", due, promptly, func(ctx context.Context) (string, bool) {
			return k.exact(ctx, ofOrders, ordersRows, []int64{win})
		})
	})
	return win, nil
}

// late sends records on a detour: they are outstanding when the window ends, and never lost.
func (k *checker) late(ctx context.Context) error {
	win, err := k.window(ctx, "late")
	if err != nil {
		return err
	}
	end := time.Unix(win, 0).Add(k.opt.Window)
	did, err := k.injected()
	if err != nil {
		return err
	}
	n := did["postponed by sink"][win]
	lost := int64(0)
	look := func(ctx context.Context) (out found, err error) {
		fs, _, err := k.windowsOf(ctx, ofOrders, []int64{win})
		for _, f := range fs {
			lost = max(lost, f.Lost)
			if f.row.Kind == "transport" && f.row.Where == "enrich → enriched → sink" {
				out = f
			}
		}
		return out, err
	}
	if err := k.eventually(ctx, "late", "outstanding when the window is over", fmt.Sprintf("%d in flight or late", n), end, k.opt.Window*2/3, func(ctx context.Context) (string, bool) {
		f, err := look(ctx)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%d %s", f.InFlight, f.Verdict), n > 0 && f.InFlight == n && (f.Verdict == saidInFlight || f.Verdict == saidLate)
	}); err != nil {
		return err
	}
	due := end.Add(max(k.opt.Window*3/2, k.opt.Grace)) // the last detour ends
	for time.Now().Before(due) {
		if _, err := look(ctx); err != nil {
			return err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return k.eventually(ctx, "late", "window "+clock(win), "0 lost, then or before", due, promptly, func(ctx context.Context) (string, bool) {
		got, ok := k.exact(ctx, ofOrders, ordersRows, []int64{win})
		return fmt.Sprintf("%s, at most %d called lost", got, lost), ok && lost == 0
	})
}
