//go:build linux

// Command bench measures the statsd receiver as a process of its own, fed by another process over loopback UDP.
//
//	go run ./collector/statsd/bench
//
// It prints a markdown table: metrics received per CPU second of the receiver (user and system), what the
// kernel dropped, what is unaccounted for, and the receiver's memory.
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
	"time"
)

type scenario struct {
	Name   string
	Packed bool
	Rate   int // metrics per second; 0 = as fast as the sender can
	Series int
	Unix   bool
}

// result is what the two processes tell on exit.
type result struct {
	Sent, Datagrams             int     // sender
	Received, Packets, Kernel   int     // receiver: metrics, datagrams, datagrams
	CPU, System, RSS, SenderCPU float64 // seconds, seconds, MiB, seconds
	Seconds                     float64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	seconds, err := strconv.ParseFloat(env("BENCH_SECONDS", "5"), 64)
	if err != nil {
		return fmt.Errorf("cannot read BENCH_SECONDS: %w", err)
	}
	switch os.Getenv("BENCH_ROLE") {
	case "receiver":
		return receive(os.Stdin, os.Stdout)
	case "sender":
		var s scenario
		if err := json.Unmarshal([]byte(os.Getenv("BENCH_SCENARIO")), &s); err != nil {
			return err
		}
		return sendTo(os.Getenv("BENCH_ADDR"), s, time.Duration(seconds*float64(time.Second)), os.Stdout)
	}
	all := []scenario{
		{Name: "P1 packed, 2 M/s", Packed: true, Rate: 2_000_000, Series: 5000},
		{Name: "P1 packed, unpaced", Packed: true, Series: 5000},
		{Name: "P1 packed, 1 M/s, 50,000 series", Packed: true, Rate: 1_000_000, Series: 50_000},
		{Name: "P2 single, 50 k/s", Rate: 50_000, Series: 5000},
		{Name: "P2 single, 100 k/s", Rate: 100_000, Series: 5000},
		{Name: "P2 single, unpaced", Series: 5000},
		{Name: "Unix socket, packed, unpaced", Packed: true, Series: 5000, Unix: true},
		{Name: "Unix socket, single, unpaced", Series: 5000, Unix: true},
	}
	only := os.Getenv("BENCH_ONLY")
	fmt.Print("| run | sent/s | M metrics/core-s | CPU-s (system) | lost | kernel drops (datagrams) | unaccounted | RSS MiB |\n|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		if !strings.Contains(s.Name, only) {
			continue
		}
		r, err := measure(context.Background(), s)
		if err != nil {
			return fmt.Errorf("cannot measure %q: %w", s.Name, err)
		}
		lost := float64(r.Sent-r.Received) / float64(r.Sent)
		fmt.Printf("| %s | %.0f | %.2f | %.2f (%.2f) | %.3f %% | %d | %d | %.1f |\n", s.Name, float64(r.Sent)/r.Seconds,
			float64(r.Received)/r.CPU/1e6, r.CPU, r.System, lost*100, r.Kernel, r.Datagrams-r.Kernel-r.Packets, r.RSS)
	}
	return nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// measure runs a receiver and a sender and puts together what they tell.
func measure(ctx context.Context, s scenario) (result, error) {
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	rx := exec.CommandContext(ctx, self)
	rx.Env = append(os.Environ(), "BENCH_ROLE=receiver", "BENCH_UNIX="+strconv.FormatBool(s.Unix))
	rx.Stderr = os.Stderr
	in, err := rx.StdinPipe()
	if err != nil {
		return result{}, err
	}
	out, err := rx.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	if err := rx.Start(); err != nil {
		return result{}, err
	}
	told := bufio.NewReader(out)
	addr, err := told.ReadString('\n')
	if err != nil {
		return result{}, err
	}
	js, err := json.Marshal(s)
	if err != nil {
		return result{}, err
	}
	tx := exec.CommandContext(ctx, self)
	tx.Env = append(os.Environ(), "BENCH_ROLE=sender", "BENCH_ADDR="+strings.TrimSpace(addr), "BENCH_SCENARIO="+string(js))
	tx.Stderr = os.Stderr
	sent, err := tx.Output()
	if err != nil {
		return result{}, err
	}
	if err := in.Close(); err != nil { // the receiver takes in the rest and tells
		return result{}, err
	}
	got, err := io.ReadAll(told)
	if err != nil {
		return result{}, err
	}
	if err := rx.Wait(); err != nil {
		return result{}, err
	}
	var r result
	if err := json.Unmarshal(sent, &r); err != nil {
		return r, err
	}
	err = json.Unmarshal(got, &r)
	return r, err
}
