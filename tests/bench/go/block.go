package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	alone = 300 * time.Millisecond
	nap   = 10 * time.Millisecond
)

func threadsNow() int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	_, rest, _ := strings.Cut(string(text), "Threads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSpace(line))
	return n
}

func roundMs(k int) float64 {
	start := time.Now()
	var wg sync.WaitGroup
	wg.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			ts := syscall.NsecToTimespec(nap.Nanoseconds())
			syscall.Nanosleep(&ts, nil)
			wg.Done()
		}()
	}
	wg.Wait()
	return float64(time.Since(start).Microseconds()) / 1000
}

// n rounds of k system calls that block, beside a goroutine that computes.
func ownBlocking(n, k int) {
	var stop atomic.Bool
	var steps atomic.Uint64 // thousands of them
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		for x := uint64(1); !stop.Load(); {
			x = xorshift(x, 1000)
			if x == 0 {
				steps.Add(1)
			}
			steps.Add(1)
		}
		wg.Done()
	}()
	rate := func(s stamp, from uint64) float64 {
		return float64(steps.Load()-from) / float64(time.Since(s.wall).Nanoseconds())
	}
	s := now()
	time.Sleep(alone)
	before := rate(s, 0)
	s = now()
	from, threads := steps.Load(), 0
	ms := make([]float64, n)
	for i := range ms {
		ms[i] = roundMs(k)
		threads = max(threads, threadsNow()) // they are kept
	}
	during := rate(s, from)
	value("blocking.cpu", float64(cpuNow()-s.cpu)/float64(n)/1e6, "ms")
	stop.Store(true)
	wg.Wait()
	value("blocking.first", ms[0], "ms")
	later := ms[1:]
	slices.Sort(later)
	value("blocking", later[len(later)/2], "ms")
	value("blocking.rate", during/before, "x")
	value("blocking.threads", float64(threads), "")
}
