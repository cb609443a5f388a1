package ca

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

func TestLifeOfACertificate(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	key := newKey(t)
	csr := csrNamed(t, key, "db1")

	id, err := wired(a).Submit(w.ctx, anonymous, csr)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := wired(a).Submit(w.ctx, anonymous, csr); err != nil || again != id {
		t.Errorf("the same request again: id %d, error %v; want id %d", again, err, id)
	}
	if got, err := a.Request(w.ctx, id); err != nil || string(got.Text) != string(csr) {
		t.Errorf("request comes back changed: %q, %v", got.Text, err)
	}
	_, err = wired(a).Certificate(w.ctx, id)
	wantError(t, err, ErrNotFound)
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 || pending[0].ID != id || pending[0].Subject != "CN=db1" {
		t.Errorf("pending: %+v, %v", pending, err)
	}

	if err := wired(a).Sign(w.ctx, alice, id); err != nil {
		t.Fatal(err)
	}
	wantError(t, wired(a).Sign(w.ctx, alice, id), ErrNotFound)
	wantError(t, a.Reject(w.ctx, alice, id, nil, ""), ErrNotFound)
	if got, err := a.Request(w.ctx, id); err != nil || string(got.Text) != string(csr) {
		t.Errorf("request is gone once signed: %q, %v", got.Text, err)
	}
	if again, err := wired(a).Submit(w.ctx, anonymous, csr); err != nil || again != id {
		t.Errorf("a signed request again: id %d, error %v; want id %d", again, err, id)
	}
	first := w.fetch(a, id)
	cas, err := a.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.VerifyIssued(first, cas, w.clock.Now()); err != nil {
		t.Error(err)
	}
	if want := epoch.Add(93 * day); !first.NotAfter.Equal(want) {
		t.Errorf("not after %v, want %v", first.NotAfter, want)
	}
	if want := epoch.Add(-time.Minute); !first.NotBefore.Equal(want) {
		t.Errorf("not before %v, want %v", first.NotBefore, want)
	}
	wantURL := fmt.Sprintf("http://ca.example.org:8009/cas/crl/%s.crl", new(big.Int).SetBytes(cas[0].SubjectKeyId))
	if got := first.CRLDistributionPoints; len(got) != 1 || got[0] != wantURL {
		t.Errorf("CRL distribution points %v, want %v", got, wantURL)
	}

	w.clock.Advance(62 * day)
	nextKey := newKey(t)
	data, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, first, key, csrNamed(t, nextKey, "ignored")))
	if err != nil {
		t.Fatal(err)
	}
	second := w.parse(data)
	if second.Subject.CommonName != "db1" || len(second.DNSNames) != 1 || second.DNSNames[0] != "db1.example.org" {
		t.Errorf("renewed for %v %v", second.Subject, second.DNSNames)
	}
	if !pki.SameKey(second.PublicKey, nextKey.Public()) || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("renewed with the old key or serial")
	}

	if err := wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, second, nextKey)); err != nil {
		t.Fatal(err)
	}
	wantError(t, wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, second, nextKey)), ErrConflict)
	_, err = wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, second, nextKey, csrNamed(t, newKey(t), "x")))
	wantError(t, err, ErrInvalid)
	crl := w.crl(a)
	var listed []string
	for _, e := range crl.RevokedCertificateEntries {
		listed = append(listed, e.SerialNumber.String())
	}
	if want := []string{second.SerialNumber.String(), first.SerialNumber.String()}; !slices.Equal(listed, want) {
		t.Errorf("CRL lists %v, want %v", listed, want)
	}
	if err := crl.CheckSignatureFrom(cas[0]); err != nil {
		t.Error(err)
	}

	var log []string
	for _, e := range w.audit(audit.Filter{Authority: "cas"}) {
		log = append(log, fmt.Sprintf("%s %s", e.Action, e.Result))
	}
	want := "[ca.create ok csr.submit ok crt.sign ok crt.sign refused csr.reject refused crt.renew ok crt.revoke ok lineage.end ok crl.generate ok]"
	if got := fmt.Sprint(log); got != want {
		t.Errorf("audit log\n%s\nwant\n%s", got, want)
	}
}

func TestAutoApprovalEndsAndStaysLocked(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.row.AutoApprove, cfg.LockAutoApprove = 2, true
	a := w.open(cfg)
	for i := range 3 {
		id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), fmt.Sprint("user", i)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = wired(a).Certificate(w.ctx, id)
		if auto := err == nil; auto != (i < 2) {
			t.Errorf("request %d: certificate %v", i, err)
		}
		if i == 0 {
			crt := w.fetch(a, id)
			if len(crt.PolicyIdentifiers) != 1 || crt.PolicyIdentifiers[0].String() != "1.3.6.1.4.1.37476.9000.70.0.0" {
				t.Errorf("policies of an auto-signed certificate: %v", crt.PolicyIdentifiers)
			}
			if len(crt.CRLDistributionPoints) != 0 {
				t.Errorf("a user certificate points to a CRL: %v", crt.CRLDistributionPoints)
			}
		}
	}
	w.restart()
	cfg.row.AutoApprove = 100
	a = w.open(cfg)
	id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "late"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = wired(a).Certificate(w.ctx, id)
	wantError(t, err, ErrNotFound)
}

func TestPendingLimit(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "before")
	var last []byte
	for i := range 5 {
		last = csrNamed(t, newKey(t), fmt.Sprint("host", i))
		if _, err := wired(a).Submit(w.ctx, anonymous, last); err != nil {
			t.Fatal(err)
		}
	}
	_, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "one-too-many"))
	wantError(t, err, ErrTooManyPending)
	if _, err := wired(a).Submit(w.ctx, anonymous, last); err != nil {
		t.Errorf("a request that is pending, again: %v", err)
	}
	if _, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "x"))); err != nil {
		t.Errorf("renewal at the limit: %v", err)
	}
	pending, err := a.Pending(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reject(w.ctx, alice, pending[0].ID, nil, ""); err != nil {
		t.Fatal(err)
	}
	_, err = a.Request(w.ctx, pending[0].ID)
	wantError(t, err, ErrNotFound)
	if _, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "now-there-is-room")); err != nil {
		t.Error(err)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, name := range []store.AuthorityName{store.Services, store.Users, "lab"} {
		w.put(config(name).row)
	}
	services, users := w.open(config(store.Services)), w.open(config(store.Users))

	st, err := users.current(w.ctx, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = wired(services).Submit(w.ctx, anonymous, csrNamed(t, st.signer.key, "impostor"))
	wantError(t, err, ErrInvalid)

	crt, key := w.enrol(services, "stolen")
	rev := envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), Reason: store.KeyCompromise}
	if err := wired(services).RevokeByUser(w.ctx, alice, rev); err != nil {
		t.Fatal(err)
	}
	_, err = wired(services).Submit(w.ctx, anonymous, csrNamed(t, key, "same-key"))
	wantError(t, err, ErrInvalid)
	_, err = wired(users).Submit(w.ctx, anonymous, csrNamed(t, key, "same-key-as-user"))
	wantError(t, err, ErrInvalid)

	lab := w.open(config("lab"))
	_, err = wired(lab).Submit(w.ctx, anonymous, csrNamed(t, key, "same-key-elsewhere"))
	wantError(t, err, ErrInvalid)
	crt, key = w.enrol(lab, "stolen-there")
	if err := lab.RevokeCertificate(w.ctx, alice, crt, Revoking{Reason: store.KeyCompromise}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Authority{lab, services, users} {
		_, err = wired(a).Submit(w.ctx, anonymous, csrNamed(t, key, "same-key-there"))
		wantError(t, err, ErrInvalid)
	}

	_, key = w.enrol(users, "bob")
	_, err = wired(users).Submit(w.ctx, anonymous, csrNamed(t, key, "bob-again"))
	wantError(t, err, ErrConflict)
	if _, err := wired(services).Submit(w.ctx, anonymous, csrNamed(t, key, "bobs-host")); err != nil {
		t.Errorf("a user's key for a service: %v", err)
	}
	ca := st.signer.crt
	_, err = wired(users).Submit(w.ctx, anonymous, csrFor(t, newKey(t), x509.CertificateRequest{RawSubject: ca.RawSubject}))
	wantError(t, err, ErrInvalid)
}

// A verifier that compares names as RFC 5280 7.1 has it takes these for the authority: whoever held such a
// certificate could pass off lists and certificates as the CA's wherever only names are looked at.
func TestCAsOwnNameSpeltDifferently(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	set, err := profile.NewSet(map[string]profile.Config{"fixed": {
		ExtendedKeyUsage: []string{"serverAuth"}, Names: []string{"dns"},
		Subject: map[string]string{"common_name": "caucase cas at CA.EXAMPLE.ORG:8009"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Profiles, cfg.row.Profiles, cfg.row.MaxPending = set, []string{"fixed"}, 50
	a := w.open(cfg)
	st, err := a.current(w.ctx, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	name := st.signer.crt.Subject.CommonName
	printable, err := asn1.MarshalWithParams(name, "printable")
	if err != nil {
		t.Fatal(err)
	}
	typed, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{FullBytes: printable}}}})
	if err != nil {
		t.Fatal(err)
	}
	for how, asked := range map[string]x509.CertificateRequest{
		"other case":          {Subject: pkix.Name{CommonName: strings.ToUpper(name)}},
		"more space":          {Subject: pkix.Name{CommonName: "  " + strings.ReplaceAll(name, " ", "   ")}},
		"no-break space":      {Subject: pkix.Name{CommonName: strings.ReplaceAll(name, " ", "\u00a0")}},
		"invisible":           {Subject: pkix.Name{CommonName: name[:3] + "\u200b" + name[3:]}},
		"full width":          {Subject: pkix.Name{CommonName: strings.ReplaceAll(name, "a", "\uff41")}},
		"another string type": {RawSubject: typed},
	} {
		t.Run(how, func(t *testing.T) {
			_, err := wired(a).Submit(w.ctx, anonymous, csrFor(t, newKey(t), asked))
			wantError(t, err, ErrInvalid)

			id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "harmless"))
			if err != nil {
				t.Fatal(err)
			}
			template, err := pki.ParseRequest(csrFor(t, newKey(t), asked))
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Approve(w.ctx, alice, id, Approval{Template: template})
			wantError(t, err, ErrInvalid)
		})
	}
	t.Run("by the profile", func(t *testing.T) {
		_, err := a.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "harmless")), Asked{Profile: "fixed"})
		wantError(t, err, ErrInvalid)
	})
}

func TestSignWithTemplate(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	key := newKey(t)
	id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, key, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	template, err := pki.ParseRequest(csrNamed(t, newKey(t), "granted"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Approve(w.ctx, alice, id, Approval{Template: template}); err != nil {
		t.Fatal(err)
	}
	crt := w.fetch(a, id)
	if crt.Subject.CommonName != "granted" || crt.DNSNames[0] != "granted.example.org" || !pki.SameKey(crt.PublicKey, key.Public()) {
		t.Errorf("signed %v %v", crt.Subject, crt.DNSNames)
	}
}

func TestLeafNeverOutlivesItsIssuer(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	a := w.open(cfg)
	// The daemon is off until just before its only CA expires.
	w.clock.Advance(4*93*day - time.Hour)
	crt, _ := w.enrol(a, "host")
	cas, err := a.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := pki.VerifyIssued(crt, cas, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if crt.NotAfter.After(issuer.NotAfter) {
		t.Errorf("certificate until %v, its CA until %v", crt.NotAfter, issuer.NotAfter)
	}
}

func TestFirstRequestsInParallel(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.row.AutoApprove, cfg.row.MaxPending = 3, 100
	a := w.open(cfg)
	const n = 16
	csrs := make([][]byte, n)
	for i := range csrs {
		csrs[i] = csrNamed(t, newKey(t), fmt.Sprint("user", i))
	}
	ids := make(chan int64, n)
	errs := make(chan error, n)
	for _, csr := range csrs {
		go func() {
			id, err := wired(a).Submit(w.ctx, anonymous, csr)
			ids <- id
			errs <- err
		}()
	}
	approved := 0
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if _, err := wired(a).Certificate(w.ctx, <-ids); err == nil {
			approved++
		}
	}
	if approved != 3 {
		t.Errorf("%d requests approved, want 3", approved)
	}
}
