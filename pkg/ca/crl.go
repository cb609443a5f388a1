package ca

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// crlCache holds the lists that are being served, and what makes the next ones cheap.
type crlCache struct {
	serving atomic.Pointer[crlSet]

	mu      sync.Mutex // held while lists are loaded or made
	entries revokedEntries
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
}

func (s *crlSet) list(of crlOf) List {
	l := List{KeyID: of.keyID, DER: of.der, Number: s.number, ThisUpdate: s.from, NextUpdate: s.until}
	if s.from.Before(s.loaded.Truncate(time.Second)) {
		l.Modified = s.from
	}
	return l
}

type crlOf struct {
	keyID []byte
	der   []byte
}

// revokedEntries are the encoded entries of the lists, kept from one list to the next.
type revokedEntries struct {
	der    []byte
	count  int
	newest store.Revocation
	pruned int64 // value of store.CounterPruned when they were read
	loaded bool
}

// CRLs returns the revocation lists of every valid CA, oldest CA first. They all have the same
// number and times.
func (a *Authority) CRLs(ctx context.Context) ([]List, error) {
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
// say, those it last said were are better than none, for as long as verifiers accept them. A store that
// says they are not, but takes no others, gets no such excuse.
func (a *Authority) currentCRLs(ctx context.Context) (set *crlSet, err error) {
	for range attempts {
		set, err = a.listsAhead(ctx, 0)
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
	now := a.clock.Now()
	var set *crlSet
	err := a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		set, err = a.crlsOf(ctx, now, ahead, st)
		return err
	})
	return set, err
}

// errLacking means that the lists in memory lack a revocation, and that no others can be made.
var errLacking = errors.New("the last revocation lists are out of date")

func (a *Authority) crlsOf(ctx context.Context, now time.Time, ahead time.Duration, st state) (*crlSet, error) {
	number, version, err := a.numbers(ctx, now)
	if err != nil {
		return nil, err
	}
	if version != st.version {
		return nil, errStale // another daemon has rolled over
	}
	if set := a.crls.serving.Load(); set.serves(now, ahead, number, version) {
		return set, nil
	}
	a.crls.mu.Lock()
	defer a.crls.mu.Unlock()
	if set := a.crls.serving.Load(); set.serves(now, ahead, number, version) {
		return set, nil
	}
	set, err := a.makeCRLs(ctx, now, ahead, st)
	if err == nil {
		a.crls.serving.Store(set)
		return set, nil
	}
	if last := a.crls.serving.Load(); last != nil && last.number != number {
		return nil, fmt.Errorf("%w: %w", errLacking, err)
	}
	return nil, err
}

// patience is how long a store that hangs is waited for where there is something else to serve.
const patience = time.Second

// numbers asks the store for the number of the newest lists and the version of the CA
// certificates: what tells whether those in memory are the latest.
func (a *Authority) numbers(ctx context.Context, now time.Time) (number, version int64, err error) {
	limited := ctx
	if a.crls.serving.Load().inTime(now) {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	err = a.store.View(limited, func(r store.Reader) (err error) {
		if number, err = r.Counter(limited, a.name, store.CounterCRLNumber); err != nil {
			return err
		}
		version, err = r.Counter(limited, a.name, store.CounterCA)
		return err
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v", store.ErrUnavailable, patience)
	}
	return number, version, err
}

// Refresh takes over what other daemons on the same store have changed, CA certificates and
// revocations, without waiting for somebody to ask. It costs next to nothing when there is nothing. It tells
// whether CA certificates have changed.
func (a *Authority) Refresh(ctx context.Context) (changed bool, err error) {
	before := a.cas.Load().version
	_, err = a.listsAhead(ctx, 0)
	return a.cas.Load().version != before, err
}

// serves tells whether the set is still the one to serve.
func (s *crlSet) serves(now time.Time, ahead time.Duration, number, version int64) bool {
	return s.inTime(now) && number > 0 && s.number == number && s.version == version && now.Add(ahead).Before(s.renewAt)
}

// inTime tells whether verifiers accept the set.
func (s *crlSet) inTime(now time.Time) bool {
	return s != nil && !now.Before(s.from) && now.Before(s.until)
}

// fresh tells whether a stored list with the current number need not be made again. A list
// from the future, made before the clock was set back, is not usable by anyone.
func (a *Authority) fresh(now time.Time, ahead time.Duration, l store.CRL) bool {
	return !now.Before(l.ThisUpdate) && now.Add(ahead).Before(a.renewCRLAt(l))
}

func (a *Authority) renewCRLAt(l store.CRL) time.Time {
	return l.ThisUpdate.Add(l.NextUpdate.Sub(l.ThisUpdate) / 2)
}

// errMade means that another daemon has made the lists meanwhile.
var errMade = errors.New("the revocation lists are made")

// makeCRLs returns the lists of every valid CA, from the store where those there are fresh, so
// that after a restart, and on every daemon, the same lists are served, newly made and stored where not.
func (a *Authority) makeCRLs(ctx context.Context, now time.Time, ahead time.Duration, st state) (set *crlSet, err error) {
	listed := st.listed(now, a.spans)
	for range attempts {
		var entries revokedEntries
		damaged := false
		err = a.store.View(ctx, func(r store.Reader) (err error) {
			// Also if a list has to be made: a million entries are not read while others cannot write.
			if entries, err = a.readEntries(ctx, r); err != nil {
				return err
			}
			rows, err := a.freshRows(ctx, r, now, ahead, listed)
			if err != nil || rows == nil {
				return err
			}
			set = a.assemble(ctx, now, st, listed, rows, entries)
			damaged = set == nil
			return nil
		})
		if err == nil {
			a.crls.entries = entries
		}
		if err == nil && set == nil {
			err = a.store.Update(ctx, func(tx store.Tx) error {
				version, err := tx.Counter(ctx, a.name, store.CounterCA)
				if err != nil {
					return err
				}
				if version != st.version {
					return errStale
				}
				// Of several daemons that a revocation has woken, one makes the lists. To put them together
				// again takes a while if they are long, and need not keep others from writing.
				if rows, err := a.freshRows(ctx, tx, now, ahead, listed); err != nil {
					return err
				} else if rows != nil && !damaged {
					return errMade
				}
				if entries, err = a.readEntries(ctx, tx); err != nil {
					return err
				}
				set, err = a.updateCRLs(ctx, tx, now, st, listed, entries)
				return err
			})
		}
		if err == nil {
			// Only now is it certain that what was read is there to stay.
			a.crls.entries = entries
			return set, nil
		}
		if set = nil; !errors.Is(err, errMade) {
			return nil, err
		}
	}
	return nil, err
}

// freshRows returns what the store has of lists with the current number, nil unless they are all
// there, and fresh.
func (a *Authority) freshRows(ctx context.Context, r store.Reader, now time.Time, ahead time.Duration, listed []generation) ([]store.CRL, error) {
	number, err := r.Counter(ctx, a.name, store.CounterCRLNumber)
	if err != nil {
		return nil, err
	}
	pruned, err := r.Counter(ctx, a.name, store.CounterPruned)
	if err != nil {
		return nil, err
	}
	var rows []store.CRL
	for _, g := range listed {
		row, err := r.CRL(ctx, a.name, g.id)
		if errors.Is(err, store.ErrNotFound) || err == nil && (row.Number != number || row.Pruned != pruned || !a.fresh(now, ahead, row)) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// assemble puts the lists that the store describes together again, nil when that fails.
func (a *Authority) assemble(ctx context.Context, now time.Time, st state, listed []generation, rows []store.CRL, entries revokedEntries) *crlSet {
	set := &crlSet{number: rows[0].Number, version: st.version, loaded: now, count: entries.count}
	for i, row := range rows {
		der, err := pki.AssembleCRL(a.crlTemplate(row, listed[i], entries.der), row.Signature)
		if err != nil {
			a.log.ErrorContext(ctx, "the stored revocation list is not the one that was signed; a new one is made", "number", row.Number, "error", err)
			return nil
		}
		set.add(listed[i], row, a.renewCRLAt(row), der)
	}
	return set
}

// add appends a list to the set, which is fresh as long as all of its lists are.
func (s *crlSet) add(g generation, row store.CRL, renewAt time.Time, der []byte) {
	if len(s.lists) == 0 || renewAt.Before(s.renewAt) {
		s.renewAt, s.until = renewAt, row.NextUpdate
	}
	s.from = later(s.from, row.ThisUpdate)
	s.lists = append(s.lists, crlOf{g.crt.SubjectKeyId, der})
}

// updateCRLs makes the lists of valid within tx. Lists of one number have the same entries; when
// one must be renewed although nothing was revoked, all take a new number.
func (a *Authority) updateCRLs(ctx context.Context, tx store.Tx, now time.Time, st state, valid []generation, entries revokedEntries) (*crlSet, error) {
	number, err := tx.Counter(ctx, a.name, store.CounterCRLNumber)
	if err != nil {
		return nil, err
	}
	outdated := number == 0
	var last time.Time
	for _, g := range valid {
		row, err := tx.CRL(ctx, a.name, g.id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		outdated = outdated || row.Number >= number
		last = later(last, row.ThisUpdate)
	}
	if outdated {
		if number, err = tx.AddCounter(ctx, a.name, store.CounterCRLNumber, 1); err != nil {
			return nil, err
		}
	}
	set := &crlSet{number: number, version: st.version, loaded: now, count: entries.count}
	for _, g := range valid {
		row, der, err := a.signCRL(now, last, number, g, entries)
		if err != nil {
			return nil, err
		}
		if err := tx.PutCRL(ctx, row); err != nil {
			return nil, err
		}
		set.add(g, row, a.renewCRLAt(row), der)
	}
	e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.MakeCRL, audit.CRLObject(number))
	return set, tx.AppendAudit(ctx, e)
}

// signCRL makes one CA's list. Its ThisUpdate is backdated for the same reason as a
// certificate's NotBefore: a host whose clock is a little late must not refuse everybody. Within the
// backdating it lies after last, that of the list before, so that it tells them apart.
func (a *Authority) signCRL(now, last time.Time, number int64, g generation, entries revokedEntries) (row store.CRL, der []byte, err error) {
	row = store.CRL{
		Authority:  a.name,
		CAID:       g.id,
		Number:     number,
		ThisUpdate: earlier(now, later(now.Add(-a.crlBackdate()), last.Add(time.Second))).Truncate(time.Second),
		// Whole seconds are written: rounded up, so that spans of seconds work.
		NextUpdate: now.Add(a.CRLLife() + time.Second - 1).Truncate(time.Second),
		Pruned:     entries.pruned,
	}
	der, row.Signature, err = pki.SignCRL(a.crlTemplate(row, g, entries.der), g.key)
	return row, der, err
}

// crlBackdate is how far lists are backdated, and with them what they list: nothing may be
// revoked after the list that says so.
func (a *Authority) crlBackdate() time.Duration { return min(a.cfg.Backdate, a.CRLLife()/maxBackdate) }

func (a *Authority) crlTemplate(row store.CRL, g generation, entries []byte) pki.CRLTemplate {
	return pki.CRLTemplate{
		Issuer:     g.crt,
		Number:     row.Number,
		ThisUpdate: row.ThisUpdate,
		NextUpdate: row.NextUpdate,
		Entries:    entries,
	}
}

// revocationPage is how many revocations are read at a time.
const revocationPage = 10_000

// readEntries returns the entries with what was revoked since they were last read. They are
// read anew when old ones have been pruned, or when the newest is not there any more: a server that died may
// have shown what its successor never heard of. The caller holds crls.mu.
func (a *Authority) readEntries(ctx context.Context, r store.Reader) (revokedEntries, error) {
	pruned, err := r.Counter(ctx, a.name, store.CounterPruned)
	if err != nil {
		return revokedEntries{}, err
	}
	next := a.crls.entries
	if !next.loaded || next.pruned != pruned {
		next = revokedEntries{pruned: pruned, loaded: true}
	}
	for {
		page, err := r.Revocations(ctx, a.name, max(next.newest.Seq-1, 0), revocationPage)
		if err != nil {
			return revokedEntries{}, err
		}
		last := len(page) < revocationPage
		if next.count > 0 {
			if len(page) == 0 || !sameRevocation(page[0], next.newest) {
				next = revokedEntries{pruned: pruned, loaded: true}
				continue
			}
			page = page[1:]
		}
		for _, rev := range page {
			if next.der, err = pki.AppendRevoked(next.der, rev.Serial, rev.RevokedAt, rev.Reason); err != nil {
				return revokedEntries{}, fmt.Errorf("%w: revocation %d of %s: %w", ErrDamaged, rev.Seq, a.name, err)
			}
			next.newest = rev
			next.count++
		}
		if last {
			return next, nil
		}
	}
}

func sameRevocation(a, b store.Revocation) bool {
	return a.Seq == b.Seq && a.Serial.Cmp(b.Serial) == 0 && a.RevokedAt.Equal(b.RevokedAt) && a.Reason == b.Reason
}
