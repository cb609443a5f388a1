//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// The stories in this file are of CAs whose certificates roll over while clients watch. They
// take minutes where the others take seconds, nearly all of it waiting.

// awaitLinks waits until the chain of an authority has so many links.
func (d *daemon) awaitLinks(t *testing.T, of authority, count int, limit time.Duration) {
	t.Helper()
	eventually(t, limit, func() string {
		if d.ended() {
			t.Fatalf("the daemon ended: %v", d.err)
		}
		var chain []json.RawMessage
		if err := json.Unmarshal(d.get(t, of.route+"/crt/ca.crt.json"), &chain); err != nil {
			return err.Error()
		}
		if len(chain) < count {
			return fmt.Sprintf("the chain has %d links, want %d", len(chain), count)
		}
		return ""
	})
}

// knows wants a CA file to hold so many certificates and as many genuine lists. These live for
// seconds, so they are looked at as soon as they are fetched.
func (d *desk) knows(of authority, count int) {
	d.t.Helper()
	if cas := d.certificates(of.ca); len(cas) != count {
		d.t.Fatalf("%s holds %d CA certificates, want %d", of.ca, len(cas), count)
	}
	d.genuine(of)
}

// followRollover has both clients meet a CA, and follow it to its second certificate. It
// returns their desks.
func followRollover(t *testing.T, ca *daemon, limit time.Duration) (theirs, ours *desk) {
	t.Helper()
	theirs, ours = ca.desk(t), ca.desk(t)
	theirs.caucase().ok()
	theirs.knows(services, 1)
	ours.cauase("crl", "update").ok()
	ours.knows(services, 1)

	ca.awaitLinks(t, services, 1, limit)
	theirs.caucase().ok()
	theirs.knows(services, 2)
	ours.cauase("crl", "update").ok().prints("updated, 2 revocation lists").omits("first contact")
	ours.knows(services, 2)
	if string(theirs.read(services.ca)) != string(ours.read(services.ca)) {
		t.Errorf("two clients followed the same chain to\n%sand to\n%s", theirs.read(services.ca), ours.read(services.ca))
	}
	return theirs, ours
}

func TestOurDaemonRollsOver(t *testing.T) {
	needReference(t)
	// A certificate is valid for 30 s, so a CA certificate has a successor after 60.
	ca := startOurs(t, "--service-crt-validity", "0.00035")
	theirs, ours := followRollover(t, ca, 2*time.Minute)

	// Each continues from the other's state.
	ourFile, theirFile := ours.read(services.ca), theirs.read(services.ca)
	theirs.write(services.ca, ourFile)
	ours.write(services.ca, theirFile)
	ca.awaitLinks(t, services, 2, 2*time.Minute)
	theirs.caucase().ok()
	ours.cauase("crl", "update").ok().omits("first contact")
	third := ca.newest(t, services)
	for who, d := range map[string]*desk{"their client": theirs, "our client": ours} {
		known := d.certificates(services.ca)
		if newest := known[len(known)-1]; string(newest.Raw) != string(third) {
			t.Errorf("%s did not get to the third CA certificate", who)
		}
		subjects := map[string]bool{}
		for _, ca := range known {
			subjects[ca.Subject.String()] = true
		}
		if len(subjects) != len(known) {
			t.Errorf("%s has %d CA certificates of %d subjects", who, len(known), len(subjects))
		}
	}
}

func TestReferenceDaemonRollsOver(t *testing.T) {
	needReference(t)
	// Its lists live for a third of this, backdated by 10 s: shorter, and they expire before
	// they are renewed.
	ca := startReference(t, "--service-crt-validity", "0.0007")
	followRollover(t, ca, 4*time.Minute)
}

// newest is the last CA certificate of a chain, DER.
func (d *daemon) newest(t *testing.T, of authority) []byte {
	t.Helper()
	var chain []struct{ Payload string }
	if err := json.Unmarshal(d.get(t, of.route+"/crt/ca.crt.json"), &chain); err != nil {
		t.Fatal(err)
	}
	var link struct {
		New string `json:"new_pem"`
	}
	if err := json.Unmarshal([]byte(chain[len(chain)-1].Payload), &link); err != nil {
		t.Fatal(err)
	}
	return blocks([]byte(link.New), "CERTIFICATE")[0].Bytes
}

// A reference client verifies RSA signatures only. A CA of another type serves it until its
// first rollover, with the defaults half a year, and then no more: each of its commands begins
// with the chain. This is why a CA for reference clients has RSA keys.
func TestReferenceClientMeetsECDSA(t *testing.T) {
	needReference(t)
	ca := startOursWith(t, "ecdsa-p256", "--service-crt-validity", "0.00035")
	d := ca.desk(t)
	d.enrolsWithReference("alice", nil)
	d.valid(users, "alice.pem")
	d.obtainsWithReference("alice.pem", "web")
	d.caucase("--threshold", "100", "--renew-crt", "web.crt.pem", "web.key").ok().omits("skipping")
	d.valid(services, "web.crt.pem")
	d.caucase("--update-user", "--revoke-crt", "web.crt.pem", "web.key").ok()
	d.revoked(services, "web.crt.pem")
	d.genuine(services)
	d.genuine(users)

	ca.awaitLinks(t, services, 1, 2*time.Minute)
	const broken = "TypeError: ECPublicKey.verify()"
	before := d.read(services.ca)
	d.caucase().exits(1).complains(broken)
	d.caucase("--user-key", "alice.pem", "--list-csr").exits(1).complains(broken)
	if string(d.read(services.ca)) != string(before) {
		t.Error("it changed its CA file nevertheless")
	}
	// Nor does it help when our client has brought the file up to date.
	d.cauase("ca", "update").ok().prints("cas.crt.pem: updated, 2 CA certificates")
	d.caucase().exits(1).complains(broken)
}
