package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// forgets has an authority be restored from a backup of an hour ago, which knows lists up to number 7.
func (w *world) forgets(a *Authority) {
	w.t.Helper()
	now := w.clock.Now()
	backup := now.Add(-time.Hour)
	err := w.store.Update(w.ctx, func(tx store.Tx) error {
		return Forget(w.ctx, tx, a.name, Forgetting{RestoredAt: now, BackupOf: &backup, Until: now.Add(100 * day), Number: 7, Next: 1 << 50})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// before makes a list as a CA has made them before the restore.
func (w *world) before(by *x509.Certificate, key crypto.Signer, number int64, serials ...*big.Int) *x509.RevocationList {
	w.t.Helper()
	now := w.clock.Now()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(30 * day)}
	for _, serial := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now.Add(-time.Minute), ReasonCode: 1})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, by, key)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func serials(from, n int64) (all []*big.Int) {
	for i := range n {
		all = append(all, big.NewInt(from+i))
	}
	return all
}

// A certificate that was issued after the backup is on record again, once, and what its holder's list names is revoked again.
func TestRecover(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "web")
	ca := a.cas.Load().newest()
	forgottenKey := newKey(t)
	forgotten := w.forge(ca, crt, forgottenKey, 1)
	w.clock.Advance(2 * time.Hour)
	template := *forgotten
	template.NotBefore = w.clock.Now().Add(-time.Minute)
	template.SubjectKeyId = nil
	forgotten, err := create(&template, ca.crt, forgottenKey.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := w.holderOf(a, crt, key)
	if err != nil {
		t.Fatal(err)
	}
	list := w.before(ca.crt, ca.key, 8, serials(1000, 1200)...)
	if _, err := a.Recover(w.ctx, mine, list); !errors.Is(err, ErrNothingForgotten) {
		t.Fatalf("without a restore: %v", err)
	}
	w.forgets(a)
	lost, err := w.holderOf(a, forgotten, forgottenKey)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Recalled{{true, 1200, 0}, {false, 0, 0}} {
		if got, err := a.Recover(w.ctx, lost, list); err != nil || got != want {
			t.Errorf("time %d: %+v, %v", i, got, err)
		}
	}
	err = w.store.View(w.ctx, func(r store.Reader) error {
		row, err := r.CertificateBySerial(w.ctx, a.name, forgotten.SerialNumber)
		if err == nil && (row.Method != store.Recovered || row.Subject != "CN=web") {
			t.Errorf("on record as %+v", row)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(w.crl(a).RevokedCertificateEntries); got != 1200 {
		t.Errorf("%d are revoked", got)
	}
	if got := w.crl(a); got.Number.Int64() <= 8 {
		t.Errorf("the next list has number %d", got.Number)
	}
	entries := w.audit(audit.Filter{Action: audit.Recover})
	if len(entries) != 1 || len(entries[0].Digest) != 32 || strings.Contains(entries[0].Detail, "before") {
		t.Errorf("the log has %+v", entries)
	}
	// A list with fewer is that of a host that was away.
	again, err := w.holderOf(a, crt, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Recover(w.ctx, again, w.before(ca.crt, ca.key, 9, serials(1000, 1201)...)); err != nil || got != (Recalled{false, 1, 1200}) {
		t.Errorf("a later list: %+v, %v", got, err)
	}
	w.clock.Advance(101 * day)
	if f, err := a.Forgotten(w.ctx); f != nil || err != nil {
		t.Errorf("when all has expired: %+v, %v", f, err)
	}
}

// What no CA that is trusted has signed brings nothing in.
func TestRecoverRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	withdrawn := a.cas.Load().newest()
	w.clock.Advance(time.Hour)
	w.rotate(a, Rotation{Begin: store.AtOnce, Compromised: true})
	w.clock.Advance(time.Hour)
	crt, key := w.enrol(a, "web")
	ca := a.cas.Load().newest()
	stranger := newKey(t)
	posing := *ca.crt
	posing.PublicKey = stranger.Public()
	w.forgets(a)
	h, err := w.holderOf(a, crt, key)
	if err != nil {
		t.Fatal(err)
	}
	tampered := w.before(ca.crt, ca.key, 9, serials(1, 1)...)
	tampered.RawTBSRevocationList = append([]byte(nil), tampered.RawTBSRevocationList...)
	tampered.RawTBSRevocationList[len(tampered.RawTBSRevocationList)/2] ^= 1
	for name, list := range map[string]*x509.RevocationList{
		"of somebody with the name and key identifier of the CA": w.before(&posing, stranger, 9, serials(1, 1)...),
		"of a CA that was withdrawn":                             w.before(withdrawn.crt, withdrawn.key, 9, serials(1, 1)...),
		"tampered with":                                          tampered,
		"with a number that cannot be continued":                 w.before(ca.crt, ca.key, 1<<62+1, serials(1, 1)...),
	} {
		if _, err := a.Recover(w.ctx, h, list); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, list := range map[string]*x509.RevocationList{
		"one that is known":             w.before(ca.crt, ca.key, 7, serials(1, 1)...),
		"one that was made since":       w.before(ca.crt, ca.key, 1<<50, serials(1, 1)...),
		"one of no serial number of us": w.before(ca.crt, ca.key, 8, new(big.Int).Lsh(big.NewInt(1), 159), ca.crt.SerialNumber),
	} {
		got, err := a.Recover(w.ctx, h, list)
		if err != nil || name != "one of no serial number of us" && got.Added != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, entry := range w.crl(a).RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(big.NewInt(1)) == 0 || entry.SerialNumber.Cmp(ca.crt.SerialNumber) == 0 {
			t.Errorf("%s was revoked", pki.FormatSerial(entry.SerialNumber))
		}
	}
	// Who is on the list that is shown is not put on record.
	lostKey := newKey(t)
	template := *crt
	template.SerialNumber, template.SubjectKeyId = big.NewInt(4242), nil
	lost, err := create(&template, ca.crt, lostKey.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	h, err = w.holderOf(a, lost, lostKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Recover(w.ctx, h, w.before(ca.crt, ca.key, 10, lost.SerialNumber)); err == nil {
		t.Error("a certificate that the list shown with it names was recorded")
	}
	err = w.store.View(w.ctx, func(r store.Reader) error {
		_, err := r.CertificateBySerial(w.ctx, a.name, lost.SerialNumber)
		if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("on record: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// What should be in the backup and is not is told: a clock was wrong, or somebody has made it past the database.
func TestRecoverWhatTheBackupShouldHave(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, _ := w.enrol(a, "web")
	key := newKey(t)
	made := w.forge(a.cas.Load().newest(), crt, key, 1)
	w.clock.Advance(5 * time.Hour)
	w.forgets(a)
	h, err := w.holderOf(a, made, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Recover(w.ctx, h, nil); err != nil || !got.Recorded {
		t.Errorf("%+v, %v", got, err)
	}
	if e := w.audit(audit.Filter{Action: audit.Recover}); len(e) != 1 || !strings.HasPrefix(e[0].Detail, "issued before the backup, which does not have it: ") {
		t.Errorf("%+v", e)
	}
}
