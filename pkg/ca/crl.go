package ca

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// crlCache holds the lists that are being served, and what makes the next ones cheap.
type crlCache struct {
	serving atomic.Pointer[crlSet]
	long    int64 // longList, but in tests

	news    news
	asked   inquiry        // which lists are the latest
	making  lock           // held while lists are put together or made
	entries revokedEntries // guarded by making
}

// A crlSet is the lists of every valid CA of an authority, as of one number.
type crlSet struct {
	number  int64
	version int64     // of the CA certificates
	from    time.Time // ThisUpdate
	until   time.Time // NextUpdate
	renewAt time.Time
	loaded  time.Time // when it was made, or read from the store
	count   int       // of entries
	lists   []crlOf
	late    lateness
}

func (s *crlSet) list(of crlOf) List {
	l := List{KeyID: of.keyID, Octets: of.der, Number: s.number, ThisUpdate: s.from, NextUpdate: s.until, Made: of.made}
	if s.from.Before(s.loaded.Truncate(time.Second)) {
		l.Modified = s.from
	}
	return l
}

type crlOf struct {
	keyID []byte
	der   pki.Octets
	made  *sync.Map // see List.Made
}

// CRLs returns the revocation lists of every valid CA, oldest CA first. They all have the same
// number and times.
func (a *Authority) CRLs(ctx context.Context) ([]List, error) {
	if a.external() {
		return a.suppliedLists(ctx)
	}
	set, err := a.currentCRLs(ctx)
	if err != nil {
		return nil, err
	}
	lists := make([]List, len(set.lists))
	for i, l := range set.lists {
		lists[i] = set.list(l)
	}
	return lists, nil
}

// CRL returns the revocation list of the valid CA whose key identifier, read as one big-endian
// integer, is keyID.
func (a *Authority) CRL(ctx context.Context, keyID *big.Int) (List, error) {
	if a.external() {
		lists, err := a.suppliedLists(ctx)
		if err != nil {
			return List{}, err
		}
		for _, l := range lists {
			if new(big.Int).SetBytes(l.KeyID).Cmp(keyID) == 0 {
				return l, nil
			}
		}
		return List{}, fmt.Errorf("%w: no revocation list of a CA with this authority key identifier was imported", ErrNotFound)
	}
	set, err := a.currentCRLs(ctx)
	if err != nil {
		return List{}, err
	}
	for _, l := range set.lists {
		if new(big.Int).SetBytes(l.keyID).Cmp(keyID) == 0 {
			return set.list(l), nil
		}
	}
	return List{}, fmt.Errorf("%w: no valid CA has this authority key identifier", ErrNotFound)
}

// currentCRLs returns lists that are up to date now, making them first when there are none,
// when half their life has passed, or when something has been revoked since. While the store cannot
// tell, those it last confirmed are better than none, for as long as verifiers accept them. They are not
// served when the store says that they are outdated but cannot record new ones. Nobody waits for long lists: see servesOn.
func (a *Authority) currentCRLs(ctx context.Context) (set *crlSet, err error) {
	for range attempts {
		set, err = a.lists(ctx, 0, true)
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUncertain) {
			return set, err
		}
		now := a.clock.Now()
		if errors.Is(err, errLacking) {
			if _, _, gone := a.numbers(ctx, now); gone == nil {
				continue // it is there, or there again: perhaps only a connection was lost
			}
		}
		if last := a.crls.serving.Load(); last.inTime(now) {
			return last, nil
		}
		return nil, err
	}
	return nil, err
}

// listsAhead returns lists that will still be up to date in so long a time.
func (a *Authority) listsAhead(ctx context.Context, ahead time.Duration) (*crlSet, error) {
	return a.lists(ctx, ahead, false)
}

// lists returns lists that will still be up to date in so long a time, or, if the caller takes those, the ones that are served while others
// make the next.
func (a *Authority) lists(ctx context.Context, ahead time.Duration, previous bool) (*crlSet, error) {
	now := a.clock.Now()
	var set *crlSet
	err := a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if errors.Is(err, ErrLocked) {
			set, err = a.lastCRLs(ctx, now, err)
			return err
		}
		if err != nil {
			return err
		}
		set, err = a.crlsOf(ctx, now, ahead, st, previous)
		return err
	})
	return set, err
}

// errLacking means that the lists in memory lack a revocation, and that no others can be made.
var errLacking = errors.New("the last revocation lists are out of date")

func (a *Authority) crlsOf(ctx context.Context, now time.Time, ahead time.Duration, st state, previous bool) (*crlSet, error) {
	number, version, err := a.numbers(ctx, now)
	if err != nil {
		return nil, err
	}
	if version != st.version {
		return nil, errStale // another daemon has rolled over
	}
	if set := a.crls.serving.Load(); set.serves(now, ahead, number, version) || previous && a.servesOn(set, now, version) {
		return set, nil
	}
	if err := a.crls.making.lock(ctx); err != nil {
		return nil, err
	}
	defer a.crls.making.unlock()
	if set := a.crls.serving.Load(); set.serves(now, ahead, number, version) {
		return set, nil
	}
	set, err := a.makeCRLs(ctx, now, ahead, st)
	if err == nil {
		a.crls.serving.Store(set)
		a.crls.news.publish()
		return set, nil
	}
	last := a.crls.serving.Load()
	if last != nil && ctx.Err() == nil && !errors.Is(err, errStale) {
		last.late.giveUp()
	}
	if last != nil && last.number != number {
		return nil, fmt.Errorf("%w: %w", errLacking, err)
	}
	return nil, err
}

// maxStoreWait is how long to wait for a store that hangs where there is something else to serve.
const maxStoreWait = time.Second

// numbers asks the store for the number of the newest lists and the version of the CA
// certificates, by which those in memory are known to be the latest, or not.
func (a *Authority) numbers(ctx context.Context, now time.Time) (number, version int64, err error) {
	limited := ctx
	if a.crls.serving.Load().inTime(now) {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, maxStoreWait)
		defer cancel()
	}
	number, version, err = a.crls.asked.ask(limited, a.readNumbers)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v", store.ErrUnavailable, maxStoreWait)
	}
	return number, version, err
}

func (a *Authority) readNumbers(ctx context.Context) (number, version int64, err error) {
	err = a.store.View(ctx, func(r store.Reader) (err error) {
		if number, err = r.Counter(ctx, a.name, store.CounterCRLNumber); err != nil {
			return err
		}
		version, err = r.Counter(ctx, a.name, store.CounterCA)
		return err
	})
	return number, version, err
}

// Refresh takes over what other daemons on the same store have changed, CA certificates and
// revocations, without waiting for somebody to ask. It costs next to nothing when there is nothing. It reports
// whether CA certificates have changed.
func (a *Authority) Refresh(ctx context.Context) (changed bool, err error) {
	before := a.cas.Load().version
	_, err = a.listsAhead(ctx, 0)
	return a.cas.Load().version != before, err
}

// serves reports whether the set is still the one to serve.
func (s *crlSet) serves(now time.Time, ahead time.Duration, number, version int64) bool {
	return s.inTime(now) && number > 0 && s.number == number && s.version == version && now.Add(ahead).Before(s.renewAt)
}

// inTime reports whether verifiers accept the set.
func (s *crlSet) inTime(now time.Time) bool {
	return s != nil && !now.Before(s.from) && now.Before(s.until)
}

// fresh reports whether a stored list with the current number need not be made again. A list
// from the future, made before the clock was set back, is not usable by anyone.
func (a *Authority) fresh(now time.Time, ahead time.Duration, l store.CRL) bool {
	return !now.Before(l.ThisUpdate) && now.Add(ahead).Before(a.renewCRLAt(l))
}

func (a *Authority) renewCRLAt(l store.CRL) time.Time {
	return l.ThisUpdate.Add(l.NextUpdate.Sub(l.ThisUpdate) / 2)
}

// ListSize returns the memory that the served revocation lists take, in bytes.
func (a *Authority) ListSize() (n int64) {
	if set := a.crls.serving.Load(); set != nil {
		for _, l := range set.lists {
			n = max(n, l.der.Size()) // they have nearly all of it in common
		}
	}
	if supplied := a.supplied.Load(); supplied != nil {
		for _, l := range supplied.lists {
			n += l.Octets.Size()
		}
	}
	return n
}
