package main

import (
	"context"
	"io"
	"runtime"
	"runtime/trace"
	"slices"
)

const turns = 99

var block []byte // makes them escape

// n blocks of k bytes, each garbage at once.
func runMalloc(n, k int) {
	for i := 0; i < n; i++ {
		block = make([]byte, k)
	}
}

// traceOn takes an execution trace until the program ends, to nowhere.
func traceOn() {
	if err := trace.Start(io.Discard); err != nil {
		fail("trace: %v", err)
	}
}

// n tasks with a region and a log line in it, on one goroutine; k 1: while an execution trace is taken.
func runAnnotate(n, k int) {
	if k == 1 && !trace.IsEnabled() {
		traceOn()
	}
	for i := 0; i < n; i++ {
		ctx, task := trace.NewTask(context.Background(), "request")
		region := trace.StartRegion(ctx, "parse")
		trace.Logf(ctx, "step", "item %d", i)
		region.End()
		task.End()
	}
}

func mallocCPU(n, k int) float64 {
	s := now()
	runMalloc(n, k)
	return float64(now().cpu-s.cpu) / float64(n)
}

func ownProfHeap(n, k int) {
	var off, on, cost []float64
	rate := runtime.MemProfileRate
	runMalloc(n/10, k)
	for i := 0; i < turns; i++ {
		runtime.MemProfileRate = 0
		off = append(off, mallocCPU(n/turns, k))
		runtime.MemProfileRate = rate
		on = append(on, mallocCPU(n/turns, k))
		cost = append(cost, on[i]-off[i])
	}
	slices.Sort(off)
	slices.Sort(on)
	slices.Sort(cost)
	value("prof_heap.off", off[turns/2], "ns")
	value("prof_heap.on", on[turns/2], "ns")
	value("prof_heap.cost", cost[turns/2], "ns")
}
