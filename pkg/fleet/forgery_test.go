package fleet

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
)

// What is wrong with sign-offs.

// A forgery is what happens to the files on their way, nil for nothing.
type forgery struct {
	request func(*sim, *signoff.Request)
	answer  func(*sim, *signoff.Answer)
	install func(*sim, signoff.Answer) // in place of what installs it
}

// A misread store gives other sign-offs than it holds.
type misread struct {
	store.Store
	change func([]store.Signoff) []store.Signoff
}

func (m misread) View(ctx context.Context, fn func(store.Reader) error) error {
	return m.Store.View(ctx, func(r store.Reader) error { return fn(misreader{r, m.change}) })
}

func (m misread) Update(ctx context.Context, fn func(store.Tx) error) error {
	return m.Store.Update(ctx, func(tx store.Tx) error { return fn(miswriter{tx, m.change}) })
}

type misreader struct {
	store.Reader
	change func([]store.Signoff) []store.Signoff
}

func (r misreader) Signoffs(ctx context.Context, of store.AuthorityName) ([]store.Signoff, error) {
	rows, err := r.Reader.Signoffs(ctx, of)
	return r.change(rows), err
}

type miswriter struct {
	store.Tx
	change func([]store.Signoff) []store.Signoff
}

func (w miswriter) Signoffs(ctx context.Context, of store.AuthorityName) ([]store.Signoff, error) {
	rows, err := w.Tx.Signoffs(ctx, of)
	return w.change(rows), err
}

// hideInstalled gives no certificate that was signed off.
func hideInstalled(rows []store.Signoff) []store.Signoff {
	for i := range rows {
		rows[i].Certificate = nil
	}
	return rows
}

// hideWaiting gives those alone that were signed off.
func hideWaiting(rows []store.Signoff) []store.Signoff {
	return slices.DeleteFunc(rows, func(row store.Signoff) bool { return row.Certificate == nil })
}

// askFromNow asks for certificates that are valid at once.
func askFromNow(s *sim, req *signoff.Request) {
	for i := range req.Generations {
		req.Generations[i].NotBefore = s.now()
	}
}

// outliveRoot has the offline root's key sign the answer again, to end after the root.
func outliveRoot(s *sim, answer *signoff.Answer) {
	root, key, err := s.vault.signer()
	if err != nil {
		s.violated(exchangesWork, "%v", err)
		return
	}
	s.resign(answer, root, key, root.NotAfter.Add(day))
}

// signBySomebody has another key sign the answer in the root's name.
func signBySomebody(s *sim, answer *signoff.Answer) {
	root, _, err := s.vault.signer()
	key, err2 := pki.KeyECDSAP256.Generate()
	if err := errors.Join(err, err2); err != nil {
		s.violated(exchangesWork, "%v", err)
		return
	}
	somebody := *root
	somebody.PublicKey = key.Public()
	s.resign(answer, &somebody, key, answer.Certificates[0].NotAfter)
}

// resign makes the certificates of an answer anew.
func (s *sim) resign(answer *signoff.Answer, root *x509.Certificate, key crypto.Signer, until time.Time) {
	for i, crt := range answer.Certificates {
		template := *crt
		template.NotAfter, template.SignatureAlgorithm = until, x509.UnknownSignatureAlgorithm
		der, err := x509.CreateCertificate(rand.Reader, &template, root, crt.PublicKey, key)
		if err == nil {
			answer.Certificates[i], err = x509.ParseCertificate(der)
		}
		if err != nil {
			s.violated(exchangesWork, "%v", err)
			return
		}
	}
}

// signer is the newest CA certificate of the offline root, and its key.
func (v *vault) signer() (root *x509.Certificate, key crypto.Signer, err error) {
	err = v.db.View(v.sim.ctx, func(r store.Reader) error {
		rows, err := r.CAs(v.sim.ctx, offlineRoot)
		if err != nil {
			return err
		}
		newest := rows[len(rows)-1]
		if root, err = x509.ParseCertificate(newest.Certificate); err != nil {
			return err
		}
		key, err = keys.Row{}.Open(v.sim.ctx, keys.Purpose{}, keys.Ref(newest.Key))
		return err
	})
	return root, key, err
}

// installUnseen puts an answer in place without looking at it.
func installUnseen(s *sim, answer signoff.Answer) {
	err := s.daemon.db.Update(s.ctx, func(tx store.Tx) error {
		rows, err := tx.Signoffs(s.ctx, offlineChild)
		if err != nil {
			return err
		}
		for _, row := range rows {
			for _, crt := range answer.Certificates {
				if keyID, err := pki.KeyID(crt.PublicKey); err != nil || !bytes.Equal(keyID, row.KeyID) {
					continue
				}
				row.Certificate, row.InstalledAt = crt.Raw, s.now()
				if err := tx.PutSignoff(s.ctx, row); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		s.violated(exchangesWork, "%v", err)
	}
}
