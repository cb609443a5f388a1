package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A plan is work that clients share. Whatever can be is made before the clock starts, and looked at after it has stopped.
type plan struct {
	count int
	// connect opens what a client keeps.
	connect func(*client) error
	// do does one of the operations, and fails unless its answer has the right status.
	do func(c *client, i int) error
	// check looks at all answers.
	check func() error
}

// load says how a plan is carried out.
type load struct {
	clients int
	limit   time.Duration // when it is given up
	servers []*process    // whose time on the processors is counted, the authority first
}

// A measurement is what came of it.
type measurement struct {
	rate     float64 // operations a second
	p50, p99 time.Duration
	cpu      []time.Duration // of each server, for one operation
}

// run carries out a plan. One operation that fails, or does not end in time, is a failure of all of it.
func (l load) run(ctx context.Context, p plan) (m measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	clients := make([]*client, min(l.clients, p.count))
	for i := range clients {
		clients[i] = newClient(ctx, i)
		defer clients[i].close()
		if p.connect == nil {
			continue
		}
		if err := p.connect(clients[i]); err != nil {
			return m, fmt.Errorf("connecting: %w", err)
		}
	}
	before, err := cpuOf(l.servers)
	if err != nil {
		return m, err
	}
	latencies := make([]time.Duration, p.count)
	began := elapsed()
	if err := carryOut(ctx, clients, p, latencies); err != nil {
		return m, err
	}
	seconds := (elapsed() - began).Seconds()
	after, err := cpuOf(l.servers)
	if err != nil {
		return m, err
	}
	m.rate = float64(p.count) / seconds
	for i := range after {
		m.cpu = append(m.cpu, (after[i]-before[i])/time.Duration(p.count))
	}
	slices.Sort(latencies)
	m.p50, m.p99 = latencies[p.count/2], latencies[p.count*99/100]
	if p.check != nil {
		return m, p.check()
	}
	return m, nil
}

// carryOut has each client do the next operation that nobody has begun, until none is left or one fails.
func carryOut(ctx context.Context, clients []*client, p plan, latencies []time.Duration) error {
	var next atomic.Int64
	var failed atomic.Bool
	failures := make([]error, len(clients))
	var running sync.WaitGroup
	for n, c := range clients {
		running.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= p.count {
					return
				}
				began := elapsed()
				if err := p.do(c, i); err != nil {
					failures[n] = fmt.Errorf("operation %d of %d: %w", i+1, p.count, err)
					failed.Store(true)
				}
				latencies[i] = elapsed() - began
			}
		})
	}
	running.Wait()
	if failed.Load() {
		return errors.Join(failures...)
	}
	return ctx.Err()
}

// inParallel calls work for each number below count, on all processors, until one fails.
func inParallel(count, processors int, work func(i int) error) error {
	var next atomic.Int64
	failures := make([]error, processors)
	var running sync.WaitGroup
	for p := range processors {
		running.Go(func() {
			for failures[p] == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				failures[p] = work(i)
			}
		})
	}
	running.Wait()
	return errors.Join(failures...)
}
