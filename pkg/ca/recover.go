package ca

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// After a restore an authority may have forgotten certificates that it has issued and what it has revoked. Both prove themselves: hosts
// have the certificates, and the lists that name what was revoked, all signed by its CAs. So hosts are asked for them.

// ErrNothingForgotten means that no restore is known after which hosts have anything to tell, or that it is too long ago.
var ErrNothingForgotten = fmt.Errorf("%w: there is nothing to recover", ErrConflict)

// A Forgetting is what a restore may have forgotten.
type Forgetting struct {
	RestoredAt time.Time  `json:"restored_at"`
	BackupOf   *time.Time `json:"backup_of,omitempty"` // nil: not known
	// Until is when all that was issued before has expired.
	Until time.Time `json:"until"`
	// Number is that of the newest list that is known of those made before the restore. Who has a later one knows more.
	Number int64 `json:"crl_number,string"`
	// Next is that of the first list that was made since, at least: they are numbered far ahead.
	Next int64 `json:"next_crl_number,string"`
}

// Forget records in tx that an authority has been restored, whose last list in the backup has this number.
func Forget(ctx context.Context, tx store.Tx, name store.AuthorityName, f Forgetting) error {
	text, err := json.Marshal(f, json.Deterministic(true))
	if err != nil {
		return err
	}
	return tx.PutSetting(ctx, name, store.SettingRestored, string(text))
}

// Forgotten returns what the authority may have forgotten, nil if there is nothing.
func (a *Authority) Forgotten(ctx context.Context) (f *Forgetting, err error) {
	err = a.store.View(ctx, func(r store.Reader) (err error) {
		f, err = forgotten(ctx, r, a.name, a.clock.Now())
		return err
	})
	return f, err
}

func forgotten(ctx context.Context, r store.Reader, name store.AuthorityName, now time.Time) (*Forgetting, error) {
	text, err := r.Setting(ctx, name, store.SettingRestored)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	f, err := ParseForgetting(text)
	if err != nil {
		return nil, fmt.Errorf("%w: setting %s of %s: %w", ErrDamaged, store.SettingRestored, name, err)
	}
	if now.After(f.Until) {
		return nil, nil
	}
	return &f, nil
}

// ParseForgetting reads what Forget has written.
func ParseForgetting(text string) (f Forgetting, err error) {
	if err := json.Unmarshal([]byte(text), &f, json.RejectUnknownMembers(true)); err != nil || f.RestoredAt.IsZero() || f.Number < 0 || f.Next < f.Number {
		return f, fmt.Errorf("%.80q says nothing of a restore", text)
	}
	return f, nil
}

// Recalled is what a host has reminded an authority of.
type Recalled struct {
	Recorded bool // its certificate was not on record
	Added    int  // revocations that had been forgotten
	Known    int  // revocations that had not
}

// Recover takes in what a holder has kept: the certificate shown, and the newest list from before the restore, if it has one; nil if
// not. It believes what a CA that is trusted has signed, and nothing else. What is known already changes nothing.
func (a *Authority) Recover(ctx context.Context, h Holder, list *x509.RevocationList) (done Recalled, err error) {
	defer a.observe(audit.Recover, &err)
	if h.authority != a {
		return done, errNoHolder
	}
	now := a.clock.Now()
	done, err = a.recover(ctx, now, h, list)
	if err != nil {
		return done, a.refused(ctx, now, h.actor, audit.Recover, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return done, nil
}

func (a *Authority) recover(ctx context.Context, now time.Time, h Holder, list *x509.RevocationList) (done Recalled, err error) {
	f, err := a.Forgotten(ctx)
	switch {
	case err != nil:
		return done, err
	case f == nil:
		return done, ErrNothingForgotten
	}
	// First what is revoked: the certificate shown may be.
	if list != nil {
		if done, err = a.recoverList(ctx, now, h, *f, list); err != nil {
			return done, err
		}
	}
	if h.on == nil {
		done.Recorded, err = a.recoverCertificate(ctx, now, h, *f)
	}
	return done, err
}

// recoverBatch bounds how many revocations one transaction records.
const recoverBatch = 500

// recoverList records what a list from before the restore names and the store does not know.
func (a *Authority) recoverList(ctx context.Context, now time.Time, h Holder, f Forgetting, list *x509.RevocationList) (done Recalled, err error) {
	if err := CheckList(list); err != nil {
		return done, fmt.Errorf("%w: the revocation list: %w", ErrInvalid, err)
	}
	in := &ListImport{Now: now, Authority: a.name, Actor: h.actor, CAs: certificates(a.cas.Load().list)}
	if _, err := in.Issuer(list); err != nil {
		return done, fmt.Errorf("%w: the revocation list: %w", ErrInvalid, err)
	}
	if list.Number == nil || list.Number.Int64() <= f.Number || list.Number.Int64() >= f.Next {
		return done, nil // it says nothing new: what is known has come from a later one, or it was made since
	}
	total := len(list.RevokedCertificateEntries)
	unknown, err := a.unknownEntries(ctx, list.RevokedCertificateEntries)
	if err != nil {
		return done, err
	}
	for begin := 0; ; begin += recoverBatch {
		part := *list
		part.RevokedCertificateEntries = unknown[begin:min(begin+recoverBatch, len(unknown))]
		last := begin+recoverBatch >= len(unknown)
		err := a.store.Update(ctx, func(tx store.Tx) error {
			batch := *in
			if err := batch.Take(ctx, tx, &part); err != nil {
				return err
			}
			if last {
				if err := batch.Recall(ctx, tx); err != nil {
					return err
				}
			}
			if _, err := batch.Renumber(ctx, tx); err != nil {
				return err
			}
			done.Added += batch.Added
			return nil
		})
		if err != nil {
			return done, err
		}
		if last {
			break
		}
	}
	done.Known = total - done.Added
	return done, nil
}

// Recall records that the lists have been taken in, so that hosts do not send them.
func (in *ListImport) Recall(ctx context.Context, tx store.Tx) error {
	f, err := forgotten(ctx, tx, in.Authority, in.Now)
	if err != nil || f == nil || f.Number >= in.number || in.number >= f.Next {
		return err
	}
	f.Number = in.number
	return Forget(ctx, tx, in.Authority, *f)
}

// unknownEntries leaves out what is on record, of a list which may be long, so that no transaction has to look at all of it.
func (a *Authority) unknownEntries(ctx context.Context, all []x509.RevocationListEntry) (unknown []x509.RevocationListEntry, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		unknown = nil
		for _, entry := range all {
			if entry.SerialNumber.Sign() < 0 {
				continue
			}
			switch _, err := r.Revocation(ctx, a.name, entry.SerialNumber); {
			case errors.Is(err, store.ErrNotFound):
				unknown = append(unknown, entry)
			case err != nil:
				return err
			}
		}
		return nil
	})
	return unknown, err
}

// recoverCertificate records the certificate shown, which is not on record.
func (a *Authority) recoverCertificate(ctx context.Context, now time.Time, h Holder, f Forgetting) (recorded bool, err error) {
	err = a.store.Update(ctx, func(tx store.Tx) error {
		recorded = false
		c, err := a.continuing(ctx, tx, h.crt, nil)
		if err != nil {
			return err // it was revoked, or its lineage has ended
		}
		if c.begins == nil {
			return nil // another host, or a renewal, has been faster
		}
		if err := tx.AddLineage(ctx, c.Lineage, NamesOf(c.begins.DER)); err != nil {
			return err
		}
		if err := tx.AddCertificate(ctx, *c.begins); err != nil {
			return err
		}
		e := a.entry(now, h.actor, audit.Recover, audit.CertificateObject(c.begins.ID, c.begins.Serial).Of(c.begins.Lineage))
		digest := sha256.Sum256(h.crt.Raw)
		e.Digest = digest[:]
		e.Detail = c.begins.Subject
		if f.BackupOf != nil && h.crt.NotBefore.Add(recoverMargin).Before(*f.BackupOf) {
			// The backup should have it. Either a clock was wrong, or somebody has made it past the database.
			e.Detail = "issued before the backup, which does not have it: " + e.Detail
			a.log.WarnContext(ctx, "a certificate was issued before the backup that was restored, which does not have it: a clock was wrong, or somebody else has used the key of the CA",
				"authority", a.name, "serial", pki.FormatSerial(c.begins.Serial), "subject", c.begins.Subject)
		}
		recorded = true
		return tx.AppendAudit(ctx, e)
	})
	return recorded, err
}

// recoverMargin is how much earlier than its issuance a certificate may be valid.
const recoverMargin = time.Hour
