package main

import (
	"io"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"
)

// What being observed costs: mix with it off and on in turn, so that a machine that slows down slows both.
const (
	observeNothing = iota
	observeCPU
	observeBlock1
	observeBlock10us
	observeMutex1
	observeMutex100
	observeN

	profileTurns = 9
	workers      = 100
)

func observeCPUProfile(on bool) {
	if !on {
		pprof.StopCPUProfile()
		return
	}
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		fail("StartCPUProfile: %v", err)
	}
}

func observe(what int, on bool) {
	rate := func(r int) int {
		if on {
			return r
		}
		return 0
	}
	switch what {
	case observeCPU:
		observeCPUProfile(on)
	case observeBlock1:
		runtime.SetBlockProfileRate(rate(1))
	case observeBlock10us:
		runtime.SetBlockProfileRate(rate(10_000))
	case observeMutex1:
		runtime.SetMutexProfileFraction(rate(1))
	case observeMutex100:
		runtime.SetMutexProfileFraction(rate(100))
	}
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// k says what is observed.
func ownProfile(n, k int) {
	var wall, cpu [2][]float64
	var slower, slowerCPU []float64
	if k >= observeN {
		fail("profile: there is no %d to observe", k)
	}
	runMix(n, workers)
	for i := 0; i < profileTurns; i++ {
		for on := 0; on < 2; on++ {
			if on == 1 {
				observe(k, true)
			}
			s := now()
			runMix(n, workers)
			w, c := time.Since(s.wall).Nanoseconds(), cpuNow()-s.cpu
			if on == 1 {
				observe(k, false)
			}
			wall[on] = append(wall[on], float64(w)/float64(n))
			cpu[on] = append(cpu[on], float64(c)/float64(n))
		}
		slower = append(slower, wall[1][i]/wall[0][i])
		slowerCPU = append(slowerCPU, cpu[1][i]/cpu[0][i])
	}
	value("profile.off", middle(wall[0]), "ns")
	value("profile.on", middle(wall[1]), "ns")
	value("profile.slowdown", middle(slower), "x")
	value("profile.slowdown.cpu", middle(slowerCPU), "x")
}
