package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type result struct {
	Count     int     `json:"count"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
	P50Ms     float64 `json:"p50Ms"`
	P99Ms     float64 `json:"p99Ms"`
}

// measure runs the work at-once times side by side until the time is over or enough is done.
func measure(s settings, do work) (result, error) {
	var running sync.WaitGroup
	var begun atomic.Int64
	took := make([][]time.Duration, s.atOnce)
	failures := make(chan error, s.atOnce)
	for one := range s.atOnce {
		running.Go(func() {
			err := do(s, func(lasted time.Duration) bool {
				now := time.Now()
				if now.After(s.from) {
					took[one] = append(took[one], lasted)
				}
				return now.Before(s.until) && begun.Add(1) <= s.most
			})
			if err != nil {
				failures <- err
			}
		})
	}
	running.Wait()
	elapsed := time.Since(s.from)
	select {
	case err := <-failures:
		return result{}, err
	default:
		return summary(slices.Concat(took...), elapsed), nil
	}
}

func summary(took []time.Duration, elapsed time.Duration) result {
	slices.Sort(took)
	at := func(part float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(part*float64(len(took)-1))].Microseconds()) / 1000
	}
	seconds := elapsed.Seconds()
	return result{
		Count: len(took), Seconds: seconds, PerSecond: float64(len(took)) / seconds,
		P50Ms: at(0.5), P99Ms: at(0.99),
	}
}
