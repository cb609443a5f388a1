package manage

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
)

// A dice makes random rules and requests, of few parts, so that many match.
type dice struct {
	*mathrand.Rand
	keys []crypto.Signer
}

func newDice(t *testing.T, seed uint64) dice {
	t.Helper()
	d := dice{Rand: mathrand.New(mathrand.NewPCG(seed, 14))}
	for _, kind := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyEd25519} {
		key, err := kind.Generate()
		if err != nil {
			t.Fatal(err)
		}
		d.keys = append(d.keys, key)
	}
	return d
}

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

// some returns a value now and then, and nil otherwise.
func some(d dice, of ...any) any {
	if d.IntN(3) > 0 {
		return nil
	}
	return pick(d, of...)
}

func (d dice) rule(i int) policy.Config {
	c := policy.Config{
		Name:     fmt.Sprintf("rule-%d", i),
		Decision: pick(d, "approve", "approve", "approve", "hold", "refuse"),
		Profile:  some(d, "server", "as-requested", []any{"client", "server"}),
		From:     some(d, "10.0.0.0/8", "192.0.2.7", []any{"2001:db8::/32", "10.1.0.0/16"}),
		FrontEnd: some(d, "caucase", "signing", []any{"caucase", "acme"}),
		Keys:     some(d, "ecdsa", "ed25519", "rsa"),
	}
	if d.IntN(5) > 0 {
		c.Names = pick[any](d, "*.web.example", "a.web.example", []any{"*.web.example", "*.db.example", "10.0.0.0/8"}, "*.*.example", "literal:*.web.example",
			[]any{"*.web.example", "cn:*", "o:Example"}, "{request.address.ptr}", []any{"*@example.org", "*.web.example"}, "localhost")
	}
	if c.FrontEnd != nil && d.IntN(2) == 0 {
		c.Client = pick(d, "p*", "x")
	}
	switch d.IntN(6) {
	case 0:
		c.Certificate, c.Names = "factory", "{identity.name}"
	case 1:
		yes := true
		c.SSH, c.Names = &yes, "{identity.name}"
	}
	if c.Decision == "approve" && d.IntN(4) == 0 {
		c.Rate, c.AskerRate = pick(d, "3/h", "20/d", ""), pick(d, "2/h", "")
	}
	if c.Decision == "hold" && d.IntN(2) == 0 {
		two := 2
		c.Approvals = &two
	}
	if c.Names != nil && c.Decision != "approve" {
		c.Match = pick(d, "", "all", "any")
	}
	return c
}

func (d dice) rules(t *testing.T) *policy.Set {
	t.Helper()
	configs := make([]policy.Config, d.IntN(12))
	for i := range configs {
		configs[i] = d.rule(i)
	}
	set, err := policy.Compile(configs)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (d dice) asker() policy.Asker {
	a := policy.Asker{Address: pick(d, "10.1.2.3", "192.0.2.7", "2001:db8::7", "::ffff:10.1.2.3", ""), FrontEnd: pick(d, "caucase", "caucase", "signing", "acme"), Client: pick(d, "", "p7", "x")}
	switch d.IntN(5) {
	case 0:
		a.Certificate = &policy.Certificate{Authority: pick(d, "factory", "other"), Serial: "0x7", Subject: pick(d, "CN=dev", "CN=a.web.example,O=Ä \\, B", ""),
			Names: pick(d, []string{"DNS:a.web.example", "IP:10.0.0.7"}, []string{"DNS:*.web.example"}, nil)}
	case 1:
		a.SSH = &policy.SSHHost{Fingerprint: "SHA256:" + pick(d, "x", "y"), Names: pick(d, []string{"a.web.example", "b.db.example"}, []string{"10.0.0.7"})}
	case 2:
		a.Reverse = []string{"a.web.example."}
	}
	return a
}

// request is one for random names, and the profile that it asks for.
func (d dice) request(t *testing.T, key crypto.Signer) (*pki.Request, string) {
	t.Helper()
	template := &x509.CertificateRequest{}
	host := func() string {
		return pick(d, "a.web.example", "b.web.example", "A.WEB.example", "c.db.example", "*.web.example", "localhost", "ca.example", "x.y.example", "co.uk")
	}
	for range d.IntN(3) {
		template.DNSNames = append(template.DNSNames, host())
	}
	if d.IntN(4) == 0 {
		template.IPAddresses = []net.IP{pick(d, net.IP{10, 0, 0, 7}, net.IP{192, 0, 2, 1}, net.ParseIP("2001:db8::9"))}
	}
	if d.IntN(6) == 0 {
		template.EmailAddresses = []string{pick(d, "a@example.org", "root@web.example")}
	}
	if len(template.DNSNames)+len(template.IPAddresses)+len(template.EmailAddresses) == 0 || d.IntN(3) == 0 {
		template.Subject = pkix.Name{CommonName: pick(d, host(), "alice", "dev", "10.0.0.7")}
		if d.IntN(3) == 0 {
			template.Subject.Organization = []string{pick(d, "Example", "Other")}
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	req, err := pki.ParseRequest(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return req, d.profile()
}

func (d dice) profile() string { return pick(d, "", "server", "client", "as-requested") }

var replayEpoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func openReplayStore(t *testing.T) store.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqltest.New(t), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Store().Close() })
	return db.Store()
}

func services() store.Authority {
	return store.Authority{Name: store.Services, Title: "CAS", Role: store.RoleServices, Span: 93 * 24 * time.Hour, Life: 4, KeyType: string(pki.KeyECDSAP256), MaxPending: 1000, CreatedAt: replayEpoch}
}

func trialOf(t *testing.T, rules *policy.Set) Trial {
	t.Helper()
	profiles, err := profile.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Trial{Rules: rules, Profiles: profiles, Daemon: []string{"ca.example"}}
}

// TestReplayIsWhatEnforcementDecides: 10,000 random requests, by random people, are decided about by random rules as they come in, and once more as they
// are on record.
func TestReplayIsWhatEnforcementDecides(t *testing.T) {
	const sets, each = 25, 400
	d := newDice(t, 1)
	requests := make([]*pki.Request, each) // of which each comes with every set, by somebody else: to make them takes longer than to decide
	for i := range requests {
		requests[i], _ = d.request(t, pick(d, d.keys...))
	}
	decided := map[policy.Decision]int{}
	for range sets {
		trial := trialOf(t, d.rules(t))
		st, engine, row := openReplayStore(t), policy.NewEngine(trial.Rules), services()
		want := map[int64]policy.Verdict{}
		err := st.Update(t.Context(), func(tx store.Tx) error {
			if err := tx.PutAuthority(t.Context(), row); err != nil {
				return err
			}
			for i := range int64(each) {
				req, profileName := requests[d.IntN(len(requests))], d.profile()
				by, at := d.asker(), replayEpoch.Add(time.Duration(i)*7*time.Minute)
				p, err := trial.Profiles.Lookup(cmp.Or(profileName, profile.NameAsRequested))
				if err != nil {
					return err
				}
				v, err := engine.Decide(t.Context(), ca.SubmittedCase(row, trial.Daemon, req, p, by, at))
				if err != nil {
					return err
				}
				want[i+1] = v
				decided[v.Decision]++
				asked, err := by.Text()
				if err != nil {
					return err
				}
				digest := append([]byte{byte(i), byte(i >> 8)}, req.Digest[2:]...) // the same request may come twice here
				err = tx.AddRequest(t.Context(), store.Request{Authority: row.Name, ID: i + 1, ReceivedAt: at, Submitter: "anonymous", PEM: req.PEM,
					Digest: digest, KeyID: req.KeyID, Subject: req.Subject, SANs: req.SANs, Profile: profileName, Asked: asked})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[int64]policy.Verdict{}
		done, err := Replay{Trial: trial}.Run(t.Context(), st, func(f Difference) { got[f.ID] = f.Verdict }, nil)
		if err != nil || done.Requests != each || done.Skipped != 0 || done.Different != int64(len(got)) {
			t.Fatalf("%+v %v", done, err)
		}
		for id, v := range want { // all of them are held, on record
			if replayed, differs := got[id]; differs != (v.Decision != policy.Hold) || differs && (replayed.Decision != v.Decision || replayed.Rule != v.Rule) {
				t.Errorf("request %d: enforced %s by %q, replayed %s by %q", id, v.Decision, v.Rule, replayed.Decision, replayed.Rule)
			}
		}
	}
	for _, decision := range []policy.Decision{policy.Approve, policy.Hold, policy.Refuse} {
		if decided[decision] < sets*each/50 {
			t.Errorf("%d requests are to %s: that proves little", decided[decision], decision)
		}
	}
}

// TestReplayIsWhatAuthoritiesDo: what an authority has done by rules is what replaying the same rules over its database says.
func TestReplayIsWhatAuthoritiesDo(t *testing.T) {
	const sets, each = 10, 30
	d := newDice(t, 2)
	signed := 0
	for range sets {
		trial := trialOf(t, d.rules(t))
		st, clk := openReplayStore(t), clock.NewFake(replayEpoch)
		if err := st.Update(t.Context(), func(tx store.Tx) error { return tx.PutAuthority(t.Context(), services()) }); err != nil {
			t.Fatal(err)
		}
		a, err := ca.Open(t.Context(), st, clk, services(), ca.Config{
			Netloc: "ca.example:8009", Backdate: time.Minute, Retention: time.Hour, Statements: envelope.Statements{}, Rules: policy.NewEngine(trial.Rules),
		})
		if err != nil {
			t.Fatal(err)
		}
		for range each {
			clk.Advance(11 * time.Minute)
			key, err := pki.KeyECDSAP256.Generate()
			if err != nil {
				t.Fatal(err)
			}
			req, profileName := d.request(t, key)
			done, err := a.Submit(t.Context(), audit.Actor{Kind: audit.Anonymous}, req, ca.Asked{Profile: profileName, By: d.asker()})
			if err != nil && !errors.Is(err, ca.ErrPolicy) && !errors.Is(err, ca.ErrInvalid) {
				t.Fatal(err)
			}
			if done.Issued != nil {
				signed++
			}
		}
		done, err := Replay{Trial: trial}.Run(t.Context(), st, func(f Difference) {
			t.Errorf("%s %d: %v, was %s by %q, is %s by %q", f.What, f.ID, f.Request.SANs, f.Decision, f.Rule, f.Verdict.Decision, f.Verdict.Rule)
		}, nil)
		if err != nil || done.Skipped != 0 {
			t.Fatalf("%+v %v", done, err)
		}
	}
	if signed < sets*each/20 {
		t.Errorf("%d were signed: that proves little", signed)
	}
}
