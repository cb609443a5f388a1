package manage

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"cauase/pkg/dump"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

func (c *checker) request(v store.Request) []problem {
	t := c.tally(v.Authority)
	t.pending++
	problems := c.notFuture("when it was received", v.ReceivedAt)
	req, err := pki.ParseRequest(v.PEM)
	if err != nil {
		if foreign, unusable := pki.ParseForeign(v.PEM); unusable == nil {
			req, err = foreign, nil
		}
	}
	if err != nil {
		return append(problems, errorf("it cannot be parsed: %v", err))
	}
	if !bytes.Equal(req.Digest[:], v.Digest) {
		problems = append(problems, errorf("its digest is that of another request"))
	}
	if !bytes.Equal(req.KeyID, v.KeyID) {
		problems = append(problems, errorf("its key identifier is %x, and that of its key %x", v.KeyID, req.KeyID))
	}
	if req.Subject != v.Subject || !slices.Equal(req.SANs, v.SANs) {
		problems = append(problems, errorf("it asks for other names than are shown"))
	}
	return problems
}

// rejection checks what is remembered of a request that was rejected, of which nothing but its digest is kept.
func (c *checker) rejection(v store.Rejection) []problem {
	problems := c.notFuture("when it was made", v.RejectedAt)
	if len(v.Digest) != sha256.Size {
		problems = append(problems, errorf("its digest has %d bytes, and not %d", len(v.Digest), sha256.Size))
	}
	return problems
}

// submitCertificate counts a certificate and sees to it that it is verified.
func (c *checker) submitCertificate(v store.Certificate) {
	switch v.Method {
	case store.Signed, store.AutoSigned, store.TemplateSign, store.Invited:
		c.tally(v.Authority).signed++
	}
	if c.issued == nil {
		c.issued = newVerifier(c)
	}
	c.issued.add(v)
}

// awaitCertificates waits until all certificates so far are verified.
func (c *checker) awaitCertificates() {
	if c.issued != nil {
		c.issued.finish()
		c.issued = nil
	}
}

// certificate checks an issued certificate. It is called from several goroutines, and changes nothing.
func (c *checker) certificate(v store.Certificate) []problem {
	ca := c.cas[caRef{v.Authority, v.CAID}]
	crt, err := pki.ParseIssuedDER(v.DER)
	if err != nil {
		return []problem{errorf("it cannot be parsed: %v", err)}
	}
	var problems []problem
	add := func(p ...problem) { problems = append(problems, p...) }
	switch {
	case ca == nil:
		add(errorf("its authority has no CA %d", v.CAID))
	case ca.crt != nil:
		add(issuedBy(crt, ca)...)
	}
	add(c.certifiesCA(v, crt)...)
	if v.Serial == nil || crt.SerialNumber.Cmp(v.Serial) != 0 {
		add(errorf("it is recorded with serial %#x, and has %#x", v.Serial, crt.SerialNumber))
	}
	if p := sameTimes(v.NotBefore, v.NotAfter, crt); p != nil {
		add(*p)
	}
	keyID, err := pki.KeyIDOf(crt)
	if err != nil {
		add(errorf("its key cannot be identified: %v", err))
	}
	if !bytes.Equal(keyID, v.KeyID) {
		add(errorf("its key identifier is %x, and that of its key %x", v.KeyID, keyID))
	}
	if pki.SubjectString(crt.RawSubject) != v.Subject || !slices.EqualFunc(pki.SANStrings(crt.Extensions), v.SANs, sameShown) {
		add(errorf("it has other names than are shown"))
	}
	if v.ID <= 0 {
		add(errorf("its id is not a positive number"))
	}
	if v.IssuedBy == "" {
		add(errorf("it does not say who has issued it"))
	}
	ahead := v.Method == store.CASigned // a parent may sign off what is needed later
	if v.IssuedAt.Before(v.NotBefore.Add(-tolerance)) && !ahead || v.IssuedAt.After(v.NotAfter) {
		add(warningf("it is said to have been issued at %s, when it is not valid", v.IssuedAt.Format(time.RFC3339)))
	}
	switch v.Method {
	case store.Signed, store.AutoSigned, store.Invited, store.Renewed, store.Internal, store.TemplateSign, store.CASigned, store.Recovered:
	default:
		add(warningf("this version does not know the way %q in which it was issued", v.Method))
	}
	add(c.notFuture("when it was issued", v.IssuedAt)...)
	add(compareRequest(v, crt)...)
	return problems
}

// certifiesCA checks that CA certificates are those of authorities below a root, and that a root issues nothing
// else.
func (c *checker) certifiesCA(v store.Certificate, crt *x509.Certificate) []problem {
	root := c.rowOf[v.Authority].Role == store.RoleRoot
	switch {
	case crt.IsCA && v.Method != store.CASigned:
		return []problem{errorf("it is a certificate of a CA")}
	case !crt.IsCA && v.Method == store.CASigned:
		return []problem{errorf("it is recorded as a certificate of a CA, and is none")}
	case crt.IsCA && !root:
		return []problem{errorf("it is a certificate of a CA, and %s is no root", v.Authority)}
	case !crt.IsCA && root:
		return []problem{errorf("it is not a certificate of a CA, and %s is a root", v.Authority)}
	}
	return nil
}

func issuedBy(crt *x509.Certificate, ca *caInfo) (problems []problem) {
	if !bytes.Equal(crt.RawIssuer, ca.crt.RawSubject) {
		problems = append(problems, errorf("its issuer is not CA %d", ca.row.ID))
	}
	if id := crt.AuthorityKeyId; len(id) > 0 && !bytes.Equal(id, ca.crt.SubjectKeyId) && !bytes.Equal(id, ca.crt.AuthorityKeyId) {
		problems = append(problems, errorf("its authority key identifier is not that of CA %d", ca.row.ID))
	}
	if err := crt.CheckSignatureFrom(ca.crt); err != nil {
		problems = append(problems, errorf("its signature does not verify with CA %d: %v", ca.row.ID, err))
	}
	if crt.NotAfter.After(ca.crt.NotAfter) || crt.NotBefore.Before(ca.crt.NotBefore) {
		problems = append(problems, warningf("it is valid at times when CA %d is not", ca.row.ID))
	}
	return problems
}

// compareRequest compares a certificate with the request that it answers. The signature of the request
// was verified when it came.
func compareRequest(v store.Certificate, crt *x509.Certificate) []problem {
	if v.CSR == nil && v.CSRDigest != nil && v.Method != store.Internal && v.Method != store.Renewed {
		return []problem{errorf("its request is gone")}
	}
	if v.CSR == nil {
		return nil
	}
	block, _ := pem.Decode(v.CSR)
	if block == nil {
		return []problem{errorf("its request cannot be parsed")}
	}
	if digest := sha256.Sum256(block.Bytes); !bytes.Equal(digest[:], v.CSRDigest) {
		return []problem{errorf("its request has another digest")}
	}
	key, err := pki.RequestedKey(block.Bytes)
	if err != nil {
		return []problem{errorf("its request cannot be parsed: %v", err)}
	}
	if !bytes.Equal(keyBits(key), keyBits(crt.RawSubjectPublicKeyInfo)) {
		return []problem{errorf("its request is for another key")}
	}
	return nil
}

// keyBits is a public key without the name of its algorithm (RFC 5280 4.1). Caucase certifies RSA keys
// that are for PSS only as RSA keys for everything, and kinds of keys that we do not know.
func keyBits(spki []byte) []byte {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		return nil // which the parser of x509 would not have taken
	}
	return info.Key.Bytes
}

// A verifier checks certificates on all processors, and reports in their order. It holds a few
// batches of them at once.
type verifier struct {
	c       *checker
	open    []store.Certificate // the batch that is being filled
	work    chan *batch
	order   chan *batch
	workers sync.WaitGroup
	told    chan struct{} // closed when all was reported
}

type batch struct {
	rows     []store.Certificate
	problems [][]problem
	done     chan struct{}
}

const batchSize = 64

func newVerifier(c *checker) *verifier {
	n := runtime.GOMAXPROCS(0)
	v := &verifier{c: c, work: make(chan *batch, n), order: make(chan *batch, 2*n), told: make(chan struct{})}
	for range n {
		v.workers.Go(func() {
			for b := range v.work {
				for i := range b.rows {
					b.problems[i] = c.certificate(b.rows[i])
				}
				close(b.done)
			}
		})
	}
	go func() {
		defer close(v.told)
		for b := range v.order {
			<-b.done
			for i, problems := range b.problems {
				if len(problems) > 0 {
					c.report(dump.Describe(b.rows[i]), problems...)
				}
			}
		}
	}()
	return v
}

func (v *verifier) add(row store.Certificate) {
	if v.open = append(v.open, row); len(v.open) == batchSize {
		v.send()
	}
}

func (v *verifier) send() {
	b := &batch{v.open, make([][]problem, len(v.open)), make(chan struct{})}
	v.open = nil
	v.order <- b
	v.work <- b
}

// finish waits until all has been reported. Nothing may be added any more.
func (v *verifier) finish() {
	if len(v.open) > 0 {
		v.send()
	}
	close(v.work)
	v.workers.Wait()
	close(v.order)
	<-v.told
}

// sameShown reports whether a name is on record as it is shown, or as earlier versions have shown it: the kind alone, where
// they did not look into it.
func sameShown(name, recorded string) bool {
	kind, _, _ := strings.Cut(name, ":")
	return name == recorded || kind == recorded
}
