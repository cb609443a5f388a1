package manage

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"time"

	"cauase/pkg/dump"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// signedByParent checks a CA certificate that a CA of the parent has signed, once all CAs have been read.
func (c *checker) signedByParent(i *caInfo) []problem {
	v := i.row
	if v.ParentCA == 0 {
		return c.signedByAny(v.ParentAuthority, i.crt)
	}
	parent := c.cas[caRef{v.ParentAuthority, v.ParentCA}]
	if parent == nil {
		return []problem{errorf("its parent, %s, has no CA %d", v.ParentAuthority, v.ParentCA)}
	}
	if parent.crt == nil {
		return nil // already reported
	}
	return c.signedBy(parent, i.crt)
}

// signedByAny checks a CA certificate that whichever CA of the parent is to have signed.
func (c *checker) signedByAny(parent store.AuthorityName, crt *x509.Certificate) []problem {
	for _, i := range c.tally(parent).cas {
		if i.crt != nil && bytes.Equal(i.crt.RawSubject, crt.RawIssuer) && crt.CheckSignatureFrom(i.crt) == nil {
			return c.signedBy(i, crt)
		}
	}
	return []problem{errorf("its certificate is not signed by any CA of its parent, %s", parent)}
}

// signedBy checks crt, that of a CA below a root, against that of the root's CA.
func (c *checker) signedBy(parent *caInfo, crt *x509.Certificate) (problems []problem) {
	name, id := parent.row.Authority, parent.row.ID
	add := func(p problem) { problems = append(problems, p) }
	if role := c.rowOf[name].Role; role != store.RoleRoot {
		add(errorf("it is signed by CA %d of %s, which is no root", id, name))
	}
	if !bytes.Equal(crt.RawIssuer, parent.crt.RawSubject) {
		add(errorf("the issuer of its certificate is not CA %d of %s", id, name))
	}
	if err := crt.CheckSignatureFrom(parent.crt); err != nil {
		add(errorf("its certificate is not signed by CA %d of %s: %v", id, name, err))
	}
	if parent.crt.MaxPathLenZero || parent.crt.MaxPathLen == 0 {
		add(errorf("the path length of CA %d of %s allows for no CAs below it", id, name))
	}
	if !crt.MaxPathLenZero {
		add(errorf("its path length allows for CAs below it"))
	}
	if crt.NotAfter.After(parent.crt.NotAfter) {
		add(errorf("its certificate is valid until %s, and that of CA %d of %s until %s", crt.NotAfter.Format(time.RFC3339),
			id, name, parent.crt.NotAfter.Format(time.RFC3339)))
	}
	return problems
}

// compareParentRecords compares CA certificates that a parent has signed with what the parent has on record.
func (c *checker) compareParentRecords(ctx context.Context, r store.Reader) error {
	for _, i := range c.below {
		switch {
		case c.now.After(i.row.NotAfter):
			continue // and forgotten long ago
		case i.row.ParentCA == 0:
			if i.row.State == store.CAUsable && c.listedElsewhere(i) {
				c.report(dump.Describe(i.row), errorf("its parent, %s, has revoked its certificate, and it is still in use", i.row.ParentAuthority))
			}
			continue
		}
		issued, err := r.CertificateBySerial(ctx, i.row.ParentAuthority, i.crt.SerialNumber)
		switch {
		case errors.Is(err, store.ErrNotFound):
			c.report(dump.Describe(i.row), warningf("its parent, %s, has no record of its certificate", i.row.ParentAuthority))
		case err != nil:
			return err
		case !bytes.Equal(issued.DER, i.row.Certificate):
			c.report(dump.Describe(i.row), errorf("its parent, %s, has another certificate of its serial number on record", i.row.ParentAuthority))
		}
		switch _, err := r.Revocation(ctx, i.row.ParentAuthority, i.crt.SerialNumber); {
		case err == nil && (i.row.State == store.CAUsable || i.row.State == store.CAExternal):
			c.report(dump.Describe(i.row), errorf("its parent, %s, has revoked its certificate, and it is still in use", i.row.ParentAuthority))
		case errors.Is(err, store.ErrNotFound) && i.row.State == store.CARevoked:
			c.report(dump.Describe(i.row), errorf("it is recorded as revoked, and not listed by its parent, %s", i.row.ParentAuthority))
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	return nil
}

// listedElsewhere reports whether an imported list of the parent, whose keys are kept elsewhere,
// names a CA certificate.
func (c *checker) listedElsewhere(i *caInfo) bool {
	for _, list := range c.externalLists[i.row.ParentAuthority] {
		if bytes.Equal(list.RawIssuer, i.crt.RawIssuer) && revokes(list, i.crt) {
			return true
		}
	}
	return false
}

// signoff checks a request to a parent, and what the parent has answered.
func (c *checker) signoff(v store.Signoff) (problems []problem) {
	add := func(p ...problem) { problems = append(problems, p...) }
	if row, ok := c.rowOf[v.Authority]; ok && row.Parent == "" {
		add(errorf("its authority has no parent"))
	}
	add(c.notFuture("when it was asked for", v.CreatedAt)...)
	csr, err := x509.ParseCertificateRequest(v.Request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return append(problems, errorf("its request cannot be used: %v", err))
	}
	if id, err := pki.KeyID(csr.PublicKey); err != nil || !bytes.Equal(id, v.KeyID) {
		add(errorf("its key identifier is %x, and that of its key %x", v.KeyID, id))
	}
	if v.Key.Custody == "" {
		add(errorf("it has no private key"))
	}
	add(c.keyFits(v, v.Key, csr.PublicKey, "its request")...)
	if v.Certificate == nil {
		if !v.InstalledAt.IsZero() {
			add(errorf("it is recorded as signed, and there is no certificate"))
		}
		return problems
	}
	if v.InstalledAt.IsZero() {
		add(errorf("there is a certificate, and it is not recorded when it was put in place"))
	}
	crt, err := x509.ParseCertificate(v.Certificate)
	if err != nil {
		return append(problems, errorf("its certificate cannot be parsed: %v", err))
	}
	if !pki.SameKey(crt.PublicKey, csr.PublicKey) || !bytes.Equal(crt.RawSubject, csr.RawSubject) {
		add(errorf("its certificate is not what was asked for"))
	}
	if !crt.BasicConstraintsValid || !crt.IsCA {
		add(errorf("its certificate is not one of a CA"))
	}
	if parent := c.rowOf[v.Authority].Parent; parent != "" {
		add(c.signedByAny(parent, crt)...)
	}
	return problems
}

// externalList checks an imported revocation list, of a CA whose key is kept elsewhere.
func (c *checker) externalList(of store.AuthorityName, keyID []byte, list *x509.RevocationList, err error) []problem {
	if err != nil {
		return []problem{errorf("it is not a revocation list: %v", err)}
	}
	for _, i := range c.tally(of).cas {
		if i.crt == nil || !bytes.Equal(i.row.KeyID, keyID) {
			continue
		}
		if err := list.CheckSignatureFrom(i.crt); err != nil {
			return []problem{errorf("it is not signed by CA %d: %v", i.row.ID, err)}
		}
		if i.row.State == store.CAUsable {
			return []problem{warningf("CA %d makes its lists here: this one is of no use", i.row.ID)}
		}
		c.externalLists[of] = append(c.externalLists[of], list)
		return c.notFuture("its time", list.ThisUpdate)
	}
	return []problem{errorf("its authority has no CA with key identifier %s", hex.EncodeToString(keyID))}
}
