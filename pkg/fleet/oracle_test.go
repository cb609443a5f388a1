package fleet

import (
	"bytes"
	"crypto/x509"
	"errors"
	"math/big"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// An oracle knows what is true: it overhears all that the daemon says, remembers all that was
// revoked, and holds everything against the rules, which it states in its own words.
type oracle struct {
	sim  *sim
	rand *rand.Rand // chooses samples; what happens does not depend on it

	cas     map[store.AuthorityName][]*issuer // oldest first
	byKeyID map[string]*issuer
	leaves  map[string]*leaf // by issuer and serial
	revoked []*leaf          // that have not expired
	lists   map[string]*list // by issuer and number
	last    map[string][]byte

	consents []*consent // of the offline root

	early map[string]ca.Rotation // of those that were started out of turn, by key identifier
}

// An issuer is a CA certificate.
type issuer struct {
	crt     *x509.Certificate // in chains
	anchor  *x509.Certificate // that clients know; crt, unless a parent has signed that
	of      store.AuthorityName
	parent  *issuer // nil when it signs itself
	created time.Time
	shown   time.Time // when the daemon had it
	index   int       // among those of its authority
	number  *big.Int  // of the newest list that was served
	revoked time.Time // zero when it is not

	early  bool      // it was started out of turn
	waits  bool      // for hosts to have it
	active time.Time // since when it was decided that it is; zero while it is not
}

// A leaf is a certificate that was issued.
type leaf struct {
	crt     *x509.Certificate
	serial  string // decimal, as it is looked up millions of times
	issuer  *issuer
	issued  time.Time
	revoked int // step, 0 when it is not
	lineage *lineage
}

// A lineage is a certificate with its renewals, as far as somebody has got them.
type lineage struct{ leaves []*leaf }

// follows takes note that a certificate renews another.
func (l *leaf) follows(old *leaf) {
	if old == nil || l.lineage != nil {
		return
	}
	if old.lineage == nil {
		old.lineage = &lineage{[]*leaf{old}}
	}
	l.lineage = old.lineage
	l.lineage.leaves = append(l.lineage.leaves, l)
}

// A list is a revocation list that was served.
type list struct {
	raw     []byte
	crl     *x509.RevocationList
	serials map[string]bool
}

func newOracle(s *sim) *oracle {
	return &oracle{
		sim:     s,
		rand:    rand.New(rand.NewPCG(s.seed, 1)),
		cas:     map[store.AuthorityName][]*issuer{},
		byKeyID: map[string]*issuer{},
		leaves:  map[string]*leaf{},
		lists:   map[string]*list{},
		last:    map[string][]byte{},
		early:   map[string]ca.Rotation{},
	}
}

// overhear takes note of an answer of the daemon's, whether it arrives or not.
func (o *oracle) overhear(method, path string, status int, body []byte) {
	of, rest := named(path)
	if of == offlineChild {
		o.learn(of) // whatever was asked may have put a sign-off to use
	}
	switch {
	case status == http.StatusServiceUnavailable && o.stalled(of):
		o.sim.stats.refused++
	case status >= 500 && status != http.StatusInsufficientStorage:
		o.sim.violated(exchangesWork, "%s %s: status %d: %s", method, path, status, body)
	case status != http.StatusOK:
	case method == http.MethodPut && rest == "/crt/renew",
		method == http.MethodGet && strings.HasPrefix(rest, "/crt/") && !strings.Contains(rest, "."):
		crts, err := pki.ParseCertificatesPEM(body) // the chain may follow
		if err != nil || len(crts) == 0 {
			o.sim.violated(exchangesWork, "%s %s: %d certificates, %v", method, path, len(crts), err)
			return
		}
		o.issued(of, crts[0])
	case rest == "/crt/ca.crt.json":
		if o.changed(path, body) {
			o.learn(of)
		}
		o.checkSuccession(of)
	case rest == "/crl" && o.changed(path, body):
		o.served(of, body)
	}
}

func (o *oracle) changed(path string, body []byte) bool {
	if bytes.Equal(o.last[path], body) {
		return false
	}
	o.last[path] = bytes.Clone(body)
	return true
}

// learn looks up the daemon's CA certificates, and whether a new one was made in time.
func (o *oracle) learn(of store.AuthorityName) {
	crts, known, err := o.caCertificates(of)
	if err != nil {
		o.sim.violated(exchangesWork, "CA certificates of %s: %v", of, err)
		return
	}
	for n, crt := range crts {
		if o.byKeyID[string(crt.SubjectKeyId)] != nil {
			continue
		}
		older := o.cas[of]
		i := &issuer{crt: crt, anchor: known[n], of: of, created: crt.NotBefore.Add(backdate), index: len(older), number: new(big.Int)}
		i.shown = i.created
		how, early := o.early[string(crt.SubjectKeyId)]
		i.early, i.waits = early, how.Begin == store.WhenAdopted
		switch of {
		case offlineRoot:
			i.created, i.shown = crt.NotBefore.Add(byHand), o.sim.now()
		case offlineChild:
			i.created, i.shown = o.sim.now(), o.sim.now() // its certificate has been in stock
		}
		if i.index > 0 {
			before := older[i.index-1]
			if left := before.crt.NotAfter.Sub(i.created); left > 2*o.span(of) && !i.early {
				o.sim.violated(inTime, "a CA certificate of %s was made when the one before had %v left", of, left)
			}
		}
		o.cas[of] = append(older, i)
		o.byKeyID[string(crt.SubjectKeyId)] = i
		o.checkParent(i)
	}
}

// caCertificates are those of an authority, as chains have them and as those know them who trust it.
func (o *oracle) caCertificates(of store.AuthorityName) (crts, known []*x509.Certificate, err error) {
	if of != offlineChild && of != offlineRoot {
		if crts, err = o.sim.daemon.authority(of).Intermediates(o.sim.ctx); err == nil {
			known, err = o.sim.daemon.authority(of).CACertificates(o.sim.ctx)
		}
		return crts, known, err
	}
	// Commands of operators bring them and put them to use, too, without the daemon.
	err = o.sim.daemon.db.View(o.sim.ctx, func(r store.Reader) error {
		rows, err := r.CAs(o.sim.ctx, of)
		for _, row := range rows {
			crt, err1 := x509.ParseCertificate(row.Certificate)
			anchor, err2 := x509.ParseCertificate(row.Trusted())
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			crts, known = append(crts, crt), append(known, anchor)
		}
		return err
	})
	return crts, known, err
}

// checkSuccession makes sure that whoever asks now leaves with a CA certificate for a long absence.
func (o *oracle) checkSuccession(of store.AuthorityName) {
	if of == offlineRoot || of == offlineChild {
		return // for which somebody has to come: see signedOff and checkSignoffs
	}
	newest := o.cas[of][len(o.cas[of])-1]
	if left := newest.crt.NotAfter.Sub(o.sim.now()); left < 2*o.span(of) {
		o.sim.violated(inTime, "the newest CA certificate of %s has %v left, and no successor", of, left)
	}
}

func (o *oracle) find(of store.AuthorityName, keyID []byte) *issuer {
	if i := o.byKeyID[string(keyID)]; i != nil {
		return i
	}
	o.learn(of)
	return o.byKeyID[string(keyID)]
}

// active is the rollover rule: which CA of an authority signs at a time.
func (o *oracle) active(of store.AuthorityName, at time.Time) *issuer {
	var oldest *issuer
	for _, i := range slices.Backward(o.cas[of]) {
		if at.Before(i.created) || at.After(i.crt.NotAfter) || i.revokedAt(at) {
			continue
		}
		if at.Sub(i.created) > o.span(of) || o.decided(i) && !at.Before(i.active) {
			return i
		}
		oldest = i
	}
	return oldest
}

func leafID(i *issuer, serial *big.Int) string { return string(i.crt.SubjectKeyId) + serial.String() }

// issued takes note of a certificate, and checks that it is one that the rules allow.
func (o *oracle) issued(of store.AuthorityName, crt *x509.Certificate) *leaf {
	i := o.find(of, crt.AuthorityKeyId)
	if i == nil || i.of != of {
		o.sim.violated(activeSigns, "certificate %s is from a CA that %s does not have", crt.SerialNumber, of)
		return &leaf{crt: crt, serial: crt.SerialNumber.String()}
	}
	if known := o.leaves[leafID(i, crt.SerialNumber)]; known != nil {
		return known
	}
	l := &leaf{crt: crt, serial: crt.SerialNumber.String(), issuer: i, issued: crt.NotBefore.Add(backdate)}
	o.leaves[leafID(i, crt.SerialNumber)] = l
	if _, err := pki.VerifyIssued(crt, []*x509.Certificate{i.crt}, l.issued); err != nil {
		o.sim.violated(activeSigns, "when it was issued, certificate %s: %v", crt.SerialNumber, err)
	}
	if i.revokedAt(l.issued) {
		o.sim.violated(revokedIsOut, "generation %d of %s signed after it was revoked", i.index, of)
		return l
	}
	switch signs := o.active(of, l.issued); {
	case signs == nil:
		o.sim.violated(activeSigns, "generation %d of %s signed on %s, when none was active", i.index, of, l.issued.Format(time.RFC3339))
	case signs != i:
		o.sim.violated(activeSigns, "generation %d of %s signed on %s at an age of %v, while generation %d is active",
			i.index, of, l.issued.Format(time.RFC3339), l.issued.Sub(i.created), signs.index)
	}
	if crt.NotAfter.After(i.crt.NotAfter) || crt.NotBefore.Before(i.crt.NotBefore) {
		o.sim.violated(withinIssuer, "certificate %s is valid until %s, its issuer until %s", crt.SerialNumber, crt.NotAfter, i.crt.NotAfter)
	}
	if life := crt.NotAfter.Sub(l.issued); life > o.sim.spans.Leaf || life < o.sim.spans.Leaf-i.late(o) {
		o.sim.violated(withinIssuer, "certificate %s lives for %v", crt.SerialNumber, life)
	}
	return l
}

// late is by how much a CA's successor was made too late, as the daemon was down.
func (i *issuer) late(o *oracle) time.Duration {
	made := o.sim.now()
	if later := o.cas[i.of][i.index+1:]; len(later) > 0 {
		made = later[0].created
	}
	return max(0, made.Sub(i.crt.NotAfter.Add(-2*o.sim.spans.Leaf)))
}

// served takes note of lists, which have to be newer and better than those before.
func (o *oracle) served(of store.AuthorityName, body []byte) {
	crls, err := pki.ParseCRLsPEM(body)
	if err != nil {
		o.sim.violated(exchangesWork, "lists of %s: %v", of, err)
		return
	}
	for _, crl := range crls {
		i := o.find(of, crl.AuthorityKeyId)
		if i == nil || crl.CheckSignatureFrom(i.crt) != nil {
			o.sim.violated(numbersGrow, "list %d of %s is not from a CA of its", crl.Number, of)
			continue
		}
		if crl.Number.Cmp(i.number) < 0 {
			o.sim.violated(numbersGrow, "of generation %d of %s, list %d was served after list %d", i.index, of, crl.Number, i.number)
		}
		i.number = crl.Number
		id := leafID(i, crl.Number)
		if known := o.lists[id]; known != nil {
			if !bytes.Equal(known.raw, crl.Raw) {
				o.sim.violated(numbersGrow, "of generation %d of %s, there are two lists %d", i.index, of, crl.Number)
			}
			continue
		}
		l := &list{raw: crl.Raw, crl: crl, serials: map[string]bool{}}
		for _, entry := range crl.RevokedCertificateEntries {
			l.serials[entry.SerialNumber.String()] = true
		}
		o.lists[id] = l
	}
}

// revoke takes note that a certificate is revoked from now on, and with it what is valid of its lineage, unless it goes alone.
func (o *oracle) revoke(l *leaf, alone bool) {
	if !alone && l.lineage != nil {
		for _, other := range l.lineage.leaves {
			if pki.CheckValidity(other.crt, o.sim.now()) == nil {
				o.revoke(other, true)
			}
		}
	}
	if l.revoked == 0 {
		l.revoked = o.sim.step()
		o.revoked = append(o.revoked, l)
		o.sim.stats.revocations++
	}
}
