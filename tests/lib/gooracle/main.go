// The oracle of the end-to-end tests: a plain net/http/pprof server that is asked what weftd is asked.
//
//	gooracle [RECEIVING SENDING LOCKING SLEEPING]
//
// holds that many goroutines parked in one function each, labelled as those of the test plugin
// parked.c are, has something in its block and mutex profile, prints its address as a line, and serves until it is killed.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

var (
	silent = make(chan int64)
	full   = make(chan int64)
	held   sync.Mutex
)

//go:noinline
func parkedReceiving() { <-silent }

//go:noinline
func parkedSending() { full <- 1 }

//go:noinline
func parkedLocking() { held.Lock() }

//go:noinline
func parkedSleeping() { time.Sleep(time.Hour) }

// start runs n goroutines of f under the label kind=name.
func start(n int, name string, f func()) {
	pprof.Do(context.Background(), pprof.Labels("kind", name), func(context.Context) {
		for i := 0; i < n; i++ {
			go f()
		}
	})
}

//go:noinline
func contendedHolder(m *sync.Mutex, done *sync.WaitGroup) {
	m.Lock()
	for i := 0; i < 5; i++ {
		done.Add(1)
		go func() { m.Lock(); m.Unlock(); done.Done() }()
	}
	time.Sleep(50 * time.Millisecond)
	m.Unlock()
	done.Wait()
}

// profiles fills block, mutex and a profile of its own, "waits.held", as the test plugin waits.c does.
func profiles() {
	var m sync.Mutex
	var done sync.WaitGroup

	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	contendedHolder(&m, &done)
	p := pprof.NewProfile("waits.held")
	for i := 0; i < 30; i++ {
		p.Add(i, 0)
	}
}

func main() {
	n := []int{6, 3, 2, 1}
	for i := range n {
		if len(os.Args) > i+1 {
			v, err := strconv.Atoi(os.Args[i+1])
			if err != nil || v < 0 {
				fmt.Fprintf(os.Stderr, "gooracle: %q is not a number of goroutines\n", os.Args[i+1])
				os.Exit(2)
			}
			n[i] = v
		}
	}
	profiles()
	held.Lock()
	start(n[0], "receiving", parkedReceiving)
	start(n[1], "sending", parkedSending)
	start(n[2], "locking", parkedLocking)
	for i := 0; i < n[3]; i++ {
		go parkedSleeping() // without labels
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "gooracle:", err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	fmt.Fprintln(os.Stderr, "gooracle:", http.Serve(l, nil))
}
