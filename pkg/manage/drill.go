package manage

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A Proof is one thing that a drill has shown to work.
type Proof struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// Drilled tells what a drill has shown, up to where it failed.
type Drilled struct {
	Contents
	Proofs   []Proof   `json:"proofs"`
	Findings []Finding `json:"findings,omitempty"` // of the check
	Errors   int64     `json:"errors"`
	Warnings int64     `json:"warnings"`
}

// ErrDrillFindings means that a backup could be restored, but what it holds is not all right.
var ErrDrillFindings = errors.New("the restored database has errors")

// maxFindings is how many findings are kept.
const maxFindings = 100

// A drill is one under way, in a store that is thrown away.
type drill struct {
	store store.Store
	clock clock.Clock
	done  *Drilled
	spans map[store.AuthorityName]time.Duration
}

// Drill restores a backup into st, which holds nothing and is thrown away afterwards, and has its
// authorities do there what they do every day. It calls proved with each thing that is shown to work.
func Drill(ctx context.Context, st store.Store, clk clock.Clock, backup Sealed, progress Progress, proved func(Proof)) (Drilled, error) {
	done := Drilled{Proofs: []Proof{}}
	d := &drill{store: st, clock: clk, done: &done}
	for _, step := range []struct {
		name string
		run  func() (string, error)
	}{
		{"decrypted and restored", func() (string, error) { return d.restore(ctx, backup, progress) }},
		{"database checked", func() (string, error) { return d.check(ctx, progress) }},
		{"service certificate issued, renewed, revoked and listed", func() (string, error) { return d.exerciseAll(ctx, store.RoleServices) }},
		{"user certificate issued, renewed, revoked and listed", func() (string, error) { return d.exerciseAll(ctx, store.RoleUsers) }},
	} {
		detail, err := step.run()
		if err != nil {
			return done, fmt.Errorf("not proved: %s: %w", step.name, err)
		}
		p := Proof{step.name, detail}
		done.Proofs = append(done.Proofs, p)
		proved(p)
	}
	return done, nil
}

// restore fills the store, and compares what it then gives away with what the backup says.
func (d *drill) restore(ctx context.Context, backup Sealed, progress Progress) (string, error) {
	o, err := backup.open()
	if err != nil {
		return "", err
	}
	defer o.close()
	now := d.clock.Now()
	seen, err := newSurvey(now, backup)
	if err != nil {
		return "", err
	}
	err = d.store.Update(ctx, func(tx store.Tx) error {
		return tx.Load(ctx, seen.watch(o.rows(ctx, now), progress.follow("restoring")))
	})
	if err != nil {
		return "", err
	}
	d.spans = seen.spans
	d.done.Contents, err = seen.contents(o)
	if err != nil {
		return "", err
	}
	var held dump.Summary
	err = d.store.View(ctx, func(r store.Reader) (err error) {
		held, err = dump.Summarize(ctx, r)
		return err
	})
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%d rows", held.Rows())
	if o.ours != nil {
		if diff := o.ours.Summary().Diff(held); diff != "" {
			return "", fmt.Errorf("the database holds something else than the backup: %s", diff)
		}
		detail += ", each the same as in the backup"
	}
	// A restore would do so, too.
	return detail, d.store.Update(ctx, func(tx store.Tx) error { return archive.Forget(ctx, tx) })
}

// check looks at every row.
func (d *drill) check(ctx context.Context, progress Progress) (string, error) {
	found := func(f Finding) {
		if len(d.done.Findings) < maxFindings {
			d.done.Findings = append(d.done.Findings, f)
		}
	}
	checked, err := Check(ctx, d.store, d.clock.Now(), found, progress)
	if err != nil {
		return "", err
	}
	d.done.Errors, d.done.Warnings = checked.Errors, checked.Warnings
	if checked.Errors > 0 {
		return "", fmt.Errorf("%w: %d", ErrDrillFindings, checked.Errors)
	}
	return fmt.Sprintf("%d rows, %d warnings", checked.Rows.Rows(), checked.Warnings), nil
}

// maxDrillSpan bounds the validity of what a drill issues: a CA that was imported may live for decades.
const maxDrillSpan = 93 * 24 * time.Hour

// exerciseAll exercises the authorities of a role that have a CA.
func (d *drill) exerciseAll(ctx context.Context, role store.Role) (string, error) {
	var rows []store.Authority
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		rows, err = r.Authorities(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	var details []string
	for _, row := range store.ByRole(rows, role) {
		if !row.RetiredAt.IsZero() {
			continue
		}
		detail, err := d.exercise(ctx, row)
		if err != nil {
			return "", fmt.Errorf("%s: %w", row.Name, err)
		}
		details = append(details, detail)
	}
	if len(details) == 0 {
		return "", fmt.Errorf("there is no authority with the role %s", role)
	}
	return strings.Join(details, "; "), nil
}

// exercise has an authority issue a certificate, renew it, revoke both and publish that.
func (d *drill) exercise(ctx context.Context, row store.Authority) (string, error) {
	span := d.spans[row.Name]
	if span <= 0 {
		return "", fmt.Errorf("there is no CA certificate of %s", row.Name)
	}
	a, err := ca.Open(ctx, d.store, d.clock, authority(row, min(span, maxDrillSpan)), config())
	if err != nil {
		return "", err
	}
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
		if err := a.RevokeSerial(ctx, operator, one.SerialNumber, 0); err != nil {
			return "", fmt.Errorf("revoke: %w", err)
		}
		if _, err := a.Authenticate(ctx, audit.Actor{Kind: audit.Anonymous}, one); !errors.Is(err, ca.ErrUnauthorized) {
			return "", fmt.Errorf("a revoked certificate is not refused: %v", err)
		}
	}
	number, entries, err := listed(ctx, a, crt, next)
	if err != nil {
		return "", fmt.Errorf("revocation list: %w", err)
	}
	return fmt.Sprintf("by %s, %d entries in list %s", pki.SubjectString(crt.RawIssuer), entries, number), nil
}

// issue makes a certificate for a new key, and verifies it.
func (d *drill) issue(ctx context.Context, a *ca.Authority) (crypto.Signer, *x509.Certificate, error) {
	key, req, err := drillRequest()
	if err != nil {
		return nil, nil, err
	}
	made, err := a.Submit(ctx, audit.Actor{Kind: audit.Operator}, req, "")
	if err != nil {
		return nil, nil, fmt.Errorf("request: %w", err)
	}
	issued, err := a.Approve(ctx, audit.Actor{Kind: audit.Operator}, made.ID, ca.Approval{})
	if err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	return key, issued.Certificate, d.verify(ctx, a, issued.Certificate)
}

func (d *drill) renew(ctx context.Context, a *ca.Authority, key crypto.Signer, crt *x509.Certificate) (*x509.Certificate, error) {
	_, req, err := drillRequest()
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
	return issued.Certificate, d.verify(ctx, a, issued.Certificate)
}

// verify verifies a certificate with the CA certificates that hosts are given.
func (d *drill) verify(ctx context.Context, a *ca.Authority, crt *x509.Certificate) error {
	cas, err := a.CACertificates(ctx)
	if err != nil {
		return err
	}
	_, err = pki.VerifyIssued(crt, cas, d.clock.Now())
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
		crl, err := x509.ParseRevocationList(list.DER)
		if err != nil {
			return "", 0, err
		}
		if err := crl.CheckSignatureFrom(cas[i]); err != nil {
			return "", 0, err
		}
		for _, crt := range crts {
			if !revokes(crl, crt) {
				return "", 0, fmt.Errorf("certificate %s was revoked and is not in it", crt.SerialNumber)
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
func drillRequest() (crypto.Signer, *pki.Request, error) {
	key, err := pki.DefaultKeyType.Generate()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "restore drill"}, DNSNames: []string{"drill.invalid"},
	}, key)
	if err != nil {
		return nil, nil, err
	}
	req, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	return key, req, err
}
