package caucase

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// backdate is how far before the time of issuance caucase's certificates begin to be valid.
const backdate = 10 * time.Second

// A generation is a CA with what is needed to vouch for its successor.
type generation struct {
	store.CA
	crt *x509.Certificate
	key crypto.Signer
}

// convertCAs never leaves one out: what it has signed would be lost.
func (a *authority) convertCAs(lastCA *int64) error {
	for i, row := range a.ca {
		g, err := a.generation(row)
		if err != nil {
			return fmt.Errorf("%w: %sca row %d: %w", ErrNotCaucase, a.prefix, i+1, err)
		}
		a.cas = append(a.cas, g)
	}
	slices.SortStableFunc(a.cas, func(x, y generation) int {
		return cmp.Or(x.NotBefore.Compare(y.NotBefore), x.NotAfter.Compare(y.NotAfter))
	})
	for i := range a.cas {
		*lastCA++
		a.cas[i].ID = *lastCA
		switch other, taken := a.caKeys[string(a.cas[i].KeyID)]; {
		case other == a.prefix:
			return fmt.Errorf("%w: two certificates in %sca have the same key", ErrNotCaucase, a.prefix)
		case taken: // a service would be a user
			return fmt.Errorf("%w: %sca and %sca have the same key", ErrNotCaucase, other, a.prefix)
		}
		a.caKeys[string(a.cas[i].KeyID)] = a.prefix
		if i == 0 {
			continue
		}
		// Caucase makes these anew at each request, ours are kept.
		link, err := envelope.SignLink(a.cas[i-1].key, a.cas[i-1].Certificate, a.cas[i].Certificate)
		if err != nil {
			return fmt.Errorf("%sca: %w", a.prefix, err)
		}
		a.cas[i].Link = link
		a.report.Links++
	}
	a.describeCAs()
	return nil
}

func (a *authority) generation(row caRow) (generation, error) {
	crt, err := pki.ParseCertificatePEM(row.crt)
	if err != nil {
		return generation{}, err
	}
	key, err := pki.ParsePrivateKeyPEM(row.key)
	if err != nil {
		return generation{}, err
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return generation{}, err
	}
	if len(crt.SubjectKeyId) > 0 {
		keyID = crt.SubjectKeyId
	}
	switch {
	case !pki.SameKey(key.Public(), crt.PublicKey):
		return generation{}, errors.New("key and certificate do not belong together")
	case a.now.Before(crt.NotBefore):
		// Its key would be erased as one that was made while the clock was ahead.
		return generation{}, fmt.Errorf("the certificate is not valid before %s, and it is %s: is the clock right?",
			crt.NotBefore.Format(time.RFC3339), a.now.UTC().Format(time.RFC3339))
	}
	// Without these it could neither sign nor hand over to a successor.
	if _, err := pki.SignatureAlgorithm(crt.PublicKey); err != nil {
		return generation{}, err
	}
	if err := pki.CheckPublicKey(crt.PublicKey); err != nil {
		return generation{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return generation{}, errors.New("the key has no PKCS #8 form")
	}
	if err := pki.CheckCA(crt); err != nil {
		a.note("%s: cauase and its agent will not trust the CA certificate that is valid until %s: %v", a.name, crt.NotAfter.Format(time.DateOnly), err)
	}
	pki.AsCA(crt, keyID) // caucase may have been told to take what is none
	return generation{store.CA{
		Authority:   a.name,
		CreatedAt:   crt.NotBefore,
		NotBefore:   crt.NotBefore,
		NotAfter:    crt.NotAfter,
		KeyID:       keyID,
		Certificate: crt.Raw,
		State:       store.CAUsable,
		Key:         store.KeyInRow(der),
	}, crt, key}, nil
}

// convertCertificates tells pending requests from what was issued. Both are in one table.
func (a *authority) convertCertificates() {
	ids, digests, serials := map[int64]bool{}, map[[32]byte]bool{}, map[string]bool{}
	for i, row := range a.crt {
		what := fmt.Sprintf("id %d", row.id)
		if row.id <= 0 || ids[row.id] {
			a.skip("crt", i, what, errors.New("the id is not a positive number of its own"))
			continue
		}
		ids[row.id] = true
		if row.crt == nil {
			req, err := a.request(row)
			if err == nil && digests[[32]byte(req.Digest)] {
				err = errors.New("the same request waits twice")
			}
			if err != nil {
				a.skip("crt", i, what, err)
				continue
			}
			digests[[32]byte(req.Digest)] = true
			a.requests = append(a.requests, req)
			continue
		}
		crt, err := a.certificate(row)
		switch {
		case errors.Is(err, errForgotten):
			a.report.Forgotten++
		case err == nil && serials[crt.Serial.String()]:
			a.skip("crt", i, what, errors.New("another certificate has the same serial number"))
		case err != nil:
			a.skip("crt", i, what, err)
		default:
			serials[crt.Serial.String()] = true
			a.warnUnfit(crt)
			a.keys[crt.Serial.String()] = crt.KeyID
			a.issued = append(a.issued, crt)
		}
	}
	a.report.Pending, a.report.Issued = len(a.requests), len(a.issued)
	a.inferRenewals()
}

// warnUnfit notes a user who is one no longer, as far as the daemon can tell: it is shown the certificate by TLS, which
// refuses what crypto/x509 cannot read.
func (a *authority) warnUnfit(crt store.Certificate) {
	if a.row.Role != store.RoleUsers || a.now.After(crt.NotAfter) {
		return
	}
	if _, err := pki.ParseCertificateDER(crt.DER); err != nil {
		a.note("%s: the certificate of %s (serial %#x) can be renewed and revoked, but not be used over HTTPS, where it cannot be read (%v): have its owner request a new one",
			a.name, crt.Subject, crt.Serial, err)
	}
}

// inferRenewals determines which certificates answer no request of their own. Caucase does not record it, but it has
// counted the requests: what is more than that was renewed. Most likely what follows a certificate of
// the same name, and of the rest the newest.
func (a *authority) inferRenewals() {
	slices.SortStableFunc(a.issued, func(x, y store.Certificate) int { return x.NotBefore.Compare(y.NotBefore) })
	if a.row.Role == store.RoleDaemon {
		return
	}
	renewed := func(c *store.Certificate) {
		c.Method, c.IssuedBy = store.Renewed, audit.Actor{Kind: audit.Holder}.String()
	}
	named, requests := map[string]bool{}, int64(len(a.requests))
	for i := range a.issued {
		c := &a.issued[i]
		name := fmt.Sprintf("%q %q", c.Subject, c.SANs)
		if named[name] {
			renewed(c)
		} else {
			requests++
		}
		named[name] = true
	}
	counted, known := a.tables.counter[store.CounterReceivedCSR]
	if a.received = max(counted, int64(len(a.requests))); !known {
		// With none counted, the next request could be approved without asking.
		if a.received = requests; requests > 0 {
			a.note("%s: %scounter has no %s, which is set to %d", a.name, a.prefix, store.CounterReceivedCSR, requests)
		}
	}
	for i := len(a.issued) - 1; i >= 0 && requests > a.received; i-- {
		if a.issued[i].Method != store.Renewed {
			renewed(&a.issued[i])
			requests--
		}
	}
}

// request is what waits for a user. One that we would not have taken cannot be signed here either.
func (a *authority) request(row crtRow) (store.Request, error) {
	req, err := pki.ParseRequest(row.csr)
	if err != nil {
		return store.Request{}, err
	}
	return store.Request{
		Authority:  a.name,
		ID:         row.id,
		ReceivedAt: a.now,
		Submitter:  audit.Actor{Kind: audit.Anonymous}.String(),
		PEM:        req.PEM,
		Digest:     req.Digest[:],
		KeyID:      req.KeyID,
		Subject:    req.Subject,
		SANs:       req.SANs,
	}, nil
}

// errForgotten is a certificate that has expired, and its CA with it.
var errForgotten = errors.New("expired together with its CA")

func (a *authority) certificate(row crtRow) (store.Certificate, error) {
	crt, err := pki.ParseIssuedPEM(row.crt)
	if err != nil {
		return store.Certificate{}, err
	}
	if crt.SerialNumber.Sign() <= 0 || crt.SerialNumber.BitLen() > maxSerialBits {
		return store.Certificate{}, errors.New("its serial number is not one of 1 to 20 bytes")
	}
	caID, err := a.issuer(crt)
	if err != nil {
		return store.Certificate{}, err
	}
	keyID, err := pki.KeyIDOf(crt) // caucase certifies kinds of keys that are not known here
	if err != nil {
		return store.Certificate{}, err
	}
	method, by := a.method(crt)
	csr, sum := row.csr, digest(row.csr)
	if sum == nil {
		csr = nil
	}
	return store.Certificate{
		Authority: a.name,
		ID:        row.id,
		Serial:    crt.SerialNumber,
		CAID:      caID,
		Subject:   pki.SubjectString(crt.RawSubject),
		SANs:      pki.SANStrings(crt.Extensions),
		NotBefore: crt.NotBefore,
		NotAfter:  crt.NotAfter,
		KeyID:     keyID,
		IssuedAt:  crt.NotBefore.Add(backdate),
		IssuedBy:  by.String(),
		Method:    method,
		CSR:       csr,
		CSRDigest: sum,
		DER:       crt.Raw,
	}, nil
}

// issuer finds the CA that has signed crt.
func (a *authority) issuer(crt *x509.Certificate) (int64, error) {
	for _, g := range a.cas {
		// When it was issued its CA was valid.
		if _, err := pki.VerifyIssued(crt, []*x509.Certificate{g.crt}, crt.NotBefore); err == nil {
			return g.ID, nil
		}
	}
	if a.now.After(crt.NotAfter) {
		return 0, errForgotten
	}
	return 0, errors.New("none of the CA certificates has issued it")
}

// method is how a certificate came about, as far as it says so itself, and who did it. Caucase does
// not record who has signed, nor what was renewed.
func (a *authority) method(crt *x509.Certificate) (store.Method, audit.Actor) {
	autoSigned := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 37476, 9000, 70, 0, 0}
	switch {
	case a.row.Role == store.RoleDaemon:
		return store.Internal, audit.Actor{Kind: audit.Daemon}
	case slices.ContainsFunc(crt.PolicyIdentifiers, autoSigned.Equal):
		return store.AutoSigned, audit.Actor{Kind: audit.Daemon}
	}
	return store.Signed, audit.Actor{Kind: audit.User}
}

// digest is that of a request, nil when there is none. What else is in the text, which we would refuse,
// is of no matter: only the first block was taken for a request.
func digest(csr []byte) []byte {
	blocks, err := pki.SplitPEM(csr)
	if err != nil || len(blocks) == 0 {
		return nil
	}
	sum := sha256.Sum256(blocks[0].Bytes)
	return sum[:]
}

// listNumber is the number of a revocation list, 0 when it has none, and its date in seconds since 1970.
func listNumber(pem []byte) (number, thisUpdate int64, err error) {
	if len(pem) == 0 {
		return 0, 0, nil
	}
	crl, err := pki.ParseCRLPEM(pem)
	switch {
	case err != nil:
		return 0, 0, err
	case crl.Number == nil:
		return 0, max(crl.ThisUpdate.Unix(), 0), nil
	case !crl.Number.IsInt64():
		return 0, 0, errors.New("its number is too large")
	}
	return crl.Number.Int64(), max(crl.ThisUpdate.Unix(), 0), nil
}

// describeCAs finds out with which options caucase was run, from what it has made with them.
func (a *authority) describeCAs() {
	a.report.CAs = len(a.cas)
	if len(a.cas) == 0 {
		return
	}
	newest := a.cas[len(a.cas)-1].crt
	a.report.Subject, a.report.NotAfter = pki.SubjectString(newest.RawSubject), newest.NotAfter
	name := newest.Subject.CommonName
	for _, title := range []string{"Caucase CAU at ", "Caucase CAS at "} {
		if at, ok := strings.CutPrefix(name, title); ok {
			at = strings.TrimPrefix(at, "http://")
			at, _, _ = strings.Cut(at, "/")
			a.report.Netloc = at
		}
	}
	if a.row.Role != store.RoleDaemon {
		a.report.Span = newest.NotAfter.Sub(newest.NotBefore) / rollover.DefaultLife
	}
}
