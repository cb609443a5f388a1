package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"sync"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// revokedEntries are the encoded entries of the lists, kept from one list to the next.
type revokedEntries struct {
	of     pki.RevokedEntries
	newest store.Revoked
	pruned int64 // value of store.CounterPruned when they were read
	loaded bool
}

// fit reports whether the entries can be appended to while store.CounterPruned has this value.
func (e revokedEntries) fit(pruned int64) bool { return e.loaded && e.pruned == pruned }

// errUnread means that there are revocations to be read of which none are in memory.
var errUnread = errors.New("the revocations have not been read yet")

// revocationPage is how many revocations are read at a time.
const revocationPage = 10_000

// maxRevocationReaders bounds the connections to the store that one authority has at once for its revocations.
const maxRevocationReaders = 4

// readEntries returns the entries with what was revoked since they were last read. They are
// read anew when old ones have been pruned, or when the newest is not there any more: a server that failed may
// have shown what never reached its successor. The caller holds crls.making.
func (a *Authority) readEntries(ctx context.Context, r store.Reader, pruned int64) (revokedEntries, error) {
	next := a.crls.entries
	if !next.fit(pruned) {
		next = revokedEntries{pruned: pruned, loaded: true}
	}
	for {
		read, missed, known := 0, false, next.of.Count() > 0
		err := r.Revoked(ctx, a.name, max(next.newest.Seq-1, 0), revocationPage, func(rev store.Revoked) (err error) {
			if read++; read == 1 && known { // it is the newest, once more
				if missed = !sameRevocation(rev, next.newest); missed {
					return errRaced
				}
				return nil
			}
			return a.appendEntry(&next, rev)
		})
		switch {
		case missed || err == nil && known && read == 0:
			next = revokedEntries{pruned: pruned, loaded: true}
		case err != nil:
			return revokedEntries{}, err
		case read < revocationPage:
			return next, nil
		}
	}
}

func (a *Authority) appendEntry(to *revokedEntries, rev store.Revoked) (err error) {
	if to.of, err = to.of.Append(rev.Serial, rev.RevokedAt, rev.Reason); err != nil {
		return fmt.Errorf("%w: revocation %d of %s: %w", ErrDamaged, rev.Seq, a.name, err)
	}
	to.newest = rev
	return nil
}

func sameRevocation(a, b store.Revoked) bool {
	return a.Seq == b.Seq && bytes.Equal(a.Serial, b.Serial) && a.RevokedAt.Equal(b.RevokedAt) && a.Reason == b.Reason
}

// An extent is the revocations that there were at some moment.
type extent struct {
	first int64
	last  store.Revoked
	prune int64 // value of store.CounterPruned
}

// readAhead reads the entries of many revocations of which none are in memory, on all processors: in transactions of its own, so
// that readEntries has to look only at what has been revoked since. Where it fails, readEntries reads them all. The caller holds
// crls.making.
func (a *Authority) readAhead(ctx context.Context) error {
	var all extent
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		all, err = a.extentOf(ctx, r)
		return err
	})
	held := a.crls.entries
	workers := min(maxRevocationReaders, runtime.GOMAXPROCS(0))
	if err != nil || workers == 1 || held.fit(all.prune) || all.last.Seq-all.first < revocationPage {
		return err
	}
	parts, errs := make([]revokedEntries, workers), make([]error, workers)
	part := (all.last.Seq - all.first) / int64(workers)
	var running sync.WaitGroup
	for i := range parts {
		after, until := all.first-1+int64(i)*part, all.first-1+int64(i+1)*part
		if i == workers-1 {
			until = all.last.Seq
		}
		running.Go(func() { parts[i], errs[i] = a.readExtent(ctx, all, after, until) })
	}
	running.Wait()
	switch err := errors.Join(errs...); {
	case errors.Is(err, errRaced):
		return nil
	case err != nil:
		return err
	}
	read := revokedEntries{newest: all.last, pruned: all.prune, loaded: true}
	for _, p := range parts {
		read.of = read.of.Then(p.of)
	}
	a.crls.entries = read
	return nil
}

func (a *Authority) extentOf(ctx context.Context, r store.Reader) (all extent, err error) {
	if all.prune, err = r.Counter(ctx, a.name, store.CounterPruned); err != nil {
		return all, err
	}
	first, last, err := r.RevokedSpan(ctx, a.name)
	if err != nil || last == 0 {
		return all, err
	}
	all.first = first
	err = r.Revoked(ctx, a.name, last-1, 1, func(rev store.Revoked) error { all.last = rev; return nil })
	return all, err
}

// readExtent reads revocations from one Seq to another. As the snapshot has the last of all, and nothing was pruned, they are those
// that there were when all was looked at.
func (a *Authority) readExtent(ctx context.Context, all extent, after, until int64) (read revokedEntries, err error) {
	read.newest.Seq = after
	err = a.store.View(ctx, func(r store.Reader) error {
		now, err := a.extentOf(ctx, r)
		if err != nil {
			return err
		}
		last := now.last
		if last.Seq > all.last.Seq { // more has been revoked meanwhile
			err = r.Revoked(ctx, a.name, all.last.Seq-1, 1, func(rev store.Revoked) error { last = rev; return nil })
		}
		if err != nil {
			return err
		}
		if now.prune != all.prune || !sameRevocation(last, all.last) {
			return errRaced
		}
		for n := revocationPage; n == revocationPage && read.newest.Seq < until; {
			n = 0
			err := r.Revoked(ctx, a.name, read.newest.Seq, revocationPage, func(rev store.Revoked) error {
				if n++; rev.Seq > until {
					return errRead
				}
				return a.appendEntry(&read, rev)
			})
			if errors.Is(err, errRead) {
				return nil
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return read, err
}

// errRead means that all that was wanted has been read.
var errRead = errors.New("read")

// A pruning is revocations that were pruned one batch after the other.
type pruning struct {
	serials    map[string]bool
	from, till int64 // value of store.CounterPruned before and after them
	broken     bool  // others have pruned in between
}

// add notes a batch, after which store.CounterPruned has the value now.
func (p *pruning) add(serials []*big.Int, now int64) {
	before := now - int64(len(serials))
	if len(p.serials) == 0 {
		p.serials, p.from = make(map[string]bool, len(serials)), before
	} else {
		p.broken = p.broken || before != p.till
	}
	for _, serial := range serials {
		p.serials[string(serial.Bytes())] = true
	}
	p.till = now
}

// dropEntries takes what was pruned out of the entries in memory, so that they need not be read anew.
func (a *Authority) dropEntries(ctx context.Context, p pruning) error {
	if len(p.serials) == 0 || p.broken {
		return nil // which readEntries notices
	}
	if err := a.crls.making.lock(ctx); err != nil {
		return err
	}
	defer a.crls.making.unlock()
	held := a.crls.entries
	if !held.fit(p.from) {
		return nil
	}
	left := held.of.Without(p.serials)
	if held.of.Count()-left.Count() != len(p.serials) {
		return nil // some have come since, and gone again
	}
	a.crls.entries = revokedEntries{of: left, newest: held.newest, pruned: p.till, loaded: true}
	return nil
}
