//go:build linux

// Command bench measures the Kafka poller as a process of its own; another process is the cluster, a fake one that speaks the real
// protocol, whose groups commit while they are polled.
//
//	go run ./collector/broker/bench
//
// It prints a markdown table: CPU seconds (user and system) of the polling process per poll, what share of a core that is at
// a poll every ten seconds, and its memory. What is polled goes through the real spool, compressed and on disk.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

type scenario struct {
	Name               string
	Topics, Partitions int // partitions of each topic
	Groups             int
	Polls              int // measured, after two that are not
}

// result is what the poller tells on exit.
type result struct {
	Polls, Samples, Reads, Partial int
	CPU, System, Took              float64 // seconds
	RSS, Peak                      float64 // MiB
	Commits                        int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var s scenario
	if js := os.Getenv("BENCH_SCENARIO"); js != "" {
		if err := json.Unmarshal([]byte(js), &s); err != nil {
			return err
		}
	}
	switch os.Getenv("BENCH_ROLE") {
	case "cluster":
		return serve(s, os.Stdin, os.Stdout)
	case "poller":
		return poll(s, strings.Split(os.Getenv("BENCH_BROKERS"), ","), os.Stdout)
	}
	polls, err := strconv.Atoi(env("BENCH_POLLS", "6"))
	if err != nil {
		return fmt.Errorf("cannot read BENCH_POLLS: %w", err)
	}
	only := os.Getenv("BENCH_ONLY")
	fmt.Print("| cluster | commits per poll | samples per poll | CPU-s per poll (system) | of a core, every 10 s | a poll takes s | RSS MiB (peak) |\n|---|---|---|---|---|---|---|\n")
	for _, s := range []scenario{
		{Name: "100 partitions × 10 groups", Topics: 10, Partitions: 10, Groups: 10},
		{Name: "3,000 partitions × 50 groups", Topics: 100, Partitions: 30, Groups: 50},
	} {
		if !strings.Contains(s.Name, only) {
			continue
		}
		s.Polls = polls
		r, err := measure(context.Background(), s)
		if err != nil {
			return fmt.Errorf("cannot measure %q: %w", s.Name, err)
		}
		n := float64(r.Polls)
		fmt.Printf("| %s | %d | %.0f | %.3f (%.3f) | %.2f %% | %.2f | %.0f (%.0f) |\n", s.Name, r.Commits, float64(r.Samples)/n,
			r.CPU/n, r.System/n, r.CPU/n/10*100, r.Took/n, r.RSS, r.Peak)
		if r.Partial > 0 {
			return fmt.Errorf("%d polls were not whole", r.Partial)
		}
	}
	return nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// measure runs a cluster and a poller and returns what the poller tells.
func measure(ctx context.Context, s scenario) (result, error) {
	var r result
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	js, err := json.Marshal(s)
	if err != nil {
		return r, err
	}
	cluster := exec.CommandContext(ctx, self)
	cluster.Env = append(os.Environ(), "BENCH_ROLE=cluster", "BENCH_SCENARIO="+string(js))
	cluster.Stderr = os.Stderr
	in, err := cluster.StdinPipe()
	if err != nil {
		return r, err
	}
	out, err := cluster.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cluster.Start(); err != nil {
		return r, err
	}
	defer func() {
		_ = in.Close() // ends it
		_ = cluster.Wait()
	}()
	brokers, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return r, fmt.Errorf("the cluster did not start: %w", err)
	}
	poller := exec.CommandContext(ctx, self)
	poller.Env = append(os.Environ(), "BENCH_ROLE=poller", "BENCH_SCENARIO="+string(js), "BENCH_BROKERS="+strings.TrimSpace(brokers))
	poller.Stderr = os.Stderr
	told, err := poller.Output()
	if err != nil {
		return r, err
	}
	err = json.Unmarshal(told, &r)
	return r, err
}

// ended is done when in ends.
func ended(in io.Reader) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(done)
	}()
	return done
}
