package ca

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// The lists of a migrated database are those that the released version has signed, byte for byte.
func TestMigratedCRLs(t *testing.T) {
	st := releasedDatabase(t, "layout1.sqlite.gz")
	const name = store.Services
	kept := map[string]store.CRL{} // by key identifier
	issuers := map[string]*x509.Certificate{}
	var row store.Authority
	var now time.Time
	err := st.View(t.Context(), func(r store.Reader) error {
		var err error
		if row, err = r.Authority(t.Context(), name); err != nil {
			return err
		}
		all, err := r.CAs(t.Context(), name)
		for _, ca := range all {
			list, err := r.CRL(t.Context(), name, ca.ID)
			if err != nil {
				continue // of a CA that made none
			}
			crt, err := x509.ParseCertificate(ca.Certificate)
			if err != nil {
				return err
			}
			kept[string(ca.KeyID)], issuers[string(ca.KeyID)], now = list, crt, list.ThisUpdate
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(name)
	row.Span, row.Life, row.KeyType = cfg.row.Span, cfg.row.Life, cfg.row.KeyType // that the daemon fills in
	a, err := Open(t.Context(), st, clock.NewFake(now.Add(time.Second)), row, cfg.Config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := a.CRLs(t.Context())
	if err != nil || len(lists) < 2 {
		t.Fatal(len(lists), err)
	}
	for _, l := range lists {
		list, err := x509.ParseRevocationList(l.DER())
		if err != nil {
			t.Fatal(err)
		}
		// The signature is the one that was kept, and it is one of these bytes.
		want := kept[string(l.KeyID)]
		if list.Number.Int64() != want.Number || !bytes.Equal(list.Signature, want.Signature) {
			t.Errorf("list %v was made anew, kept is %d", list.Number, want.Number)
		}
		if err := list.CheckSignatureFrom(issuers[string(l.KeyID)]); err != nil {
			t.Errorf("list %v: %v", list.Number, err)
		}
		if len(list.RevokedCertificateEntries) != 3 {
			t.Errorf("list %v has %d entries", list.Number, len(list.RevokedCertificateEntries))
		}
	}
}
