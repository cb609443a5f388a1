package client

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// An Issued is a certificate, and the CA certificates between it and its root.
type Issued struct {
	Certificate *x509.Certificate

	// Chain begins with the issuer of Certificate and ends with what the root has signed.
	// It is empty where the issuer is self-signed.
	Chain []*x509.Certificate
}

// PEM encodes the certificate and its chain, in the order of RFC 8555 9.1.
func (i Issued) PEM() []byte {
	content := pki.EncodeCertificatePEM(i.Certificate.Raw)
	for _, ca := range i.Chain {
		content = append(content, pki.EncodeCertificatePEM(ca.Raw)...)
	}
	return content
}

// ErrIncompleteChain is a chain that does not lead from a certificate to a root that is
// trusted, or that holds what does not belong to it.
var ErrIncompleteChain = errors.New("the certificate's chain does not lead to a trusted root")

// maxChain is more CA certificates than anybody puts between a certificate and its root.
const maxChain = 8

func parseLeaf(op string, body []byte) (Issued, error) {
	crt, err := parseCertificate(op, body, nil)
	return Issued{Certificate: crt}, err
}

// parseIssued reads a certificate and its chain in PEM (RFC 8555 9.1).
func parseIssued(op string, body []byte) (Issued, error) {
	crt, chain, err := pki.ParseIssuedChainPEM(body)
	switch {
	case err != nil:
		return Issued{}, fmt.Errorf("%s: %w", op, err)
	case len(chain) > maxChain:
		return Issued{}, fmt.Errorf("%s: %w: a chain of %d certificates", op, ErrTooLong, 1+len(chain))
	}
	return Issued{Certificate: crt, Chain: chain}, nil
}

// IsIntermediate reports whether a CA certificate is signed by another CA, and not by itself.
func IsIntermediate(ca *x509.Certificate) bool { return !bytes.Equal(ca.RawIssuer, ca.RawSubject) }

// issuedBy reports whether ca, and no other CA of the same name, has signed crt.
func issuedBy(crt, ca *x509.Certificate) bool {
	return bytes.Equal(crt.RawIssuer, ca.RawSubject) && crt.CheckSignatureFrom(ca) == nil
}

// sameCA reports whether two CA certificates are for one name and key. The one may be self-signed, and
// the other by a root.
func sameCA(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && pki.SameKey(a.PublicKey, b.PublicKey)
}

// checkAnchor decides whether a certificate can be one of an authority that is trusted: that
// of a CA, self-signed or signed by the CA of a parent. Of the latter the signature says
// nothing here: who vouches for it is its predecessor, a pin, or a root.
func checkAnchor(crt *x509.Certificate) error {
	if !IsIntermediate(crt) {
		return pki.CheckCA(crt)
	}
	const usage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case !crt.BasicConstraintsValid || !crt.IsCA:
		return errors.New("not a CA certificate")
	case crt.KeyUsage != 0 && crt.KeyUsage&usage != usage:
		return errors.New("CA certificate may not sign certificates and revocation lists")
	case len(crt.SubjectKeyId) == 0:
		return errors.New("CA certificate without key identifier")
	case len(crt.UnhandledCriticalExtensions) > 0:
		return errors.New("CA certificate with a critical extension that is not known")
	}
	return pki.CheckPublicKey(crt.PublicKey)
}

// CheckChain decides whether a chain may be stored behind its certificate: each of it has
// signed the one before, is a CA that may and is valid at now, and one of roots has signed the
// last, or the certificate itself. The certificate must have passed [CheckIssued], by the CA
// certificates in trusted. Errors are [ErrIncompleteChain] and, wrapped in it, [pki.ErrExpired]
// and [pki.ErrNotYetValid].
func CheckChain(issued Issued, trusted, roots []*x509.Certificate, now time.Time) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrIncompleteChain, fmt.Errorf(format, args...))
	}
	last := issued.Certificate
	for i, ca := range issued.Chain {
		if !IsIntermediate(ca) {
			return refuse("certificate %d of it, %s, is self-signed", i+1, pki.SubjectString(ca.RawSubject))
		}
		if err := checkAnchor(ca); err != nil {
			return refuse("certificate %d of it: %w", i+1, err)
		}
		if err := checkIssuer(last, ca, i, now); err != nil {
			return refuse("certificate %d of it: %w", i+1, err)
		}
		last = ca
	}
	if len(issued.Chain) > 0 && !slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool { return sameCA(ca, issued.Chain[0]) }) {
		return refuse("it begins with a CA certificate that is not trusted here: %s", PinOf(issued.Chain[0]))
	}
	why := fmt.Errorf("no root has signed %s", pki.SubjectString(last.RawSubject))
	for _, root := range roots {
		if pki.CheckCA(root) != nil || !bytes.Equal(last.RawIssuer, root.RawSubject) {
			continue
		}
		if err := checkIssuer(last, root, len(issued.Chain), now); err != nil {
			why = fmt.Errorf("root %s: %w", PinOf(root), err)
			continue
		}
		if err := verifyAsOthers(issued, root, now); err != nil {
			return refuse("%w", err)
		}
		return nil
	}
	return refuse("%w", why)
}

// checkIssuer verifies one link of a chain, below which there are so many intermediates.
func checkIssuer(crt, ca *x509.Certificate, below int, now time.Time) error {
	switch {
	case !bytes.Equal(crt.RawIssuer, ca.RawSubject):
		return fmt.Errorf("it is of %s, and not of %s", pki.SubjectString(ca.RawSubject), pki.SubjectString(crt.RawIssuer))
	case crt.CheckSignatureFrom(ca) != nil:
		return errors.New("it has not signed the one before")
	case limitsPath(ca) && below > ca.MaxPathLen:
		return fmt.Errorf("%d CAs are below it, where it allows %d", below, ca.MaxPathLen)
	}
	return pki.CheckValidity(ca, now)
}

func limitsPath(ca *x509.Certificate) bool {
	return ca.MaxPathLen > 0 || ca.MaxPathLen == 0 && ca.MaxPathLenZero
}

// verifyAsOthers has Go's verifier judge a chain as the peers of this host will, name
// constraints included.
func verifyAsOthers(issued Issued, root *x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, ca := range issued.Chain {
		between.AddCert(ca)
	}
	// What a profile makes critical is for whoever uses the certificate to know.
	leaf := *issued.Certificate
	leaf.UnhandledCriticalExtensions = nil
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now.Truncate(time.Second),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return errors.New(pki.EscapeText(err.Error())) // which names what is in the certificates
	}
	return nil
}
