package clienttest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// Lives of what an Authority issues.
const (
	LeafLife = 93 * 24 * time.Hour
	CALife   = 4 * LeafLife
	CRLLife  = LeafLife / 3
)

// A CA is one generation of an Authority.
type CA struct {
	Crt *x509.Certificate
	Key crypto.Signer

	// Below is signed by a parent, for the same name and key as Crt, which is self-signed then; nil otherwise.
	Below *x509.Certificate
}

// An Authority is a CA in memory. Its exported members may be set before requests come.
type Authority struct {
	// ReasonInQuery looks for the reason of a rejection there only, as daemons of before do.
	ReasonInQuery bool

	AutoApprove int // how many of the next requests are signed at once
	Number      int64

	// KeyType is that of the CA certificates that come next.
	KeyType pki.KeyType

	// Parent signs the CA certificates that come next, nil for the key itself.
	Parent *Authority

	// Bare has the next CA certificates be those by the parent, without a self-signed one beside them, as they were
	// in earlier daemons.
	Bare bool

	// Approvals are the profiles and validities that signatures were asked for with, and
	// Profiles those of requests, as in "profile=server&validity=3600".
	Approvals, Profiles []string

	// OneSubject gives all generations the same subject, as caucase does, and cauase once did.
	OneSubject bool

	t     testing.TB
	clock clock.Clock
	name  string

	mu      sync.Mutex
	cas     []CA
	gone    map[string]bool   // withdrawn ones, by their certificates
	held    map[string]string // key identifiers of CA certificates that holders say they have, by their serials
	nextID  uint64
	csrs    map[uint64][]byte
	refused map[uint64]rejection
	issued  map[uint64][]byte
	record  []*x509.Certificate // all of them, renewals included
	revoked []x509.RevocationListEntry

	serving sync.Mutex // guards what follows
	lists   []byte     // the last CRLs, of what they were, and when they were made
	listsOf string
	listsAt time.Time
}

// NewAuthority makes an authority with one CA certificate, self-signed.
func NewAuthority(t testing.TB, clock clock.Clock, name string) *Authority {
	t.Helper()
	return NewAuthorityUnder(t, clock, name, nil)
}

// NewAuthorityUnder makes an authority with one CA certificate, signed by that of parent.
func NewAuthorityUnder(t testing.TB, clock clock.Clock, name string, parent *Authority) *Authority {
	t.Helper()
	return newAuthority(t, clock, name, parent, pki.KeyECDSAP256)
}

func newAuthority(t testing.TB, clock clock.Clock, name string, parent *Authority, keyType pki.KeyType) *Authority {
	t.Helper()
	a := &Authority{t: t, clock: clock, name: name, Parent: parent, KeyType: keyType, nextID: 1000, Number: 1, csrs: map[uint64][]byte{}, refused: map[uint64]rejection{}, issued: map[uint64][]byte{}}
	a.Rollover()
	return a
}

func (a *Authority) must(err error) {
	if err != nil {
		a.t.Error(err)
		panic(err)
	}
}

// Rollover makes the next CA certificate, which signs from now on.
func (a *Authority) Rollover() CA {
	var ca CA
	if a.Parent == nil {
		ca = a.NewCA(a.name, a.generation)
	} else {
		if ca = a.Parent.NewCABelow(a.name, a.generation); !a.Bare {
			ca = a.Anchored(ca)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cas = append(a.cas, ca)
	return ca
}

// generation gives a CA certificate the subject of the authority's next one.
func (a *Authority) generation(template *x509.Certificate) {
	if a.OneSubject || len(a.Generations()) == 0 {
		return
	}
	template.Subject.SerialNumber = fmt.Sprintf("%s-%x", template.NotBefore.UTC().Format("20060102"), template.SubjectKeyId[:8])
}

// Adopt makes a CA the one that signs from now on.
func (a *Authority) Adopt(ca CA) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cas = append(a.cas, ca)
}

// NewCA makes a CA certificate that is not the authority's, unless someone makes it so.
func (a *Authority) NewCA(name string, change ...func(*x509.Certificate)) CA {
	template, key := a.template(name)
	template.AuthorityKeyId = template.SubjectKeyId
	for _, c := range change {
		c(template)
	}
	return CA{Crt: a.create(template, template, key.Public(), key), Key: key}
}

// NewCABelow makes a CA certificate that the authority's newest CA signs.
func (a *Authority) NewCABelow(name string, change ...func(*x509.Certificate)) CA {
	template, key := a.template(name)
	for _, c := range change {
		c(template)
	}
	parent := a.Newest()
	return CA{Crt: a.create(template, parent.Crt, key.Public(), parent.Key), Key: key}
}

// Anchored puts a self-signed certificate in front of one that a parent has signed.
func (a *Authority) Anchored(ca CA, change ...func(*x509.Certificate)) CA {
	template := *ca.Crt
	template.SerialNumber, template.AuthorityKeyId = a.serial(), ca.Crt.SubjectKeyId
	for _, c := range change {
		c(&template)
	}
	return CA{Crt: a.create(&template, &template, ca.Key.Public(), ca.Key), Key: ca.Key, Below: ca.Crt}
}

// Certify has the newest CA sign for the name and key of another one.
func (a *Authority) Certify(ca CA) *x509.Certificate {
	template, parent := *ca.Crt, a.Newest()
	template.SerialNumber, template.AuthorityKeyId = a.serial(), nil
	return a.create(&template, parent.Crt, ca.Key.Public(), parent.Key)
}

// template is that of any CA certificate of a new key. One at the top may sign others.
func (a *Authority) template(name string) (*x509.Certificate, crypto.Signer) {
	key, err := a.KeyType.Generate()
	a.must(err)
	id, err := pki.KeyID(key.Public())
	a.must(err)
	now := a.clock.Now()
	return &x509.Certificate{
		SerialNumber: a.serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now, NotAfter: now.Add(CALife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1,
		KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: id,
	}, key
}

// ChainOf returns the CA certificates between crt and its root, the nearest first.
func (a *Authority) ChainOf(crt *x509.Certificate) []*x509.Certificate {
	if a.Parent == nil {
		return nil
	}
	for _, ca := range a.below() {
		if crt.CheckSignatureFrom(ca) == nil {
			return append([]*x509.Certificate{ca}, a.Parent.ChainOf(ca)...)
		}
	}
	return nil
}

// Roots returns the self-signed certificates that verify what the authority has issued.
func (a *Authority) Roots() []*x509.Certificate {
	var roots []*x509.Certificate
	for _, g := range a.Generations() {
		ca := g.Crt
		if g.Below == nil && bytes.Equal(ca.RawIssuer, ca.RawSubject) && pki.CheckValidity(ca, a.clock.Now()) == nil {
			roots = append(roots, ca)
		}
	}
	if a.Parent != nil {
		roots = append(roots, a.Parent.Roots()...)
	}
	return roots
}

// below are the CA certificates that a parent has signed.
func (a *Authority) below() (crts []*x509.Certificate) {
	for _, ca := range a.Generations() {
		switch {
		case ca.Below != nil:
			crts = append(crts, ca.Below)
		case !bytes.Equal(ca.Crt.RawIssuer, ca.Crt.RawSubject):
			crts = append(crts, ca.Crt)
		}
	}
	return crts
}

// ParentStatements are those of self-signed CA certificates about the ones by the parent.
func (a *Authority) ParentStatements() []byte {
	statements := []json.RawMessage{}
	for _, ca := range a.Generations() {
		if ca.Below != nil {
			statements = append(statements, a.Link(ca, CA{Crt: ca.Below}))
		}
	}
	data, err := json.Marshal(statements)
	a.must(err)
	return data
}

// Bundle writes certificates one behind the other.
func Bundle(crts ...*x509.Certificate) []byte {
	var all []byte
	for _, crt := range crts {
		all = append(all, pki.EncodeCertificatePEM(crt.Raw)...)
	}
	return all
}

// chained adds the chain to a certificate, for those who take that.
func (a *Authority) chained(r *http.Request, leaf []byte) []byte {
	if leaf == nil || r.Header.Get("Accept") != "application/pem-certificate-chain" {
		return leaf
	}
	crt, err := pki.ParseCertificatePEM(leaf)
	a.must(err)
	return append(leaf[:len(leaf):len(leaf)], Bundle(a.ChainOf(crt)...)...)
}

func (a *Authority) create(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	a.must(err)
	crt, err := x509.ParseCertificate(der)
	a.must(err)
	return crt
}

func (a *Authority) serial() *big.Int {
	serial, err := pki.NewSerial()
	a.must(err)
	return serial
}

// Newest returns the generation that signs.
func (a *Authority) Newest() CA {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cas[len(a.cas)-1]
}

// Oldest returns the first generation still valid.
func (a *Authority) Oldest() *x509.Certificate {
	for _, crt := range a.certificates() {
		if pki.CheckValidity(crt, a.clock.Now()) == nil {
			return crt
		}
	}
	return a.Newest().Crt
}

// Generations returns all there ever were, oldest first.
func (a *Authority) Generations() []CA {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.cas), func(ca CA) bool { return a.gone[string(ca.Crt.Raw)] })
}

func (a *Authority) certificates() []*x509.Certificate {
	var crts []*x509.Certificate
	for _, ca := range a.Generations() {
		crts = append(crts, ca.Crt)
	}
	return crts
}

// Chain is the signed succession, from the first generation on.
func (a *Authority) Chain() []byte {
	var links []json.RawMessage
	a.mu.Lock()
	cas := slices.Clone(a.cas)
	a.mu.Unlock()
	for i := 1; i < len(cas); i++ {
		links = append(links, a.Link(cas[i-1], cas[i]))
	}
	data, err := json.Marshal(append([]json.RawMessage{}, links...))
	a.must(err)
	return data
}

// Link is old's word for new.
func (a *Authority) Link(old, new CA) []byte {
	payload, err := envelope.EncodeLink(envelope.Link{
		OldPEM: string(pki.EncodeCertificatePEM(old.Crt.Raw)),
		NewPEM: string(pki.EncodeCertificatePEM(new.Crt.Raw)),
	})
	a.must(err)
	data, err := envelope.Sign(old.Key, payload)
	a.must(err)
	return data
}

// Sign signs a payload with the newest CA's key.
func (a *Authority) Sign(payload []byte) []byte {
	data, err := envelope.Sign(a.Newest().Key, payload)
	a.must(err)
	return data
}

// CRLs returns a revocation list of each valid generation, the same as long as Number does not change and less than half
// of their life has passed.
func (a *Authority) CRLs() []byte {
	a.serving.Lock()
	defer a.serving.Unlock()
	now, number := a.clock.Now(), a.number()
	var valid []CA
	key := fmt.Sprint(number)
	for _, ca := range a.Generations() {
		if pki.CheckValidity(ca.Crt, now) == nil {
			valid = append(valid, ca)
			key += fmt.Sprintf(" %x", ca.Crt.SubjectKeyId)
		}
	}
	if key == a.listsOf && now.Sub(a.listsAt).Abs() < CRLLife/2 {
		return a.lists
	}
	var all [][]byte
	for _, ca := range valid {
		all = append(all, a.CRL(ca, number, now))
	}
	a.lists, a.listsOf, a.listsAt = bytes.Join(all, []byte("\n")), key, now
	return a.lists
}

// CRL makes one revocation list in PEM.
func (a *Authority) CRL(ca CA, number int64, thisUpdate time.Time) []byte {
	return a.crl(ca, number, thisUpdate)
}

// PartialCRL makes a delta CRL, which lists nothing, in PEM.
func (a *Authority) PartialCRL(ca CA, number int64, thisUpdate time.Time) []byte {
	indicator := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
	return a.crl(ca, number, thisUpdate, indicator)
}

func (a *Authority) crl(ca CA, number int64, thisUpdate time.Time, extensions ...pkix.Extension) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: thisUpdate, NextUpdate: thisUpdate.Add(CRLLife),
		RevokedCertificateEntries: a.revoked, ExtraExtensions: extensions,
	}, ca.Crt, ca.Key)
	a.must(err)
	return pki.EncodeCRLPEM(der)
}

// Issue makes a certificate for pub, with changes to what is usual.
func (a *Authority) Issue(csr *x509.CertificateRequest, pub crypto.PublicKey, change ...func(*x509.Certificate)) *x509.Certificate {
	ca := a.Newest()
	now := a.clock.Now()
	template := &x509.Certificate{
		SerialNumber: a.serial(), RawSubject: csr.RawSubject, Subject: csr.Subject,
		NotBefore: now, NotAfter: now.Add(LeafLife), BasicConstraintsValid: true,
		DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses, EmailAddresses: csr.EmailAddresses, URIs: csr.URIs,
	}
	for _, ext := range csr.Extensions {
		if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) { // extended key usage
			template.ExtraExtensions = append(template.ExtraExtensions, ext)
		}
	}
	for _, c := range change {
		c(template)
	}
	crt := a.create(template, ca.Crt, pub, ca.Key)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record = append(a.record, crt)
	return crt
}

// IssueServer makes a certificate for an HTTPS server.
func (a *Authority) IssueServer(t testing.TB, ip string) tls.Certificate {
	t.Helper()
	key, err := pki.KeyECDSAP256.Generate()
	a.must(err)
	crt := a.Issue(&x509.CertificateRequest{IPAddresses: []net.IP{net.ParseIP(ip)}}, key.Public())
	return tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key}
}

// Revoked reports whether a serial is.
func (a *Authority) Revoked(serial *big.Int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, entry := range a.revoked {
		if entry.SerialNumber.Cmp(serial) == 0 {
			return true
		}
	}
	return false
}

// Revocations returns what was revoked.
func (a *Authority) Revocations() []x509.RevocationListEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]x509.RevocationListEntry(nil), a.revoked...)
}

func (a *Authority) submit(w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := pki.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	query := r.URL.Query()
	if query.Get("once") != "" && a.rejectedBefore(w, body) {
		a.mu.Unlock()
		return
	}
	query.Del("once")
	id := a.nextID
	known := false
	for old, csr := range a.csrs {
		if bytes.Equal(csr, body) {
			id, known = old, true
		}
	}
	approve := !known && a.AutoApprove > 0
	if !known {
		a.nextID++
		a.csrs[id] = body
		a.Profiles = append(a.Profiles, query.Encode())
	}
	if approve {
		a.AutoApprove--
	}
	a.mu.Unlock()
	if approve {
		crt := a.Issue(req.CSR, req.CSR.PublicKey)
		a.mu.Lock()
		a.issued[id] = pki.EncodeCertificatePEM(crt.Raw)
		a.mu.Unlock()
	}
	w.Header().Set("Location", strconv.FormatUint(id, 10))
	w.WriteHeader(http.StatusCreated)
}

func (a *Authority) request(id uint64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.csrs[id]
}

func (a *Authority) certificate(id uint64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued[id]
}

func (a *Authority) sign(w http.ResponseWriter, r *http.Request, id uint64, template []byte) {
	stored := a.request(id)
	if stored == nil || a.certificate(id) != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	req, err := pki.ParseRequest(stored)
	a.must(err)
	names := req
	if len(template) > 0 {
		if names, err = pki.ParseRequest(template); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	crt := a.Issue(names.CSR, req.CSR.PublicKey)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued[id] = pki.EncodeCertificatePEM(crt.Raw)
	a.Approvals = append(a.Approvals, r.URL.RawQuery)
	w.WriteHeader(http.StatusNoContent)
}

func (a *Authority) reject(w http.ResponseWriter, r *http.Request, id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.csrs[id] == nil || a.issued[id] != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	reason, err := url.PathUnescape(r.Header.Get("Cauase-Reason"))
	a.must(err)
	if query := r.URL.Query(); query.Has("reason") && (reason == "" || a.ReasonInQuery) {
		if reason = query.Get("reason"); reason == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	a.refused[id] = rejection{csr: a.csrs[id], at: a.clock.Now(), reason: reason}
	delete(a.csrs, id)
	w.WriteHeader(http.StatusNoContent)
}

func (a *Authority) renew(w http.ResponseWriter, r *http.Request, body []byte) {
	message, err := envelope.Parse(body)
	a.must(err)
	renewal, err := envelope.DecodeRenewal(message.Payload())
	a.must(err)
	crt, err := pki.ParseCertificatePEM([]byte(renewal.CertificatePEM))
	a.must(err)
	req, err := pki.ParseRequest([]byte(renewal.RequestPEM))
	a.must(err)
	_, err = pki.VerifyIssued(crt, a.certificates(), a.clock.Now())
	if err != nil || message.Verify(crt.PublicKey) != nil || a.Revoked(crt.SerialNumber) {
		http.Error(w, "not the holder of a valid certificate", http.StatusBadRequest)
		return
	}
	renewed := a.Issue(&x509.CertificateRequest{
		RawSubject: crt.RawSubject,
		DNSNames:   crt.DNSNames, IPAddresses: crt.IPAddresses, EmailAddresses: crt.EmailAddresses, URIs: crt.URIs,
	}, req.CSR.PublicKey)
	_, _ = w.Write(a.chained(r, pki.EncodeCertificatePEM(renewed.Raw)))
}

func (a *Authority) revoke(w http.ResponseWriter, body []byte, user bool) {
	message, err := envelope.Parse(body)
	a.must(err)
	rev, err := envelope.DecodeRevocation(message.Payload())
	a.must(err)
	serial := rev.Serial
	if serial == nil {
		crt, err := pki.ParseCertificatePEM([]byte(rev.CertificatePEM))
		a.must(err)
		serial = crt.SerialNumber
		if !message.Null() && message.Verify(crt.PublicKey) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	if message.Null() && !requireUser(w, user) {
		return
	}
	if a.Revoked(serial) {
		http.Error(w, "certificate revoked", http.StatusConflict)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: a.clock.Now(), ReasonCode: rev.Reason})
	a.Number++
	w.WriteHeader(http.StatusNoContent)
}

// quiet keeps refused handshakes, which are the point of a test, out of its output.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
