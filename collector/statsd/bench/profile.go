//go:build linux

package main

import (
	"os"
	"runtime/pprof"
)

// profile writes a CPU profile to the file that BENCH_PROFILE names.
func profile() (finish func(), err error) {
	path := os.Getenv("BENCH_PROFILE")
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}
