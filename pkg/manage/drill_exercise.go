package manage

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// exerciseName says what exercise shows of an authority.
func exerciseName(row store.Authority) string {
	switch row.Role {
	case store.RoleUsers:
		return "user certificate issued, renewed, revoked and listed (" + string(row.Name) + ")"
	case store.RoleServices:
		return "service certificate issued, renewed, revoked and listed (" + string(row.Name) + ")"
	case store.RoleDaemon:
		return "server certificate issued (" + string(row.Name) + ")"
	case store.RoleRoot:
		return "CA certificate issued, revoked and listed (" + string(row.Name) + ")"
	}
	return string(row.Name)
}

// exercise has an authority do what it is for. What one could not do when it was backed up, since it was
// retired or its keys are elsewhere, is not asked of it; the detail says so.
func (d *drill) exercise(ctx context.Context, row store.Authority) (string, error) {
	a, err := d.bench.authority(ctx, row.Name, func(row *store.Authority) {
		if row.Role != store.RoleRoot {
			row.Span = min(row.Span, maxDrillSpan)
		}
		row.Profile = "" // the daemon's configuration, which may describe it, is not in the backup
	})
	switch {
	case errors.Is(err, errNoHost):
		return "not asked for: " + err.Error(), nil
	case errors.Is(err, ca.ErrSignoff):
		return "not asked for: its first CA certificate waits for a sign-off", nil
	case err != nil:
		return "", err
	}
	external, err := d.external(ctx, row.Name)
	switch {
	case err != nil:
		return "", err
	case external:
		return d.exerciseExternal(ctx, a)
	case !row.RetiredAt.IsZero() && !d.clock.Now().Before(row.RetiredAt):
		return d.retired(ctx, a)
	}
	if errors.Is(a.Locked(), keys.ErrOwn) {
		return "not asked for: its keys have a passphrase of their own", nil
	}
	switch row.Role {
	case store.RoleDaemon:
		return d.exerciseServer(ctx, a)
	case store.RoleRoot:
		return d.exerciseRoot(ctx, a)
	}
	return d.exerciseLeaves(ctx, a)
}

// external reports whether the keys of an authority are elsewhere.
func (d *drill) external(ctx context.Context, name store.AuthorityName) (external bool, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		rows, err := r.CAs(ctx, name)
		external = len(rows) > 0 && rows[len(rows)-1].State == store.CAExternal
		return err
	})
	return external, err
}

// exerciseExternal verifies the revocation lists of an authority whose keys are elsewhere.
func (d *drill) exerciseExternal(ctx context.Context, a *ca.Authority) (string, error) {
	lists, err := a.CRLs(ctx)
	if err != nil {
		return "", err
	}
	cas, err := a.CACertificates(ctx)
	if err != nil {
		return "", err
	}
	for _, list := range lists {
		crl, err := x509.ParseRevocationList(list.DER())
		if err != nil {
			return "", err
		}
		if !signedByOne(crl, cas) {
			return "", fmt.Errorf("revocation list %s is not signed by any of its CAs", crl.Number)
		}
	}
	return fmt.Sprintf("not asked for: its keys are kept elsewhere; %d CA certificates and %d lists of theirs", len(cas), len(lists)), nil
}

func signedByOne(crl *x509.RevocationList, cas []*x509.Certificate) bool {
	for _, crt := range cas {
		if crl.CheckSignatureFrom(crt) == nil {
			return true
		}
	}
	return false
}

// retired has an authority that signs nothing else any more make its lists.
func (d *drill) retired(ctx context.Context, a *ca.Authority) (string, error) {
	number, entries, err := listed(ctx, a)
	if errors.Is(err, ca.ErrNoSigner) {
		return "not asked for: it is retired, and its last CA certificate has expired", nil
	} else if err != nil {
		return "", fmt.Errorf("revocation list: %w", err)
	}
	return fmt.Sprintf("it is retired: only listed, %d entries in list %s", entries, number), nil
}

// maxDrillSpan bounds the validity of what a drill issues: a CA that was imported may live for decades.
const maxDrillSpan = 93 * 24 * time.Hour

// exerciseLeaves has an authority issue a certificate, renew it, revoke both and publish that.
func (d *drill) exerciseLeaves(ctx context.Context, a *ca.Authority) (string, error) {
	key, crt, err := d.issue(ctx, a)
	if err != nil {
		return "", err
	}
	next, err := d.renew(ctx, a, key, crt)
	if err != nil {
		return "", fmt.Errorf("renew: %w", err)
	}
	operator := audit.Actor{Kind: audit.Operator}
	for _, one := range []*x509.Certificate{crt, next} {
		if err := a.RevokeSerial(ctx, operator, one.SerialNumber, ca.Revoking{OnlyThis: one == crt}); err != nil {
			return "", fmt.Errorf("revoke: %w", err)
		}
		if _, err := a.Authenticate(ctx, audit.Actor{Kind: audit.Anonymous}, one); !errors.Is(err, ca.ErrUnauthorized) {
			return "", fmt.Errorf("a revoked certificate is not refused: %v", err)
		}
	}
	return listing(ctx, a, crt, next)
}

// exerciseRoot has a root issue a CA certificate for a key that is forgotten at once, revoke it and publish that.
func (d *drill) exerciseRoot(ctx context.Context, a *ca.Authority) (string, error) {
	_, req, err := drillRequest(a.Row())
	if err != nil {
		return "", err
	}
	operator, now := audit.Actor{Kind: audit.Operator}, d.clock.Now()
	crt, err := a.CertifyCA(ctx, operator, req, profile.CA{
		Subject: req.CSR.RawSubject, PublicKey: req.CSR.PublicKey, NotBefore: now.Add(-defaultBackdate), NotAfter: now.Add(maxDrillSpan),
	}, "http://"+d.bench.netloc)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	if err := d.verifyChain(ctx, a, crt, nil); err != nil {
		return "", err
	}
	if err := a.RevokeSerial(ctx, operator, crt.SerialNumber, ca.Revoking{}); err != nil {
		return "", fmt.Errorf("revoke: %w", err)
	}
	return listing(ctx, a, crt)
}

// exerciseServer has the daemon's own authority issue a certificate for the host that its CA names.
func (d *drill) exerciseServer(ctx context.Context, a *ca.Authority) (string, error) {
	key, err := pki.DefaultKeyType.Generate()
	if err != nil {
		return "", err
	}
	leaf, issuer, err := a.IssueServer(ctx, key.Public())
	if err != nil {
		return "", err
	}
	if err := leaf.CheckSignatureFrom(issuer); err != nil {
		return "", err
	}
	return fmt.Sprintf("by %s", pki.SubjectString(leaf.RawIssuer)), nil
}

// listing says in which list certificates are that were revoked.
func listing(ctx context.Context, a *ca.Authority, crts ...*x509.Certificate) (string, error) {
	number, entries, err := listed(ctx, a, crts...)
	if err != nil {
		return "", fmt.Errorf("revocation list: %w", err)
	}
	return fmt.Sprintf("by %s, %d entries in list %s", pki.SubjectString(crts[0].RawIssuer), entries, number), nil
}

// issue makes a certificate for a new key, and verifies it.
func (d *drill) issue(ctx context.Context, a *ca.Authority) (crypto.Signer, *x509.Certificate, error) {
	key, req, err := drillRequest(a.Row())
	if err != nil {
		return nil, nil, err
	}
	made, err := a.Submit(ctx, audit.Actor{Kind: audit.Operator}, req, ca.Asked{})
	if err != nil {
		return nil, nil, fmt.Errorf("request: %w", err)
	}
	issued, err := a.Approve(ctx, audit.Actor{Kind: audit.Operator}, made.ID, ca.Approval{})
	if err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	return key, issued.Certificate, d.verify(ctx, a, issued)
}

func (d *drill) renew(ctx context.Context, a *ca.Authority, key crypto.Signer, crt *x509.Certificate) (*x509.Certificate, error) {
	_, req, err := drillRequest(a.Row())
	if err != nil {
		return nil, err
	}
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), RequestPEM: string(req.PEM),
	})
	if err != nil {
		return nil, err
	}
	signed, err := envelope.Sign(key, payload)
	if err != nil {
		return nil, err
	}
	parsed, err := envelope.Parse(signed)
	if err != nil {
		return nil, err
	}
	holder, err := a.Holder(ctx, audit.Actor{Kind: audit.Anonymous}, crt, parsed.Verify)
	if err != nil {
		return nil, err
	}
	issued, err := a.Renew(ctx, holder, req)
	if err != nil {
		return nil, err
	}
	return issued.Certificate, d.verify(ctx, a, issued)
}

// verify verifies what was issued with the CA certificates that hosts are given, and its chain with those that
// they trust.
func (d *drill) verify(ctx context.Context, a *ca.Authority, issued ca.Issued) error {
	cas, err := a.CACertificates(ctx)
	if err != nil {
		return err
	}
	if _, err := pki.VerifyIssued(issued.Certificate, cas, d.clock.Now()); err != nil || len(issued.Chain) == 0 {
		return err
	}
	return d.verifyChain(ctx, a, issued.Certificate, issued.Chain)
}

func (d *drill) verifyChain(ctx context.Context, a *ca.Authority, crt *x509.Certificate, chain []*x509.Certificate) error {
	trusted, err := a.Roots(ctx)
	if err != nil {
		return err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, crt := range trusted {
		roots.AddCert(crt)
	}
	for _, crt := range chain {
		between.AddCert(crt)
	}
	_, err = crt.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: d.clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// listed fetches the revocation lists as hosts do, verifies each with its CA, and looks for certificates in
// all of them.
func listed(ctx context.Context, a *ca.Authority, crts ...*x509.Certificate) (number string, entries int, err error) {
	lists, err := a.CRLs(ctx)
	if err != nil {
		return "", 0, err
	}
	cas, err := a.CACertificates(ctx)
	if err != nil {
		return "", 0, err
	}
	if len(lists) != len(cas) {
		return "", 0, fmt.Errorf("%d lists of %d CAs", len(lists), len(cas))
	}
	for i, list := range lists {
		crl, err := x509.ParseRevocationList(list.DER())
		if err != nil {
			return "", 0, err
		}
		if err := crl.CheckSignatureFrom(cas[i]); err != nil {
			return "", 0, err
		}
		for _, crt := range crts {
			if !revokes(crl, crt) {
				return "", 0, fmt.Errorf("certificate %#x was revoked and is not in it", crt.SerialNumber)
			}
		}
		number, entries = crl.Number.String(), len(crl.RevokedCertificateEntries)
	}
	return number, entries, nil
}

func revokes(crl *x509.RevocationList, crt *x509.Certificate) bool {
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(crt.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

// drillRequest makes a key and a request of somebody who does not exist.
func drillRequest(row store.Authority) (crypto.Signer, *pki.Request, error) {
	key, err := pki.DefaultKeyType.Generate()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "restore drill"}}
	if len(row.Permitted) == 0 {
		template.DNSNames = []string{"drill.invalid"} // of which no CA with constraints would be
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, nil, err
	}
	req, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	return key, req, err
}
