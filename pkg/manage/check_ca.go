package manage

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

func errorf(format string, args ...any) problem {
	return problem{SeverityError, fmt.Sprintf(format, args...)}
}
func warningf(format string, args ...any) problem {
	return problem{SeverityWarning, fmt.Sprintf(format, args...)}
}

// A caInfo is a CA that has been read.
type caInfo struct {
	row store.CA
	crt *x509.Certificate // nil if it cannot be parsed
}

// skipped reports whether a CA was set aside before its time: one that was made while the clock was
// ahead, or that the parent has revoked. The CA after it succeeds the one before it.
func (i *caInfo) skipped() bool {
	return i.row.State == store.CADisowned || i.row.State == store.CARevoked
}

// ca checks a CA, and keeps it for the certificates that it has signed.
func (c *checker) ca(v store.CA) []problem {
	t := c.tally(v.Authority)
	info := &caInfo{row: v}
	before := t.cas
	t.cas = append(t.cas, info)
	c.cas[caRef{v.Authority, v.ID}] = info
	crt, err := x509.ParseCertificate(v.Certificate)
	if err != nil {
		return []problem{errorf("its certificate cannot be parsed: %v", err)}
	}
	info.crt = crt
	problems := c.caCertificate(v, crt)
	pki.AsCA(crt, v.KeyID) // as the authority does
	if v.ParentAuthority != "" {
		c.below = append(c.below, info)
	}
	problems = append(problems, anchor(v, crt)...)
	problems = append(problems, c.caKey(info)...)
	problems = append(problems, activation(v)...)
	problems = append(problems, c.link(info, before)...)
	for _, older := range before {
		if older.crt != nil && bytes.Equal(older.row.KeyID, v.KeyID) {
			problems = append(problems, errorf("it has the key identifier of CA %d", older.row.ID))
		}
	}
	for ref, other := range c.cas {
		if ref.authority != v.Authority && bytes.Equal(other.row.KeyID, v.KeyID) {
			problems = append(problems, errorf("it has the key identifier of a CA of %s: what one issues is good for the other", ref.authority))
		}
	}
	if v.CreatedAt.Before(v.NotBefore.Add(-tolerance)) || v.CreatedAt.After(v.NotAfter) {
		// Which CA signs depends on its age.
		problems = append(problems, warningf("it is said to have been made at %s, when it is not valid", v.CreatedAt.Format(time.RFC3339)))
	}
	if n := len(before); n > 0 && v.CreatedAt.Before(before[n-1].row.CreatedAt) {
		problems = append(problems, warningf("it is older than CA %d, which was stored before", before[n-1].row.ID))
	}
	return append(problems, c.notFuture("the time when it was made", v.CreatedAt)...)
}

func (c *checker) caCertificate(v store.CA, crt *x509.Certificate) (problems []problem) {
	// Warnings only, as the certificate may have been imported.
	if !crt.BasicConstraintsValid || !crt.IsCA {
		problems = append(problems, warningf("its certificate is not one of a CA"))
	}
	switch {
	case v.ParentAuthority == "" && !selfIssued(crt):
		problems = append(problems, warningf("its certificate is not self-signed"))
	case v.ParentAuthority != "" && selfIssued(crt):
		problems = append(problems, errorf("its certificate is self-signed, and recorded as one of %s", v.ParentAuthority))
	case v.ParentAuthority != "": // see signedByParent
	case badlySelfSigned(crt):
		problems = append(problems, errorf("its certificate is not signed by its own key"))
	}
	if problem := sameTimes(v.NotBefore, v.NotAfter, crt); problem != nil {
		problems = append(problems, *problem)
	}
	id := crt.SubjectKeyId
	if len(id) == 0 {
		id, _ = pki.KeyID(crt.PublicKey) // nil is not equal either
	}
	if !bytes.Equal(id, v.KeyID) {
		problems = append(problems, errorf("its key identifier is %x, and that of its certificate %x", v.KeyID, id))
	}
	return problems
}

// anchor checks the self-signed certificate beside one that a parent has signed.
func anchor(v store.CA, crt *x509.Certificate) []problem {
	if v.Anchor == nil {
		return nil
	}
	self, err := x509.ParseCertificate(v.Anchor)
	switch {
	case err != nil:
		return []problem{errorf("its self-signed certificate cannot be parsed: %v", err)}
	case v.ParentAuthority == "":
		return []problem{errorf("it has a self-signed certificate beside its own, and no parent")}
	case !selfIssued(self) || badlySelfSigned(self):
		return []problem{errorf("its self-signed certificate is not signed by its own key")}
	}
	if err := pki.CheckAnchorOf(self, crt); err != nil {
		return []problem{errorf("%v", err)}
	}
	e, err := envelope.Parse(v.ParentLink)
	if err == nil {
		err = e.Verify(self.PublicKey)
	}
	if err != nil {
		return []problem{errorf("its statement about the parent cannot be used: %v", err)}
	}
	payload, err := envelope.DecodeLink(e.Payload())
	if err != nil || payload.OldPEM != string(pki.EncodeCertificatePEM(v.Anchor)) || payload.NewPEM != string(pki.EncodeCertificatePEM(v.Certificate)) {
		return []problem{errorf("its statement about the parent is about other certificates")}
	}
	return nil
}

// activation checks when a CA begins to sign.
func activation(v store.CA) []problem {
	switch v.Activation {
	case store.ByAge:
		if !v.ActivatedAt.IsZero() {
			return []problem{warningf("it is said to sign since %s, and nothing says why", v.ActivatedAt.Format(time.RFC3339))}
		}
	case store.AtOnce, store.WhenAdopted, store.WhenAdoptedWithdraw:
		switch {
		case v.ActivatedAt.IsZero():
			return []problem{warningf("it is recorded as started out of turn, and not since or until when")}
		case v.ActivatedAt.Before(v.NotBefore) || v.ActivatedAt.After(v.NotAfter):
			return []problem{warningf("it is said to sign from %s on, when it is not valid", v.ActivatedAt.Format(time.RFC3339))}
		}
	default:
		return []problem{errorf("there is no activation %.40q", string(v.Activation))}
	}
	return nil
}

// sameTimes compares whole seconds, which is what certificates hold.
func sameTimes(notBefore, notAfter time.Time, crt *x509.Certificate) *problem {
	if notBefore.Unix() == crt.NotBefore.Unix() && notAfter.Unix() == crt.NotAfter.Unix() {
		return nil
	}
	p := errorf("it is recorded as valid from %s to %s, and its certificate says from %s to %s",
		notBefore.Format(time.RFC3339), notAfter.Format(time.RFC3339),
		crt.NotBefore.Format(time.RFC3339), crt.NotAfter.Format(time.RFC3339))
	return &p
}

func (c *checker) caKey(i *caInfo) []problem {
	v := i.row
	hasKey := v.Key.Custody != "" || len(v.Key.Ref) > 0
	switch v.State {
	case store.CAUsable:
		if !hasKey {
			return []problem{errorf("it is recorded as usable, and has no private key")}
		}
		return c.keyFits(v, v.Key, i.crt.PublicKey, "its certificate")
	case store.CAErased, store.CADisowned, store.CARevoked, store.CACompromised, store.CAExternal:
	default:
		return []problem{errorf("there is no state %.40q", string(v.State))}
	}
	switch {
	case hasKey:
		return []problem{errorf("it is recorded as %s, and its private key is still there", v.State)}
	case v.State == store.CADisowned, v.State == store.CAErased && c.now.Before(v.NotAfter):
		return []problem{warningf("its private key is gone, although its certificate is valid until %s: nothing can be signed with it",
			v.NotAfter.Format(time.RFC3339))}
	}
	return nil
}

// keyFits checks the private key of a row, if it is in the row. In other custody it is not within reach.
func (c *checker) keyFits(row store.Row, ref store.KeyRef, pub crypto.PublicKey, of string) []problem {
	switch ref.Custody {
	case keys.SealedCustody:
		return c.sealedFits(row, ref, pub, of)
	case store.CustodyRow:
		c.exposed++
	default:
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(ref.InRow())
	if err != nil {
		return []problem{errorf("its private key cannot be parsed")} // the error must not quote the key
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !pki.SameKey(signer.Public(), pub) {
		return []problem{errorf("its private key is not that of %s", of)}
	}
	return nil
}

func selfIssued(crt *x509.Certificate) bool { return bytes.Equal(crt.RawSubject, crt.RawIssuer) }

// link checks that the CA before has vouched for this one: by it, hosts that know the one come to
// trust the other.
func (c *checker) link(i *caInfo, before []*caInfo) []problem {
	var last *caInfo
	for _, older := range before {
		if !older.skipped() {
			last = older
		}
	}
	switch {
	case i.row.Link == nil && (len(before) == 0 || c.rowOf[i.row.Authority].Role == store.RoleDaemon || last == nil):
		return nil // the CA of the daemon's own certificates is made anew when the daemon moves
	case i.row.Link == nil:
		return []problem{warningf("CA %d does not vouch for it: hosts that trust that one only cannot come to trust this one by themselves", last.row.ID)}
	}
	e, err := envelope.Parse(i.row.Link)
	if err != nil {
		return []problem{errorf("its link cannot be parsed: %v", err)}
	}
	payload, err := envelope.DecodeLink(e.Payload())
	if err != nil {
		return []problem{errorf("its link cannot be parsed: %v", err)}
	}
	successor, err := pki.ParseCertificatePEM([]byte(payload.NewPEM))
	if err != nil || !bytes.Equal(successor.Raw, i.row.Trusted()) {
		return []problem{errorf("its link leads to another certificate")}
	}
	old, err := pki.ParseCertificatePEM([]byte(payload.OldPEM))
	if err != nil {
		return []problem{errorf("its link starts at something else than a certificate")}
	}
	for _, older := range before {
		if older.crt == nil || !bytes.Equal(older.row.Trusted(), old.Raw) {
			continue
		}
		if err := e.Verify(older.crt.PublicKey); err != nil {
			return []problem{errorf("its link is not signed by CA %d: %v", older.row.ID, err)}
		}
		if older != last && last != nil {
			return []problem{warningf("its link starts at CA %d and not at CA %d, the one before", older.row.ID, last.row.ID)}
		}
		return nil
	}
	return []problem{errorf("its link starts at a certificate that is not one of an older CA here")}
}
