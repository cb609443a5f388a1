package manage

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
)

// ErrCeremony means that a request does not keep the rules of the root that is asked.
var ErrCeremony = errors.New("the root does not sign this")

// earliest is how long ago, at most, a CA certificate may begin that is signed now.
const earliest = 365 * 24 * time.Hour

// CheckSignoff refuses a request that the root which it is for must not sign. It changes nothing.
func CheckSignoff(ctx context.Context, st store.Store, clk clock.Clock, req signoff.Request) error {
	now := clk.Now()
	name := store.AuthorityName(req.Parent)
	v, err := ViewAuthority(ctx, st, clk, name)
	if err != nil {
		return err
	}
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return err
	}
	switch {
	case row.Role != store.RoleRoot:
		return fmt.Errorf("%w: %s has the role %s, and only a root certifies authorities", ErrCeremony, name, row.Role)
	case v.External:
		return fmt.Errorf("%w: the key of %s is not in this database: the request is for that of the offline root", ErrCeremony, name)
	case retired(row, now):
		return fmt.Errorf("%w: %s is retired", ErrCeremony, name)
	}
	var signer *x509.Certificate
	for _, g := range v.Generations {
		if g.Phase == rollover.Active && g.State == store.CAUsable {
			signer = g.crt
		}
	}
	if signer == nil {
		return fmt.Errorf("%w: %s has no CA certificate that is valid now", ErrCeremony, name)
	}
	if err := checkHead(req); err != nil {
		return fmt.Errorf("%w: %w", ErrCeremony, err)
	}
	for i, g := range req.Generations {
		if err := checkWanted(now, row, signer, g); err != nil {
			return fmt.Errorf("%w: CA certificate %d: %w", ErrCeremony, i+1, err)
		}
		if !pki.SameAuthority(g.CSR.CSR.RawSubject, req.Generations[0].CSR.CSR.RawSubject) {
			return fmt.Errorf("%w: CA certificate %d has another subject than the first", ErrCeremony, i+1)
		}
	}
	return nil
}

func checkHead(req signoff.Request) error {
	if !store.AuthorityName(req.Authority).Valid() {
		return fmt.Errorf("%q is not the name of an authority", req.Authority)
	}
	if req.Authority == req.Parent {
		return fmt.Errorf("%s asks for itself", req.Authority)
	}
	base, err := url.Parse(req.Base)
	if err != nil || base.Scheme != "http" || base.Host == "" || base.String() != "http://"+base.Host {
		return fmt.Errorf("%q is not an address http://HOST[:PORT] at which lists could be found", req.Base)
	}
	_, err = profile.ParsePermitted(req.Permitted)
	return err
}

// checkWanted refuses one CA certificate that signer, the certificate of root that signs now, must not sign.
func checkWanted(now time.Time, root store.Authority, signer *x509.Certificate, g signoff.Wanted) error {
	validity := g.NotAfter.Sub(g.NotBefore)
	limit := root.Span + root.Span/100 // it is backdated
	switch {
	case !g.NotAfter.After(now):
		return fmt.Errorf("it would have expired at %s", utc(g.NotAfter))
	case g.NotBefore.Before(now.Add(-earliest)):
		return fmt.Errorf("it would have begun at %s, more than a year ago", utc(g.NotBefore))
	case g.NotAfter.After(signer.NotAfter):
		return fmt.Errorf("it would end at %s, after that of %s which signs it, at %s; what ends later has to be asked for later", utc(g.NotAfter), root.Name, utc(signer.NotAfter))
	case validity > limit:
		return fmt.Errorf("it would be valid for %s, and %s certifies for at most %s", pki.FormatDuration(validity), root.Name, pki.FormatDuration(root.Span))
	case pki.ClaimsAuthority(g.CSR.CSR.RawSubject, signer.RawSubject):
		return fmt.Errorf("it has the subject of %s itself", root.Name)
	case len(g.CSR.CSR.Subject.ToRDNSequence()) == 0:
		return errors.New("it has no subject")
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// SignOff has a root sign what CheckSignoff accepts. What it has signed before for the same request is given
// again, so that an answer which was lost can be had once more.
func SignOff(ctx context.Context, st store.Store, clk clock.Clock, req signoff.Request) (signoff.Answer, error) {
	if err := CheckSignoff(ctx, st, clk, req); err != nil {
		return signoff.Answer{}, err
	}
	root, err := openOne(ctx, st, clk, store.AuthorityName(req.Parent), "")
	if err != nil {
		return signoff.Answer{}, err
	}
	permitted, err := profile.ParsePermitted(req.Permitted)
	if err != nil {
		return signoff.Answer{}, err
	}
	// All are looked at before the first is signed.
	signed := make([]*x509.Certificate, len(req.Generations))
	for i, g := range req.Generations {
		if signed[i], err = certifiedBefore(ctx, st, root.Name(), g); err != nil {
			return signoff.Answer{}, fmt.Errorf("%w: CA certificate %d: %w", ErrCeremony, i+1, err)
		}
	}
	for i, g := range req.Generations {
		if signed[i] != nil {
			continue
		}
		draft := profile.CA{
			Subject: g.CSR.CSR.RawSubject, PublicKey: g.CSR.CSR.PublicKey, Permitted: permitted, NotBefore: g.NotBefore, NotAfter: g.NotAfter,
		}
		if signed[i], err = root.CertifyCA(ctx, operator(), g.CSR, draft, req.Base); err != nil {
			return signoff.Answer{}, fmt.Errorf("CA certificate %d: %w", i+1, err)
		}
	}
	answer := signoff.Answer{Authority: req.Authority, Parent: req.Parent, Created: clk.Now(), Certificates: signed}
	if answer.Parents, err = root.CACertificates(ctx); err != nil {
		return signoff.Answer{}, err
	}
	links, err := root.Succession(ctx)
	if err != nil {
		return signoff.Answer{}, err
	}
	for _, link := range links {
		answer.Succession = append(answer.Succession, string(link))
	}
	answer.Lists, err = listsOf(ctx, root)
	return answer, err
}

func listsOf(ctx context.Context, a *ca.Authority) (ders [][]byte, err error) {
	lists, err := a.CRLs(ctx)
	for _, l := range lists {
		ders = append(ders, l.DER())
	}
	return ders, err
}

// certifiedBefore returns the CA certificate that the root has signed for the same request, nil if there is none.
func certifiedBefore(ctx context.Context, st store.Store, root store.AuthorityName, g signoff.Wanted) (crt *x509.Certificate, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		row, err := r.CertificateByCSR(ctx, root, g.CSR.Digest[:])
		if errors.Is(err, store.ErrNotFound) {
			switch used, err := r.KeyInUse(ctx, root, g.CSR.KeyID); {
			case err != nil:
				return err
			case used:
				return fmt.Errorf("its key, %s, was certified before, for another request", hex.EncodeToString(g.CSR.KeyID))
			}
			return nil
		} else if err != nil {
			return err
		}
		switch _, err := r.Revocation(ctx, root, row.Serial); {
		case err == nil:
			return fmt.Errorf("it was signed before, and revoked since")
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		crt, err = x509.ParseCertificate(row.DER)
		if err == nil && !crt.NotAfter.Equal(g.NotAfter) {
			return fmt.Errorf("it was signed before, to end at %s", utc(crt.NotAfter))
		}
		return err
	})
	return crt, err
}

// An Export is what others may know of an authority: nothing in it is secret.
type Export struct {
	Certificates []*x509.Certificate // valid CA certificates, oldest first
	Lists        [][]byte            // revocation lists, DER
}

// ExportAuthority returns the CA certificates and revocation lists of an authority.
func ExportAuthority(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, netloc string) (out Export, err error) {
	a, err := openOne(ctx, st, clk, name, netloc)
	if err != nil {
		return out, err
	}
	if out.Certificates, err = a.CACertificates(ctx); err != nil {
		return out, err
	}
	out.Lists, err = listsOf(ctx, a)
	return out, err
}
