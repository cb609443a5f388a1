package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"cauase/pkg/pki"
)

// Quantities of a profile, for one operation.
const (
	allocations = "allocations"
	allocatedKB = "allocated kB"
)

// Names of the files with profiles, for go tool pprof.
const (
	cpuProfile   = "cpu.pprof"
	allocProfile = "allocs.pprof"
)

// A profiledWork is what profiles are taken of, in files with a prefix.
type profiledWork struct {
	name, prefix string
	plan         func() (plan, error)
}

// profiling is the group of rows about what a renewal, and an enrolment, spend their time and memory on. Their daemon is
// built to be profiled, and nothing else is measured of it.
func (b *bench) profiling(ctx context.Context) error {
	if b.profiles == "" {
		b.say("-profile says no folder")
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	program := filepath.Join(b.dir, "cauased-profiled")
	if err := goBuild(program, "cauase/cauased", "-tags", "profile"); err != nil {
		return err
	}
	d, at, err := b.startProfiled(ctx, program)
	if err != nil {
		return err
	}
	defer b.stopAll([]contender{d})
	works := []profiledWork{
		{workEnrol, "enrolment-", func() (plan, error) { return d.enrolment(b.requests) }},
		{workRenewNew, "", func() (plan, error) { return d.renewal(false) }}, // of the hosts there are then
	}
	for _, w := range works {
		if err := b.countAllocations(ctx, d, at, w); err != nil {
			return err
		}
		if err := b.recordProfiles(ctx, d, at, w); err != nil {
			return err
		}
	}
	return nil
}

// startProfiled starts a daemon that serves profiles at the endpoint.
func (b *bench) startProfiled(ctx context.Context, program string) (*daemon, *endpoint, error) {
	dir, err := b.folder("profiled")
	if err != nil {
		return nil, nil, err
	}
	port, err := freePorts(3)
	if err != nil {
		return nil, nil, err
	}
	at := &endpoint{address: loopback(port + 2)}
	profiled := *b
	profiled.daemon, profiled.environment = program, []string{"CAUASE_PROFILE_ADDRESS=" + at.address, "GODEBUG=memprofilerate=65536"}
	db, err := b.newDatabase(ctx, b.engines[0], dir)
	if err != nil {
		return nil, nil, err
	}
	d, err := profiled.startDaemonAt(ctx, dir, port, db, pki.KeyECDSAP256)
	if err != nil {
		return nil, nil, err
	}
	return d, at, d.prepare(ctx)
}

// countAllocations counts what one operation allocates. The first load makes what is there to stay.
func (b *bench) countAllocations(ctx context.Context, d *daemon, at *endpoint, w profiledWork) error {
	for i := range b.repeats + 1 {
		p, err := w.plan()
		if err != nil {
			return err
		}
		before, err := allocated(ctx, at)
		if err != nil {
			return err
		}
		if _, err := b.load(d.servers()...).run(ctx, p); err != nil {
			return err
		}
		after, err := allocated(ctx, at)
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		b.results.add(w.name, profiledSubject(b.engines[0]), allocations, (after.objects-before.objects)/float64(p.count))
		b.results.add(w.name, profiledSubject(b.engines[0]), allocatedKB, (after.bytes-before.bytes)/1e3/float64(p.count))
	}
	return nil
}

func profiledSubject(engine string) string { return ours(engine) + ", profiled" }

type allocation struct{ objects, bytes float64 }

var memoryStatistics = regexp.MustCompile(`(?s)# TotalAlloc = (\d+)\n.*# Mallocs = (\d+)\n`)

// allocated is what a process has allocated since it began.
func allocated(ctx context.Context, at *endpoint) (a allocation, err error) {
	text, err := at.once(ctx, request("GET", "/debug/pprof/allocs?debug=1", at.address, "", nil), http.StatusOK)
	if err != nil {
		return a, err
	}
	found := memoryStatistics.FindSubmatch(text.body)
	if found == nil {
		return a, errors.New("the profile has no statistics of memory")
	}
	bytes, err1 := strconv.ParseFloat(string(found[1]), 64)
	objects, err2 := strconv.ParseFloat(string(found[2]), 64)
	return allocation{objects, bytes}, errors.Join(err1, err2)
}

// recordProfiles has hosts do the work while both profiles are taken.
func (b *bench) recordProfiles(ctx context.Context, d *daemon, at *endpoint, w profiledWork) error {
	seconds := max(1, int((10 * b.probe).Seconds()))
	took := make(chan error, 2)
	for file, path := range map[string]string{cpuProfile: "profile", allocProfile: "allocs"} {
		get := request("GET", fmt.Sprintf("/debug/pprof/%s?seconds=%d", path, seconds), at.address, "", nil)
		go func() {
			a, err := at.once(ctx, get, http.StatusOK)
			if err == nil {
				err = os.WriteFile(filepath.Join(b.profiles, w.prefix+file), a.body, 0o644)
			}
			took <- err
		}()
	}
	for end := elapsed() + time.Duration(seconds)*time.Second; elapsed() < end; {
		p, err := w.plan()
		if err != nil {
			return err
		}
		if _, err := b.load(d.servers()...).run(ctx, p); err != nil {
			return err
		}
	}
	return errors.Join(<-took, <-took)
}
