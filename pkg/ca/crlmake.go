package ca

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A basis is what the store says, in one snapshot, from which lists are made.
type basis struct {
	number  int64 // of the newest lists made or due
	version int64 // of the CA certificates
	rows    map[int64]store.CRL
	entries revokedEntries
	listed  time.Time // the latest ThisUpdate of lists that others have made, before the CAs were imported
}

// readBasis reads the basis of lists of these generations. The caller holds crls.making.
func (a *Authority) readBasis(ctx context.Context, listed []generation) (b basis, err error) {
	read := func(ahead bool) error {
		return a.store.View(ctx, func(r store.Reader) (err error) {
			b, err = a.basisOf(ctx, r, listed, ahead)
			return err
		})
	}
	if err = read(false); errors.Is(err, errUnread) {
		if err = a.readAhead(ctx); err == nil {
			err = read(true)
		}
	}
	return b, err
}

// basisOf reads the basis of lists of these generations. Where many revocations may have to be read for it, it fails with errUnread unless that was
// tried ahead. The caller holds crls.making.
func (a *Authority) basisOf(ctx context.Context, r store.Reader, listed []generation, ahead bool) (basis, error) {
	b, err := a.countersOf(ctx, r)
	if err != nil {
		return b, err
	}
	if !ahead && !a.crls.entries.fit(b.entries.pruned) {
		return b, errUnread
	}
	b.rows = map[int64]store.CRL{}
	for _, g := range listed {
		row, err := r.CRL(ctx, a.name, g.id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return b, err
		}
		b.rows[g.id] = row
	}
	b.entries, err = a.readEntries(ctx, r, b.entries.pruned)
	return b, err
}

func (a *Authority) countersOf(ctx context.Context, r store.Reader) (b basis, err error) {
	if b.number, err = r.Counter(ctx, a.name, store.CounterCRLNumber); err != nil {
		return b, err
	}
	if b.version, err = r.Counter(ctx, a.name, store.CounterCA); err != nil {
		return b, err
	}
	if b.entries.pruned, err = r.Counter(ctx, a.name, store.CounterPruned); err != nil {
		return b, err
	}
	listed, err := r.Counter(ctx, a.name, store.CounterListed)
	b.listed = time.Unix(listed, 0)
	return b, err
}

// freshRows returns the rows of lists that need not be made again, nil unless that is so for all of listed.
func (a *Authority) freshRows(b basis, now time.Time, ahead time.Duration, listed []generation) []store.CRL {
	rows := make([]store.CRL, 0, len(listed))
	for _, g := range listed {
		row, ok := b.rows[g.id]
		if !ok || row.Number != b.number || row.Pruned != b.entries.pruned || !a.fresh(now, ahead, row) {
			return nil
		}
		rows = append(rows, row)
	}
	return rows
}

// errRaced means that what was made no longer fits what the store holds.
var errRaced = errors.New("the database has changed meanwhile")

// crlRaces is how many lists are discarded before one is made while nobody else can write.
const crlRaces = 3

// makeCRLs returns the lists of every valid CA, from the store where those there are fresh, so
// that after a restart, and on every daemon, the same lists are served, newly made and stored where not.
// They are read, put together and signed while others write; what was revoked meanwhile, or made by another
// daemon, has it start over. Where that never ends it is done in the transaction that stores them.
//
// The caller holds crls.making.
func (a *Authority) makeCRLs(ctx context.Context, now time.Time, ahead time.Duration, st state) (*crlSet, error) {
	listed := st.listed(now, a.spans)
	if len(listed) == 0 {
		return nil, ErrNoSigner
	}
	var damaged int64 // number of lists that cannot be put together again
	for range crlRaces {
		b, err := a.readBasis(ctx, listed)
		switch {
		case err != nil:
			return nil, err
		case b.version != st.version:
			return nil, errStale
		}
		// It was read from a snapshot, and is therefore committed.
		a.crls.entries = b.entries
		if rows := a.freshRows(b, now, ahead, listed); rows != nil && b.number != damaged {
			if set := a.assemble(ctx, now, st, listed, rows, b.entries); set != nil {
				return set, nil
			}
			damaged = b.number
		}
		made, err := a.signCRLs(now, st, listed, b)
		if err != nil {
			return nil, err
		}
		err = a.store.Update(ctx, func(tx store.Tx) error {
			switch now, err := a.countersOf(ctx, tx); {
			case err != nil:
				return err
			case now.version != b.version:
				return errStale
			case now.number != b.number || now.entries.pruned != b.entries.pruned:
				return errRaced
			}
			// When a revocation wakes several daemons, the first one's lists are used by all.
			for _, g := range listed {
				switch row, err := tx.CRL(ctx, a.name, g.id); {
				case errors.Is(err, store.ErrNotFound):
				case err != nil:
					return err
				case !sameCRL(row, b.rows[g.id]):
					return errRaced
				}
			}
			return a.storeCRLs(ctx, tx, now, b.number, made)
		})
		switch {
		case err == nil:
			return made.set, nil
		case !errors.Is(err, errRaced):
			return nil, err
		}
	}
	return a.makeCRLsLocked(ctx, now, st, listed)
}

// makeCRLsLocked makes and stores the lists in one transaction, so that no other writer can intervene.
func (a *Authority) makeCRLsLocked(ctx context.Context, now time.Time, st state, listed []generation) (*crlSet, error) {
	var made madeCRLs
	var b basis
	err := a.store.Update(ctx, func(tx store.Tx) (err error) {
		if b, err = a.basisOf(ctx, tx, listed, true); err != nil {
			return err
		}
		if b.version != st.version {
			return errStale
		}
		if made, err = a.signCRLs(now, st, listed, b); err != nil {
			return err
		}
		return a.storeCRLs(ctx, tx, now, b.number, made)
	})
	if err != nil {
		return nil, err
	}
	// Only now is it certain that what was read is committed.
	a.crls.entries = b.entries
	return made.set, nil
}

func sameCRL(a, b store.CRL) bool {
	return a.Number == b.Number && a.ThisUpdate.Equal(b.ThisUpdate) && bytes.Equal(a.Signature, b.Signature)
}

// madeCRLs are lists that are signed and not stored.
type madeCRLs struct {
	set  *crlSet
	rows []store.CRL
}

// signCRLs makes the lists of these generations. Lists of one number have the same entries; when
// one must be renewed although nothing was revoked, all take a new number.
func (a *Authority) signCRLs(now time.Time, st state, listed []generation, b basis) (madeCRLs, error) {
	number := b.number
	outdated := number == 0
	last := b.listed
	for _, row := range b.rows {
		outdated = outdated || row.Number >= number
		last = later(last, row.ThisUpdate)
	}
	if outdated {
		number++
	}
	made := madeCRLs{set: &crlSet{number: number, version: st.version, loaded: now, count: b.entries.of.Count()}}
	for _, g := range listed {
		row, der, err := a.signCRL(now, last, number, g, b.entries)
		if err != nil {
			return madeCRLs{}, err
		}
		made.rows = append(made.rows, row)
		made.set.add(g, row, a.renewCRLAt(row), der)
	}
	return made, nil
}

// storeCRLs stores lists that were made when the newest had, or was due to have, the number was.
func (a *Authority) storeCRLs(ctx context.Context, tx store.Tx, now time.Time, was int64, made madeCRLs) error {
	if made.set.number != was {
		if _, err := tx.AddCounter(ctx, a.name, store.CounterCRLNumber, made.set.number-was); err != nil {
			return err
		}
	}
	for _, row := range made.rows {
		if err := tx.PutCRL(ctx, row); err != nil {
			return err
		}
	}
	e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.MakeCRL, audit.CRLObject(made.set.number))
	return tx.AppendAudit(ctx, e)
}

// assemble puts the lists that the store describes together again, nil when that fails.
func (a *Authority) assemble(ctx context.Context, now time.Time, st state, listed []generation, rows []store.CRL, entries revokedEntries) *crlSet {
	set := &crlSet{number: rows[0].Number, version: st.version, loaded: now, count: entries.of.Count()}
	for i, row := range rows {
		der, err := pki.AssembleCRL(a.crlTemplate(row, listed[i], entries.of.Octets()), row.Signature)
		if err != nil {
			a.log.ErrorContext(ctx, "the stored revocation list is not the one that was signed; a new one is made", "number", row.Number, "error", err)
			return nil
		}
		set.add(listed[i], row, a.renewCRLAt(row), der)
	}
	return set
}

// add appends a list to the set, which is fresh as long as all of its lists are.
func (s *crlSet) add(g generation, row store.CRL, renewAt time.Time, der pki.Octets) {
	if len(s.lists) == 0 || renewAt.Before(s.renewAt) {
		s.renewAt, s.until = renewAt, row.NextUpdate
	}
	s.from = later(s.from, row.ThisUpdate)
	s.lists = append(s.lists, crlOf{g.crt.SubjectKeyId, der, new(sync.Map)})
}

// signCRL makes one CA's list. Its ThisUpdate is backdated for the same reason as a
// certificate's NotBefore: a host whose clock is slightly slow must not refuse everybody. Within the
// backdating it lies after last, that of the list before, so that it tells them apart.
func (a *Authority) signCRL(now, last time.Time, number int64, g generation, entries revokedEntries) (row store.CRL, der pki.Octets, err error) {
	row = store.CRL{
		Authority:  a.name,
		CAID:       g.id,
		Number:     number,
		ThisUpdate: earlier(now, later(now.Add(-a.crlBackdate()), last.Add(time.Second))).Truncate(time.Second),
		// Whole seconds are written: rounded up, so that spans of seconds work.
		NextUpdate: now.Add(a.CRLLife() + time.Second - 1).Truncate(time.Second),
		Pruned:     entries.pruned,
	}
	der, row.Signature, err = pki.SignCRL(a.crlTemplate(row, g, entries.of.Octets()), g.key)
	return row, der, err
}

// crlBackdate is how far lists are backdated, and with them what they list: nothing may be
// revoked after the list that says so.
func (a *Authority) crlBackdate() time.Duration { return min(a.cfg.Backdate, a.CRLLife()/maxBackdate) }

func (a *Authority) crlTemplate(row store.CRL, g generation, entries pki.Octets) pki.CRLTemplate {
	return pki.CRLTemplate{
		Issuer:     g.crt,
		Number:     row.Number,
		ThisUpdate: row.ThisUpdate,
		NextUpdate: row.NextUpdate,
		Entries:    entries,
	}
}
