package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/deploy/demo/clicks"
	"github.com/weirhq/weir/query/answer"
)

// balances of the pipeline clicks: one reader, and one stage that puts out what it takes in.
const clicksRows = 2

// clicks plays the scenes of the pipeline clicks, one after the other.
func (k *checker) clicks(ctx context.Context) error {
	if err := k.state(ctx, ofClicks, "clicks", "", 60*time.Second, answer.OK); err != nil {
		return err
	}
	// The usual speed of the reader has to be known before it can be too fast, and that all who read count before anything is judged
	// by what they count: what is missing before the first window that was counted in full is UNKNOWN.
	win := (time.Now().Unix()/k.width() + 1) * k.width()
	due := time.Unix(win, 0).Add(k.opt.Window + k.opt.Grace)
	if err := pause(ctx, time.Until(due)); err != nil {
		return err
	}
	if err := k.eventually(ctx, "clicks", "window "+clock(win), "nothing, 0 elsewhere", due, promptly, func(ctx context.Context) (string, bool) {
		return k.exact(ctx, ofClicks, clicksRows, []int64{win})
	}); err != nil {
		return err
	}
	for _, name := range []string{"skip", "retention", "rewind"} {
		if err := k.position(ctx, name); err != nil {
			return err
		}
	}
	// A loss is the first thing to be told for as long as two windows.
	if err := k.state(ctx, ofClicks, "records taken away, mended", "", 2*k.opt.Window+90*time.Second, answer.OK); err != nil {
		return err
	}
	return k.hot(ctx)
}

// position plays a fault of where the group reads: what it did not read is named, to the record; what comes again is no duplicate.
func (k *checker) position(ctx context.Context, name string) error {
	w := k.width()
	from := time.Now()
	if err := k.play(ctx, name); err != nil {
		return err
	}
	if err := pause(ctx, clicks.Lasts(name)+4*time.Second); err != nil { // it stands still, the fault comes, it catches up
		return err
	}
	if err := k.heal(ctx, ofClicks); err != nil {
		return err
	}
	var wins []int64
	last := time.Now().Unix() / w * w
	for win := from.Unix()/w*w - w; win <= last; win += w {
		wins = append(wins, win)
	}
	due := time.Unix(last, 0).Add(k.opt.Window + k.opt.Grace)
	if err := pause(ctx, time.Until(due)); err != nil {
		return err
	}
	if err := k.eventually(ctx, name, fmt.Sprintf("windows %s to %s", clock(wins[0]), clock(last)), k.told(ofClicks, wins...)+", 0 elsewhere", due, promptly, func(ctx context.Context) (string, bool) {
		return k.exact(ctx, ofClicks, clicksRows, wins)
	}); err != nil {
		return err
	}
	if name == "rewind" {
		return k.rewound(ctx, from)
	}
	return nil
}

// rewound wants that weir told of every partition that the group went back, and that it is again where it was.
func (k *checker) rewound(ctx context.Context, from time.Time) error {
	return k.eventually(ctx, "rewind", "told among the changes", "3 partitions went back, 3 are again where they were", time.Now(), promptly, func(ctx context.Context) (string, bool) {
		p, err := k.pipeline(ctx, ofClicks)
		if err != nil {
			return err.Error(), false
		}
		back, again := 0, 0
		for _, c := range p.Changes {
			if c.Kind != "rewind" || c.At < from.UnixMilli() {
				continue
			}
			if strings.Contains(c.Text, "up to 500 records come again") {
				back++
			} else if strings.Contains(c.Text, "is again where it was") {
				again++
			}
		}
		return fmt.Sprintf("%d went back by 500, %d are again where they were", back, again), back == 3 && again == 3
	})
}

// hot wants the stage named and the skew as the cause.
func (k *checker) hot(ctx context.Context) error {
	if err := k.play(ctx, "hot"); err != nil {
		return err
	}
	if err := k.eventually(ctx, "hot", "state and cause", "LATE at sessions: skew of partition 0", time.Now(), 2*promptly, func(ctx context.Context) (string, bool) {
		p, err := k.pipeline(ctx, ofClicks)
		if err != nil {
			return err.Error(), false
		}
		if p.Cause == nil {
			return string(p.State) + ", no cause", false
		}
		return fmt.Sprintf("%s at %s: %s. %s", p.State, p.Cause.Stage, p.Cause.Class, p.Sentence),
			p.State == answer.Late && p.Cause.Stage == "sessions" && p.Cause.Class == "skew" && strings.Contains(p.Sentence, "Partition 0")
	}); err != nil {
		return err
	}
	return k.recover(ctx, ofClicks, "hot")
}
