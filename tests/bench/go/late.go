package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// NAME.p50, .p99, .max in us.
func printLateness(name string, late []time.Duration) {
	slices.Sort(late)
	n := len(late)
	us := func(at int) float64 { return float64(late[at].Nanoseconds()) / 1000 }
	value(name+".p50", us(n/2), "us")
	value(name+".p99", us(n-1-n/100), "us")
	value(name+".max", us(n-1), "us")
}

// k goroutines sleep once each, 1 to 1000 ms; n is not used.
func ownTimers(_, k int) {
	late := make([]time.Duration, k)
	sleepAll := func(k int) {
		var wg sync.WaitGroup
		wg.Add(k)
		for i := 0; i < k; i++ {
			go func() {
				d := time.Duration(1+splitmix64(uint64(i))%1000) * time.Millisecond
				due := time.Now().Add(d)
				time.Sleep(d)
				late[i] = time.Since(due)
				wg.Done()
			}()
		}
		wg.Wait()
	}
	sleepAll(k / 100)
	s := now()
	sleepAll(k)
	wall, cpu := time.Since(s.wall), cpuNow()-s.cpu
	value("timers.wall", float64(wall.Microseconds())/1000, "ms")
	value("timers.cpu", float64(cpu)/1e6, "ms")
	printLateness("timers", late)
}

// What the computing goroutines load.
var stop atomic.Bool
var sink atomic.Uint64

// tickBeside sleeps 1 ms n times, for no longer than limit, while others compute; then stops them.
func tickBeside(name string, n int, limit time.Duration, computing *sync.WaitGroup) {
	var late []time.Duration
	done := make(chan struct{})
	go func() {
		end := time.Now().Add(limit)
		for len(late) < n {
			due := time.Now().Add(time.Millisecond)
			time.Sleep(time.Millisecond)
			late = append(late, time.Since(due))
			if due.After(end) {
				break
			}
		}
		stop.Store(true)
		close(done)
	}()
	<-done
	computing.Wait()
	printLateness(name, late)
}

func compute() uint64 {
	x, steps := uint64(1), uint64(0)
	for ; !stop.Load(); steps++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	sink.Store(x)
	return steps
}

// n sleeps beside k spinners.
func ownFairness(n, k int) {
	var wg sync.WaitGroup
	steps := make([]uint64, k)
	wg.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			steps[i] = compute()
			wg.Done()
		}()
	}
	tickBeside("fairness", n, 5*time.Second, &wg)
	value("fairness.share", float64(slices.Min(steps))/float64(max(1, slices.Max(steps))), "x")
}

func beside(n, k int, hog func(i int)) {
	var wg sync.WaitGroup
	wg.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			hog(i)
			wg.Done()
		}()
	}
	tickBeside("late", n, 2*time.Second, &wg)
}

func ownLateCompute(n, k int) { beside(n, k, func(int) { compute() }) }

func ownLateMalloc(n, k int) {
	kept := make([][]byte, k)
	beside(n, k, func(i int) {
		for size := 1; !stop.Load(); size = size*7%4099 + 1 {
			kept[i] = make([]byte, size)
			kept[i][0] = 1
		}
	})
}

// A buffer behind a lock, as stdio has it.
func ownLatePrint(n, k int) {
	nowhere, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		fail("%v", err)
	}
	var mu sync.Mutex
	out := bufio.NewWriter(nowhere)
	beside(n, k, func(int) {
		for i := 0; !stop.Load(); i++ {
			mu.Lock()
			fmt.Fprintf(out, "%d %s %g\n", i, "line", float64(i)/3)
			mu.Unlock()
		}
	})
}

func ownLateSort(n, k int) {
	beside(n, k, func(int) {
		v := []int64{3, 1, 2}
		sort.Slice(v, func(a, b int) bool {
			compute()
			return v[a] < v[b]
		})
	})
}

func ownLateOnce(n, k int) {
	once := make([]sync.Once, k)
	beside(n, k, func(i int) { once[i].Do(func() { compute() }) })
}

// Two of them compute, the others wait for those two.
func ownLateLock(n, k int) {
	var locks [2]sync.Mutex
	beside(n, k, func(i int) {
		mu := &locks[i%2]
		mu.Lock()
		compute()
		mu.Unlock()
	})
}
