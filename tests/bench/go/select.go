package main

import "sync"

// n sends, each followed by a select over k = 2 or 8 channels of which one is ready; one goroutine.
func runSelectReady(n, k int) {
	c := newChans(k, 1)
	n = n / k * k
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := 0; i < n; i++ {
			c[i%k] <- int64(i)
			if v := receiveAny(c, k); v != int64(i) {
				fail("select_ready: got %d, want %d", v, i)
			}
		}
	}()
	wg.Wait()
}

// k producers, each on an unbuffered channel of its own; one consumer selects over all.
func runSelectBlock(n, k int) {
	c := newChans(k, 0)
	each := n / k
	var wg sync.WaitGroup
	wg.Add(k + 1)
	for i := 0; i < k; i++ {
		go func(c chan int64) {
			for i := 0; i < each; i++ {
				c <- int64(i)
			}
			wg.Done()
		}(c[i])
	}
	go func() {
		sum := int64(0)
		for i := 0; i < each*k; i++ {
			sum += receiveAny(c, k)
		}
		if want := int64(k) * (int64(each) * int64(each-1) / 2); sum != want {
			fail("select_block: sum %d, want %d", sum, want)
		}
		wg.Done()
	}()
	wg.Wait()
}

// newChans makes eight; those from k on stay nil.
func newChans(k, size int) *[8]chan int64 {
	if k != 2 && k != 8 {
		fail("select: K must be 2 or 8, not %d", k)
	}
	c := new([8]chan int64)
	for i := 0; i < k; i++ {
		c[i] = make(chan int64, size)
	}
	return c
}

func receiveAny(c *[8]chan int64, k int) (v int64) {
	if k == 2 {
		select {
		case v = <-c[0]:
		case v = <-c[1]:
		}
		return v
	}
	select {
	case v = <-c[0]:
	case v = <-c[1]:
	case v = <-c[2]:
	case v = <-c[3]:
	case v = <-c[4]:
	case v = <-c[5]:
	case v = <-c[6]:
	case v = <-c[7]:
	}
	return v
}
