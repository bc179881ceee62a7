package main

import (
	"sync"
	"time"
)

// report prints X, X.cpu and X.ms for a workload that is one run.
func report(name string, s stamp, ops int) {
	ms := float64(time.Since(s.wall).Microseconds()) / 1000
	perOp(name, s, ops)
	value(name+".ms", ms, "ms")
}

// n round trips over two unbuffered channels.
func runPingPong(n, _ int) {
	x, y := make(chan int64), make(chan int64)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		for i := int64(0); i < int64(n); i++ {
			x <- i
			if v := <-y; v != i+1 {
				fail("pingpong: got %d, want %d", v, i+1)
			}
		}
		wg.Done()
	}()
	go func() {
		for i := 0; i < n; i++ {
			y <- <-x + 1
		}
		wg.Done()
	}()
	wg.Wait()
}

// One goroutine sends to itself through a buffer; never blocks.
func runSelf(n, k int) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		c := make(chan int64, k)
		sum := int64(0)
		for i := 0; i < n; i++ {
			c <- int64(i)
			sum += <-c
		}
		checkSum("self", sum, n)
		wg.Done()
	}()
	wg.Wait()
}

// One producer, one consumer.
func runBuffered(n, k int) {
	c := make(chan int64, k)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		for i := 0; i < n; i++ {
			c <- int64(i)
		}
		wg.Done()
	}()
	go func() {
		sum := int64(0)
		for i := 0; i < n; i++ {
			sum += <-c
		}
		checkSum("buffered", sum, n)
		wg.Done()
	}()
	wg.Wait()
}

func checkSum(what string, sum int64, n int) {
	if want := int64(n) * int64(n-1) / 2; sum != want {
		fail("%s: sum %d, want %d", what, sum, want)
	}
}

// k goroutines in a ring; the measuring one is the k-th member.
func ownRing(n, k int) {
	first := make(chan int64)
	last := first
	for i := 1; i < k; i++ {
		next := make(chan int64)
		go func(in, out chan int64) {
			for v := range in {
				out <- v + 1
			}
			close(out)
		}(last, next)
		last = next
	}
	lap := func() {
		first <- 0
		if v := <-last; v != int64(k-1) {
			fail("ring: got %d, want %d", v, k-1)
		}
	}
	lap()
	laps := max(1, n/k)
	s := now()
	for i := 0; i < laps; i++ {
		lap()
	}
	perOp("ring", s, laps*k)
	close(first)
}

// The first k primes by a chain of filter goroutines, left parked when the last prime is there.
func sievePrimes(k int) int64 {
	c := make(chan int64)
	go func(out chan int64) {
		for i := int64(2); ; i++ {
			out <- i
		}
	}(c)
	prime := int64(0)
	for i := 0; i < k; i++ {
		prime = <-c
		next := make(chan int64)
		go func(in, out chan int64, p int64) {
			for {
				if v := <-in; v%p != 0 {
					out <- v
				}
			}
		}(c, next, prime)
		c = next
	}
	return prime
}

// n is not used: the number of transfers follows from k.
func ownSieve(_, k int) {
	sievePrimes(k / 10)
	s := now()
	prime := sievePrimes(k)
	ms := float64(time.Since(s.wall).Microseconds()) / 1000
	cpu := float64(cpuNow()-s.cpu) / 1e6
	if k == 1000 && prime != 7919 {
		fail("sieve: the 1000th prime is not %d", prime)
	}
	value("sieve.ms", ms, "ms")
	value("sieve.ms.cpu", cpu, "ms")
}
