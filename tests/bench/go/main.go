// The Go side of `make bench`: the same workloads as tests/bench/weft, word for word.
//
//	bench WORKLOAD PROCS N [K]
//
// prints name<TAB>value<TAB>unit. X is wall time per operation, X.cpu is CPU time per operation
// over all threads. The work is done by goroutines that the main goroutine starts and waits for; a
// channel element is one 64-bit integer; sums are checked and a wrong one ends the program.
// RECORDER in the environment, unless it is 0, takes an execution trace meanwhile, to nowhere.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// workload runs n operations; k is the workload's own parameter.
type workload struct {
	defK int
	run  func(n, k int) // timed, after a warm-up of a tenth
	own  func(n, k int) // or: does its own warm-up, timing and printing
}

var workloads = map[string]workload{
	"switch":        {run: runSwitch},
	"spawn_join":    {run: runSpawnJoin, defK: 1000},
	"spawn_tree":    {own: ownSpawnTree, defK: 10},
	"skynet":        {own: ownSkynet, defK: 10},
	"fib":           {own: ownFib, defK: 12},
	"chan_pingpong": {run: runPingPong},
	"chan_self":     {run: runSelf, defK: 128},
	"chan_buffered": {run: runBuffered, defK: 128},
	"ring":          {own: ownRing, defK: 1000},
	"sieve":         {own: ownSieve, defK: 1000},
	"mutex":         {run: runMutex, defK: 1},
	"waitgroup":     {run: runWaitGroup},
	"memory":        {own: ownMemory, defK: 100000},
	"select_ready":  {run: runSelectReady, defK: 2},
	"select_block":  {run: runSelectBlock, defK: 2},
	"rwmutex":       {run: runRWMutex, defK: 8},
	"mpmc":          {run: runMpmc, defK: 4},
	"mix":           {run: runMix, defK: 100},
	"mergesort":     {own: ownMergesort, defK: 4096},
	"timers":        {own: ownTimers, defK: 100000},
	"cpu_fairness":  {own: ownFairness, defK: 4},
	"late_compute":  {own: ownLateCompute, defK: 8},
	"late_malloc":   {own: ownLateMalloc, defK: 8},
	"late_print":    {own: ownLatePrint, defK: 8},
	"late_sort":     {own: ownLateSort, defK: 8},
	"late_once":     {own: ownLateOnce, defK: 8},
	"late_lock":     {own: ownLateLock, defK: 8},
	"blocking":      {own: ownBlocking, defK: 1000},
	"blocking_raw":  {own: ownBlocking, defK: 1000},
	"tcp_server":    {own: ownTCPServer},
	"malloc":        {run: runMalloc, defK: 64},
	"prof_heap":     {own: ownProfHeap, defK: 64},
	"profile":       {own: ownProfile, defK: observeCPU},
	"annotate":      {run: runAnnotate},
}

type stamp struct {
	wall time.Time
	cpu  int64
}

func cpuNow() int64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		fail("getrusage: %v", err)
	}
	return ru.Utime.Nano() + ru.Stime.Nano()
}

func now() stamp { return stamp{time.Now(), cpuNow()} }

func value(name string, v float64, unit string) { fmt.Printf("%s\t%.3f\t%s\n", name, v, unit) }

// perOp prints X and X.cpu for ops operations since s.
func perOp(name string, s stamp, ops int) {
	wall, cpu := time.Since(s.wall).Nanoseconds(), cpuNow()-s.cpu
	value(name, float64(wall)/float64(ops), "ns")
	value(name+".cpu", float64(cpu)/float64(ops), "ns")
}

// splitmix64 is the i-th number of the sequence that starts at 0.
func splitmix64(i uint64) uint64 {
	z := (i + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	os.Exit(1)
}

func number(s, what string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		fail("%s must be a number >= 0, not %q", what, s)
	}
	return n
}

func main() {
	if len(os.Args) < 4 || len(os.Args) > 5 {
		fail("usage: bench WORKLOAD PROCS N [K]")
	}
	name := os.Args[1]
	w, ok := workloads[name]
	if !ok {
		fail("there is no workload %q", name)
	}
	runtime.GOMAXPROCS(number(os.Args[2], "PROCS"))
	n, k := number(os.Args[3], "N"), w.defK
	if len(os.Args) == 5 {
		k = number(os.Args[4], "K")
	}
	if r := os.Getenv("RECORDER"); r != "" && r != "0" {
		traceOn()
	}
	done := make(chan struct{})
	go func() {
		if w.own != nil {
			w.own(n, k)
		} else {
			w.run(n/10, k)
			s := now()
			w.run(n, k)
			perOp(name, s, n)
		}
		close(done)
	}()
	<-done
}
