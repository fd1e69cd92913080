package main

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/weirhq/weir/query/flow/truth"
)

type lagTruthCmd struct {
	Runs  int    `default:"20" help:"Runs of each shape."`
	Hours int    `default:"48" help:"Of each run."`
	Seed  uint64 `default:"1"`
}

// Run prints how far stated time lags are off, by shape of the load.
func (c *lagTruthCmd) Run() error { //nolint:unparam // kong wants it
	fmt.Printf("| load | lags | error ≤ bound | at least, and it was | mean error s | worst s | mean bound s |\n|---|---|---|---|---|---|---|\n")
	for _, shape := range truth.Shapes() {
		sum := truth.LagResult{Shape: shape}
		for _, r := range parallel(c.Runs, func(i int) truth.LagResult { return truth.Lag(shape, c.Hours, c.Seed+uint64(i)) }) {
			sum = sum.Add(r)
		}
		fmt.Printf("| %s | %d | %.4f %% | %d, %d | %.2f | %.1f | %.1f |\n", shape, sum.Points, 100*float64(sum.Within)/float64(max(sum.Points, 1)), sum.AtLeast, sum.AtLeast-sum.Short, sum.Mean, sum.Worst, sum.Bound)
	}
	return nil
}

type drainCmd struct {
	Runs int    `default:"2000" help:"Runs of each shape."`
	Seed uint64 `default:"1"`
}

// Run prints how often a backlog was gone within the stated 80 % interval.
func (c *drainCmd) Run() error { //nolint:unparam // kong wants it
	fmt.Printf("| consumption | forecasts | within | sooner | later | no latest end stated | median width of the others, of the truth | median error, of the truth |\n|---|---|---|---|---|---|---|---|\n")
	for _, shape := range truth.Consumptions() {
		sum := truth.DrainResult{Shape: shape}
		for _, r := range parallel(c.Runs, func(i int) truth.DrainResult {
			r, _ := truth.Drain(shape, c.Seed+uint64(i))
			return r
		}) {
			sum = sum.Add(r)
		}
		n := float64(max(sum.Asked, 1))
		fmt.Printf("| %s | %d | %.1f %% | %.1f %% | %.1f %% | %.0f %% | %.2f | %.2f |\n", shape, sum.Asked, 100*float64(sum.Within)/n, 100*float64(sum.Soon)/n, 100*float64(sum.Late)/n,
			100*float64(sum.Open)/n, truth.Median(sum.Widths), truth.Median(sum.Errors))
	}
	return nil
}

func parallel[T any](n int, f func(int) T) []T {
	out := make([]T, n)
	var wg sync.WaitGroup
	for w := range runtime.NumCPU() {
		wg.Go(func() {
			for i := w; i < n; i += runtime.NumCPU() {
				out[i] = f(i)
			}
		})
	}
	wg.Wait()
	return out
}
