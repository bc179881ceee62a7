package main

import (
	"runtime"
	"sync"
)

// Two goroutines, each yields n/2 times.
func runSwitch(n, _ int) {
	var wg sync.WaitGroup
	wg.Add(2)
	for i := 0; i < 2; i++ {
		go func() {
			for j := 0; j < n/2; j++ {
				runtime.Gosched()
			}
			wg.Done()
		}()
	}
	wg.Wait()
}

// n empty goroutines in batches of k.
func runSpawnJoin(n, k int) {
	var wg sync.WaitGroup
	body := func() { wg.Done() }
	for left := n; left > 0; left -= k {
		b := min(k, left)
		wg.Add(b)
		for i := 0; i < b; i++ {
			go body()
		}
		wg.Wait()
	}
}

func treeNode(wg *sync.WaitGroup, size, k int) {
	if size > 1 {
		wg.Add(k)
		for i := 0; i < k; i++ {
			go treeNode(wg, size/k, k)
		}
	}
	wg.Done()
}

// A node starts k nodes of size/k and does not wait for them.
func ownSpawnTree(n, k int) {
	tree := func() {
		var wg sync.WaitGroup
		wg.Add(1)
		go treeNode(&wg, n, k)
		wg.Wait()
	}
	tree()
	s := now()
	tree()
	report("spawn_tree", s, nodes(n, k))
}

// nodes counts the goroutines of a k-ary tree with n leaves.
func nodes(n, k int) int {
	total := 0
	for level := 1; ; level *= k {
		total += level
		if level >= n {
			return total
		}
	}
}

func skynetNode(c chan int64, num, size, k int64) {
	if size == 1 {
		c <- num
		return
	}
	sub := make(chan int64)
	for i := int64(0); i < k; i++ {
		go skynetNode(sub, num+i*(size/k), size/k, k)
	}
	sum := int64(0)
	for i := int64(0); i < k; i++ {
		sum += <-sub
	}
	c <- sum
}

func ownSkynet(n, k int) {
	net := func() {
		c := make(chan int64)
		go skynetNode(c, 0, int64(n), int64(k))
		if sum, want := <-c, int64(n)*int64(n-1)/2; sum != want {
			fail("skynet: sum %d, want %d", sum, want)
		}
	}
	net()
	s := now()
	net()
	report("skynet", s, nodes(n, k))
}

func fibSeq(n int) int64 {
	if n < 2 {
		return int64(n)
	}
	return fibSeq(n-1) + fibSeq(n-2)
}

func fibFork(n, cut int) int64 {
	if n < cut {
		return fibSeq(n)
	}
	var wg sync.WaitGroup
	var a int64
	wg.Add(1)
	go func() {
		a = fibFork(n-1, cut)
		wg.Done()
	}()
	b := fibFork(n-2, cut)
	wg.Wait()
	return a + b
}

func fibForks(n, cut int) int {
	if n < cut {
		return 0
	}
	return 1 + fibForks(n-1, cut) + fibForks(n-2, cut)
}

// fib(n): a goroutine computes fib(n-1), the caller fib(n-2), down to k.
func ownFib(n, k int) {
	s := now()
	want := fibSeq(n)
	seq := now()
	value("fib.seq.ms", float64(seq.wall.Sub(s.wall).Microseconds())/1000, "ms")
	fibFork(min(30, n), k)
	s = now()
	if got := fibFork(n, k); got != want {
		fail("fib: %d, want %d", got, want)
	}
	report("fib", s, fibForks(n, k))
}
