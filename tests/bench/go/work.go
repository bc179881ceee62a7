package main

import "sync"

const (
	mpmcCap  = 128
	mixCap   = 128
	mixSteps = 1000
	// Up to so many numbers are sorted by insertion.
	insertion = 24
)

// k producers and k consumers on one buffered channel.
func runMpmc(n, k int) {
	c := make(chan int64, mpmcCap)
	var made, taken sync.WaitGroup
	var mu sync.Mutex
	total, per := int64(0), int64(n/k)
	made.Add(k)
	taken.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			for i := int64(0); i < per; i++ {
				c <- i
			}
			made.Done()
		}()
		go func() {
			sum := int64(0)
			for v := range c {
				sum += v
			}
			mu.Lock()
			total += sum
			mu.Unlock()
			taken.Done()
		}()
	}
	made.Wait()
	close(c)
	taken.Wait()
	if want := int64(k) * (per * (per - 1) / 2); total != want {
		fail("mpmc: sum %d, want %d", total, want)
	}
}

func xorshift(x uint64, steps int) uint64 {
	for i := 0; i < steps; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// One producer, k workers, one collector, which is the caller.
func runMix(n, k int) {
	jobs, results := make(chan int64, mixCap), make(chan int64, mixCap)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum, got uint64
	wg.Add(k + 1)
	for i := 0; i < k; i++ {
		go func() {
			for job := range jobs {
				x := xorshift(uint64(job)+1, mixSteps)
				mu.Lock()
				sum += x
				mu.Unlock()
				results <- int64(x)
			}
			wg.Done()
		}()
	}
	go func() {
		for i := 0; i < n; i++ {
			jobs <- int64(i)
		}
		close(jobs)
		wg.Done()
	}()
	for i := 0; i < n; i++ {
		got += uint64(<-results)
	}
	wg.Wait()
	if sum != got {
		fail("mix: sum %d, want %d", got, sum)
	}
}

func merge(v, scratch []uint32, half int) {
	i, j, at := 0, half, 0
	for i < half && j < len(v) {
		if v[j] < v[i] {
			scratch[at] = v[j]
			j++
		} else {
			scratch[at] = v[i]
			i++
		}
		at++
	}
	at += copy(scratch[at:], v[i:half])
	copy(scratch[at:], v[j:])
	copy(v, scratch[:len(v)])
}

func sortSeq(v, scratch []uint32) {
	if len(v) <= insertion {
		for i := 1; i < len(v); i++ {
			x, j := v[i], i
			for ; j > 0 && v[j-1] > x; j-- {
				v[j] = v[j-1]
			}
			v[j] = x
		}
		return
	}
	half := len(v) / 2
	sortSeq(v[:half], scratch[:half])
	sortSeq(v[half:], scratch[half:])
	merge(v, scratch, half)
}

func sortFork(v, scratch []uint32, cut int) {
	if len(v) <= cut {
		sortSeq(v, scratch)
		return
	}
	half := len(v) / 2
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		sortFork(v[:half], scratch[:half], cut)
		wg.Done()
	}()
	sortFork(v[half:], scratch[half:], cut)
	wg.Wait()
	merge(v, scratch, half)
}

func fill(v []uint32) []uint32 {
	for i := range v {
		v[i] = uint32(splitmix64(uint64(i)))
	}
	return v
}

func checkSorted(v []uint32) {
	for i := 1; i < len(v); i++ {
		if v[i-1] > v[i] {
			fail("mergesort: not sorted at %d", i)
		}
	}
}

// n numbers; a goroutine per left half above k.
func ownMergesort(n, k int) {
	v, scratch := make([]uint32, n), make([]uint32, n)
	sortFork(fill(v[:n/10]), scratch[:n/10], k)
	fill(v)
	s := now()
	sortSeq(v, scratch)
	perOp("mergesort.seq", s, n)
	checkSorted(v)
	fill(v)
	s = now()
	sortFork(v, scratch, k)
	perOp("mergesort", s, n)
	checkSorted(v)
}
