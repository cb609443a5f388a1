package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
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
	others   float64         // which part of all processors was spent on neither servers nor clients
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
	before, err := l.spent()
	if err != nil {
		return m, err
	}
	latencies := make([]time.Duration, p.count)
	if err := carryOut(ctx, clients, p, latencies); err != nil {
		return m, err
	}
	after, err := l.spent()
	if err != nil {
		return m, err
	}
	passed := after.at - before.at
	m.rate = float64(p.count) / passed.Seconds()
	others := after.machine - before.machine - (after.clients - before.clients)
	for i := range l.servers {
		used := after.servers[i] - before.servers[i]
		m.cpu = append(m.cpu, used/time.Duration(p.count))
		others -= used
	}
	m.others = max(0, others.Seconds()/passed.Seconds()/float64(runtime.NumCPU()))
	slices.Sort(latencies)
	m.p50, m.p99 = latencies[p.count/2], latencies[p.count*99/100]
	if p.check != nil {
		return m, p.check()
	}
	return m, nil
}

// Spent is the processor time of everybody up to a moment.
type spent struct {
	at      time.Duration
	servers []time.Duration
	clients time.Duration // which is this program
	machine time.Duration // all there is, and what a hypervisor took away
}

func (l load) spent() (s spent, err error) {
	if s.servers, err = cpuOf(l.servers); err != nil {
		return s, err
	}
	if s.clients, err = processCPU(os.Getpid()); err != nil {
		return s, err
	}
	s.machine, err = machineCPU()
	s.at = elapsed()
	return s, err
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
