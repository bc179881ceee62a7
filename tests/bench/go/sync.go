package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// k goroutines share one mutex; n lock, add, unlock in all.
func runMutex(n, k int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	sum := 0
	per := n / k
	wg.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			for j := 0; j < per; j++ {
				mu.Lock()
				sum++
				mu.Unlock()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	if sum != per*k {
		fail("mutex: sum %d, want %d", sum, per*k)
	}
}

const writeEach = 1000

// k goroutines share one rwmutex; n operations in all, each thousandth writes.
func runRWMutex(n, k int) {
	var mu sync.RWMutex
	var wg sync.WaitGroup
	counter, per := 0, n/k
	wg.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			last := 0
			for i := 1; i <= per; i++ {
				if i%writeEach == 0 {
					mu.Lock()
					counter++
					mu.Unlock()
					continue
				}
				mu.RLock()
				if counter < last {
					fail("rwmutex: the counter went back from %d to %d", last, counter)
				}
				last = counter
				mu.RUnlock()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	if counter != per/writeEach*k {
		fail("rwmutex: counted %d, want %d", counter, per/writeEach*k)
	}
}

// One goroutine: add, done.
func runWaitGroup(n, _ int) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	go func() {
		for i := 0; i < n; i++ {
			wg.Add(1)
			wg.Done()
		}
		close(done)
	}()
	<-done
}

// memoryNow reads VmRSS + VmPTE, in bytes.
func memoryNow() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	defer f.Close()
	total := int64(0)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var kib int64
		for _, key := range []string{"VmRSS:", "VmPTE:"} {
			if rest, ok := strings.CutPrefix(sc.Text(), key); ok {
				fmt.Sscanf(strings.TrimSpace(rest), "%d", &kib)
				total += kib * 1024
			}
		}
	}
	return total
}

// touch writes depth KiB of its stack in frames of 1 KiB.
//
//go:noinline
func touch(depth int) byte {
	var frame [1024]byte
	for i := range frame {
		frame[i] = byte(i + depth)
	}
	if depth > 1 {
		frame[0] += touch(depth - 1)
	}
	return frame[depth%1024]
}

// k goroutines tell that they run and block for ever; each first touches n bytes of stack.
func ownMemory(n, k int) {
	var running atomic.Int64
	all := make(chan struct{})
	never := make(chan int64)
	before, s := memoryNow(), now()
	for i := 0; i < k; i++ {
		go func() {
			if n >= 1024 {
				touch(n / 1024)
			}
			if running.Add(1) == int64(k) {
				close(all)
			}
			<-never
		}()
	}
	<-all
	wall, cpu := time.Since(s.wall).Nanoseconds(), cpuNow()-s.cpu
	time.Sleep(200 * time.Millisecond)
	value("memory", float64(memoryNow()-before)/float64(k), "B")
	value("memory.create", float64(wall)/float64(k), "ns")
	value("memory.create.cpu", float64(cpu)/float64(k), "ns")
}
