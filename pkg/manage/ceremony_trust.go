package manage

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
)

// ErrUntrustedRoot means that nothing leads from the CA certificates that are known of a root to one in
// an answer.
var ErrUntrustedRoot = errors.New("nothing that is known here vouches for this certificate of the root")

// A rootCA is a CA certificate of a root whose key is kept elsewhere.
type rootCA struct {
	crt  *x509.Certificate
	link []byte // by which its predecessor vouches for it; nil: it was trusted by its fingerprint
}

// A trustWalk finds out which CA certificates of an answer to trust, by what clients go by, too: from
// one that is known and valid now, each later one must be vouched for by the key of the one before it.
type trustWalk struct {
	now    time.Time
	known  []*x509.Certificate // of the root, as stored here, oldest first
	pinned []string            // fingerprints that the operator trusts

	fresh []rootCA
}

// walk returns the CA certificates that are new here, oldest first.
func (w *trustWalk) walk(answer signoff.Answer) ([]rootCA, error) {
	if len(answer.Parents) == 0 || !slices.ContainsFunc(answer.Parents, func(crt *x509.Certificate) bool { return pki.CheckValidity(crt, w.now) == nil }) {
		return nil, fmt.Errorf("%w: no CA certificate of the root in the file is valid now", pki.ErrExpired)
	}
	if err := w.takePinned(answer.Parents); err != nil {
		return nil, err
	}
	for i, text := range answer.Succession {
		if err := w.follow([]byte(text)); err != nil {
			return nil, fmt.Errorf("statement %d of %d about the root's succession: %w", i+1, len(answer.Succession), err)
		}
	}
	slices.SortStableFunc(w.fresh, func(a, b rootCA) int { return cmp.Compare(a.crt.NotBefore.Unix(), b.crt.NotBefore.Unix()) })
	newest := w.known[len(w.known)-1]
	for _, crt := range answer.Parents {
		if w.trusts(crt) || crt.NotBefore.Before(newest.NotBefore) {
			continue // or it is older than what is known: it signs nothing any more
		}
		return nil, fmt.Errorf("%w: %s, %s", ErrUntrustedRoot, fingerprint(crt.Raw), pki.SubjectString(crt.RawSubject))
	}
	for _, f := range w.fresh {
		if err := w.check(f.crt); err != nil {
			return nil, fmt.Errorf("certificate %s of the root: %w", fingerprint(f.crt.Raw), err)
		}
	}
	return w.fresh, nil
}

func (w *trustWalk) takePinned(parents []*x509.Certificate) error {
	for _, pin := range w.pinned {
		i := slices.IndexFunc(parents, func(crt *x509.Certificate) bool { return fingerprint(crt.Raw) == pin })
		if i < 0 {
			return fmt.Errorf("no CA certificate of the root in the file has the fingerprint %s", pin)
		}
		if !w.trusts(parents[i]) {
			w.fresh = append(w.fresh, rootCA{crt: parents[i]})
		}
	}
	return nil
}

// follow takes one statement, which counts if it is made by a CA that is trusted and valid now.
func (w *trustWalk) follow(statement []byte) error {
	e, err := envelope.Parse(statement)
	if err != nil {
		return err
	}
	payload, err := envelope.DecodeLink(e.Payload())
	if err != nil {
		return err
	}
	from, err := pki.ParseCertificatePEM([]byte(payload.OldPEM))
	if err != nil {
		return err
	}
	to, err := pki.ParseCertificatePEM([]byte(payload.NewPEM))
	if err != nil {
		return err
	}
	if !w.trusts(from) || pki.CheckValidity(from, w.now) != nil {
		return nil
	}
	if err := e.Verify(from.PublicKey); err != nil {
		return err
	}
	switch {
	case !pki.SameAuthority(from.RawSubject, to.RawSubject):
		return fmt.Errorf("the subject changes from %s to %s", pki.SubjectString(from.RawSubject), pki.SubjectString(to.RawSubject))
	case to.NotBefore.Before(from.NotBefore):
		return errors.New("the successor is older than its predecessor")
	case !w.trusts(to):
		w.fresh = append(w.fresh, rootCA{to, statement})
		return nil
	}
	for i, f := range w.fresh {
		if f.crt.Equal(to) {
			w.fresh[i].link = statement
		}
	}
	return nil
}

func (w *trustWalk) trusts(crt *x509.Certificate) bool {
	return slices.ContainsFunc(w.known, crt.Equal) || slices.ContainsFunc(w.fresh, func(f rootCA) bool { return f.crt.Equal(crt) })
}

// check refuses what is no CA certificate of the root, or could not be stored as its newest.
func (w *trustWalk) check(crt *x509.Certificate) error {
	newest := w.known[len(w.known)-1]
	switch {
	case !pki.SameAuthority(crt.RawSubject, newest.RawSubject):
		return fmt.Errorf("its subject is %s, not %s", pki.SubjectString(crt.RawSubject), pki.SubjectString(newest.RawSubject))
	case crt.NotBefore.Before(newest.NotBefore):
		return errors.New("it is older than the newest one known here")
	}
	return checkRoot(crt, w.now)
}
