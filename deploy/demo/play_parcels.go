package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// oneOf is how many parcels a sampled one stands for.
	oneOf = 10
	// spansMature is how long after its end a window of spans may be judged: what is late among them has come by then.
	spansMature = 100 * time.Second
)

// parcels loses parcels of which spans alone tell: what is missing among the sampled must be found to the span, with
// the interval in which the true loss lies in 19 of 20 runs; whether it did in this one is told, and proves nothing.
func (k *checker) parcels(ctx context.Context) error {
	if err := k.eventually(ctx, "sampling", "spans are joined", "1 balances", time.Now(), 90*time.Second, func(ctx context.Context) (string, bool) {
		_, rows, err := k.windowsOf(ctx, ofParcels, []int64{time.Now().Unix() / k.width() * k.width()})
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%d balances", rows), rows == 1
	}); err != nil {
		return err
	}
	win, err := k.window(ctx, "sampling")
	if err != nil {
		return err
	}
	due := time.Unix(win, 0).Add(k.opt.Window + spansMature)
	if err := pause(ctx, time.Until(due)); err != nil {
		return err
	}
	did, err := k.injected()
	if err != nil {
		return err
	}
	lost, sampled := did["dropped by packer"][win], did["dropped in a sampled trace by packer"][win]
	want := fmt.Sprintf("%d of %d dropped by packer were sampled: %d at level T, with an interval", sampled, lost, oneOf*sampled)
	if err := k.eventually(ctx, "sampling", "window "+clock(win), want, due, promptly, func(ctx context.Context) (string, bool) {
		f, err := k.spanWindow(ctx, win)
		if err != nil {
			return err.Error(), false
		}
		right := f.Settled && f.row.Level == saidLT && slices.Contains([]string{saidProbableLoss, saidLoss}, f.Verdict)
		return fmt.Sprintf("%s, %d ± %d of %d", f.Verdict, f.Lost, f.Epsilon, f.Up), right && f.Lost == oneOf*sampled && f.Epsilon > 0
	}); err != nil {
		return err
	}
	after := win + 2*k.width() // what was under way when the fault ended lies in the window between
	return k.eventually(ctx, "sampling", "window after it", "OK, 0 lost", time.Unix(after, 0).Add(k.opt.Window+spansMature), promptly, func(ctx context.Context) (string, bool) {
		f, err := k.spanWindow(ctx, after)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%s, %d of %d", f.Verdict, f.Lost, f.Up), f.Settled && f.Verdict == saidOK && f.Lost == 0
	})
}

// spanWindow is a window of the edge from packer to courier.
func (k *checker) spanWindow(ctx context.Context, win int64) (found, error) {
	fs, _, err := k.windowsOf(ctx, ofParcels, []int64{win})
	if err != nil {
		return found{}, err
	}
	if len(fs) != 1 {
		return found{}, fmt.Errorf("%d balances of the window %s, want 1", len(fs), clock(win))
	}
	return fs[0], nil
}
