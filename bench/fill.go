package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"runtime"
	"strconv"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/vault"
)

// A filling is what is added to the database of a daemon that has issued a certificate and was stopped: what it would have
// written, in larger transactions. The records are those of renewals whose predecessors are forgotten, as most are.
type filling struct {
	certificates int
	revoked      int // of these, with their lineages
	unrecorded   int // revocations of others, as after many years
	sample       int // hosts that are wanted to renew, spread over those that are not revoked
	batch        int // certificates or revocations in a transaction; 0: fillBatch
}

// fillBatch is large, as every transaction writes to most pages of the indices.
const fillBatch = 20_000

// A filler adds to one authority.
type filler struct {
	st        *sqlstore.DB
	authority store.AuthorityName
	caID      int64
	like      store.Certificate
	custody   keys.Custody
	parsed    *x509.Certificate
	mould     *mould
	count     int
}

// fill adds to a database, and returns the hosts of the sample.
func fill(ctx context.Context, db database, f filling) (hosts []host, err error) {
	st, err := sqlstore.Open(ctx, db.dsn, sqlstore.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ring := vault.New(st, clock.System(), vault.SecretFile(db.secret, func() ([]byte, error) { return nil, nil }))
	if err := ring.Unlock(ctx); err != nil {
		return nil, err
	}
	to := &filler{st: st, custody: ring.Custody()}
	if err := to.learn(ctx); err != nil {
		return nil, err
	}
	if f.batch == 0 {
		f.batch = fillBatch
	}
	every, done := max(1, (f.certificates-f.revoked)/max(1, f.sample)), 0
	for made := range to.batches(f.certificates, f.batch) {
		if made.err != nil {
			return nil, made.err
		}
		revoked := min(len(made.rows), max(0, f.revoked-done))
		if err := to.record(ctx, made.rows, revoked); err != nil {
			return nil, err
		}
		for i := revoked; i < len(made.rows) && len(hosts) < f.sample; i++ {
			if (done+i-f.revoked)%every != 0 {
				continue
			}
			crt, err := x509.ParseCertificate(made.rows[i].DER)
			if err != nil {
				return nil, err
			}
			hosts = append(hosts, host{made.keys[i], crt})
		}
		done += len(made.rows)
	}
	for done := 0; done < f.unrecorded; done += f.batch {
		if err := to.revokeUnrecorded(ctx, min(f.batch, f.unrecorded-done)); err != nil {
			return nil, err
		}
	}
	if len(hosts) < f.sample {
		return nil, fmt.Errorf("%d certificates are no sample of %d", f.certificates-f.revoked, f.sample)
	}
	return hosts, nil
}

// made are certificates with their keys, or why there are none.
type made struct {
	rows []store.Certificate
	keys []*ecdsa.PrivateKey
	err  error
}

// batches makes certificates, the next ones while those before are recorded.
func (to *filler) batches(count, size int) iter.Seq[made] {
	return func(yield func(made) bool) {
		ahead, stop := make(chan made), make(chan struct{})
		var running sync.WaitGroup
		running.Go(func() {
			defer close(ahead)
			for done := 0; done < count; done += size {
				var next made
				next.rows, next.keys, next.err = to.make(min(size, count-done))
				select {
				case ahead <- next:
				case <-stop:
					return
				}
			}
		})
		defer running.Wait()
		defer close(stop)
		for next := range ahead {
			if !yield(next) {
				return
			}
		}
	}
}

// learn finds out what the daemon writes.
func (to *filler) learn(ctx context.Context) error {
	return to.st.View(ctx, func(r store.Reader) error {
		authorities, err := r.Authorities(ctx)
		if err != nil {
			return err
		}
		for _, a := range authorities {
			if a.Role == store.RoleServices {
				to.authority = a.Name
			}
		}
		certificates, err := r.Certificates(ctx, to.authority, 0, 1)
		if err != nil || len(certificates) == 0 {
			return errors.Join(err, errors.New("there is no certificate to make others like it"))
		}
		cas, err := r.CAs(ctx, to.authority)
		if err != nil {
			return err
		}
		to.like = certificates[0]
		if to.parsed, err = x509.ParseCertificate(to.like.DER); err != nil {
			return err
		}
		for _, ca := range cas {
			if ca.ID != to.like.CAID {
				continue
			}
			signer, err := to.custody.Open(ctx, vault.PurposeOf(ca), keys.Ref(ca.Key))
			if err != nil {
				return err
			}
			to.caID = ca.ID
			to.mould, err = newMould(to.parsed, signer)
			return err
		}
		return errors.New("the CA of the certificate is gone")
	})
}

// make makes the records of a batch on all processors.
func (to *filler) make(count int) (made []store.Certificate, keys []*ecdsa.PrivateKey, err error) {
	made, keys = make([]store.Certificate, count), make([]*ecdsa.PrivateKey, count)
	began := to.like.IssuedAt.AddDate(0, -3, 0)
	err = inParallel(count, runtime.GOMAXPROCS(0), func(i int) (err error) {
		if keys[i], err = newP256(); err != nil {
			return err
		}
		name := nextName()
		issued := began.Add(time.Duration(to.count+i) * time.Second)
		c, err := to.mould.cast(&keys[i].PublicKey, name, issued)
		if err != nil {
			return err
		}
		crt, err := x509.ParseCertificate(c.der)
		if err != nil {
			return err
		}
		row := to.like
		row.ID, row.Lineage = ca.RenewalID(issued), randomID()
		row.Serial, row.KeyID, row.DER = c.serial, c.keyID, c.der
		row.Subject, row.SANs = pki.SubjectString(crt.RawSubject), pki.SANStrings(crt.Extensions)
		row.Method, row.Renews, row.CSR, row.CSRDigest = store.Renewed, randomSerial(), nil, randomBytes(32)
		row.IssuedBy = to.holder(row).String()
		made[i] = row
		return nil
	})
	for i := range made {
		to.count++
		made[i].IssuedAt = to.like.IssuedAt.Add(time.Duration(to.count) * time.Microsecond)
	}
	return made, keys, err
}

// holder is who has renewed.
func (to *filler) holder(row store.Certificate) audit.Actor {
	return audit.Actor{Kind: audit.Holder, Serial: row.Renews, Lineage: strconv.FormatInt(row.Lineage, 10), Address: "127.0.0.1"}
}

// record writes what belongs to each certificate, and revokes the first of them.
func (to *filler) record(ctx context.Context, made []store.Certificate, revoked int) error {
	return to.st.Update(ctx, func(tx store.Tx) error {
		for i, row := range made {
			l := store.FirstOf(row, store.RoleServices)
			l.Renewals, l.RenewedAt, l.Address = 1, row.IssuedAt, "127.0.0.1"
			if i < revoked {
				l.State, l.EndedAt = store.LineageEnded, row.IssuedAt
			}
			entry := audit.NewEntry(row.IssuedAt, string(to.authority), to.holder(row), audit.Renew, audit.CertificateObject(row.ID, row.Serial).Of(row.Lineage))
			entry.Detail = fmt.Sprintf("%s renews serial=%s lineage=%d", row.Subject, row.Renews, row.Lineage)
			if err := errors.Join(tx.AddLineage(ctx, l, ca.NamesOf(row.DER)), tx.AddCertificate(ctx, row), tx.AppendAudit(ctx, entry)); err != nil {
				return err
			}
			if i < revoked {
				if err := to.revoke(ctx, tx, row.Serial, row.KeyID, row.IssuedAt, row.Lineage); err != nil {
					return err
				}
			}
		}
		return to.outdate(ctx, tx, revoked)
	})
}

// revoke writes what the revocation by a user does; the lineage, if there is one, has ended.
func (to *filler) revoke(ctx context.Context, tx store.Tx, serial *big.Int, keyID []byte, at time.Time, lineage int64) error {
	_, err := tx.AddRevocation(ctx, store.Revocation{
		Authority: to.authority, Serial: serial, KeyID: keyID, RevokedAt: at.Truncate(time.Second), KeepUntil: to.like.NotAfter.AddDate(0, 0, 31),
	})
	if err != nil {
		return err
	}
	entry := audit.NewEntry(at, string(to.authority), audit.Actor{Kind: audit.User, Serial: to.like.Serial, Address: "127.0.0.1"},
		audit.Revoke, audit.SerialObject(serial).Of(lineage))
	return tx.AppendAudit(ctx, entry)
}

// outdate has the list made anew.
func (to *filler) outdate(ctx context.Context, tx store.Tx, revoked int) error {
	if revoked == 0 {
		return nil
	}
	_, err := tx.AddCounter(ctx, to.authority, store.CounterCRLNumber, int64(revoked))
	return err
}

func (to *filler) revokeUnrecorded(ctx context.Context, count int) error {
	return to.st.Update(ctx, func(tx store.Tx) error {
		for range count {
			if err := to.revoke(ctx, tx, randomSerial(), nil, to.like.IssuedAt, 0); err != nil {
				return err
			}
		}
		return to.outdate(ctx, tx, count)
	})
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func randomID() int64 { return int64(binary.BigEndian.Uint64(randomBytes(8))>>1 | 1) }

// randomSerial is one as long as most are.
func randomSerial() *big.Int {
	b := randomBytes(20)
	b[0] = b[0]&0x3f | 1<<6
	return new(big.Int).SetBytes(b)
}
