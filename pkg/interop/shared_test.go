//go:build interop

package interop

import (
	"bytes"
	"testing"
)

// The stories in this file have people with both clients at one desk, on the same files, and a
// CA that is once ours and once the reference's.
func eachDaemon(t *testing.T, story func(t *testing.T, d *desk)) {
	needReference(t)
	for name, start := range map[string]func(*testing.T, ...string) *daemon{"cauased": startOurs, "caucased": startReference} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, start(t).desk(t))
		})
	}
}

// What vouches for a renewal or a revocation is a signature, so these change hands too: each
// daemon verifies what Go and what Python has signed.
func TestClientsShareCertificates(t *testing.T) {
	eachDaemon(t, func(t *testing.T, d *desk) {
		d.enrols("alice")
		for _, name := range []string{"web", "mail"} {
			asked := []string{"--key-type", "rsa-2048", "request", "--cn", name, "--dns", name + ".example.org"}
			d.cauase(asked...).exits(2)
			id := d.pending("--user-key", "alice.pem")["CN="+name]
			d.caucase("--user-key", "alice.pem", "--list-csr").ok().prints(id + " | '<Name(CN=" + name + ")>'")
			d.caucase("--user-key", "alice.pem", "--sign-csr", id).ok()
			d.cauase(asked...).ok()
		}

		d.copy("web.pem", "made-by-cauase.pem")
		d.caucase("--threshold", "100", "--renew-crt", "web.pem", "").ok().omits("skipping")
		d.copy("web.pem", "renewed-by-caucase.pem")
		d.cauase("crt", "renew", "--force", "web.pem").ok()
		d.copy("web.pem", "renewed-by-cauase.pem")
		d.caucase("--threshold", "100", "--renew-crt", "web.pem", "").ok().omits("skipping")
		all := []string{"made-by-cauase.pem", "renewed-by-caucase.pem", "renewed-by-cauase.pem", "web.pem", "mail.pem"}
		d.valid(services, all...)
		for _, name := range all {
			if !d.keyMatches(name, name) {
				t.Errorf("%s: key and certificate do not match", name)
			}
		}

		// Holders of older ones withdraw these. What a user revokes ends with all that was renewed from it.
		d.cauase("crt", "revoke", "renewed-by-caucase.pem").ok()
		d.cauase("crt", "revoke", "made-by-cauase.pem").ok()
		d.caucase("--revoke-crt", "renewed-by-cauase.pem", "").ok()
		d.cauase("--user-key", "alice.pem", "crt", "revoke", "--other", "mail.pem").ok()
		d.caucase("--user-key", "alice.pem", "--revoke-other-crt", "web.pem").ok()
		for _, name := range all {
			d.revoked(services, name)
		}

		// A user's certificate changes hands like any other.
		d.caucase("--mode", "user", "--threshold", "100", "--renew-crt", "alice.pem", "").ok().omits("skipping")
		d.cauase("--user-key", "alice.pem", "csr", "list").ok()
		d.cauase("--mode", "user", "crt", "renew", "--force", "alice.pem").ok()
		d.caucase("--user-key", "alice.pem", "--list-csr").ok()
		d.valid(users, "alice.pem")
	})
}

func TestClientsShareCAsAndLists(t *testing.T) {
	eachDaemon(t, func(t *testing.T, d *desk) {
		d.enrols("alice")
		for form, kept := range map[string]authority{
			"files":       services,
			"directories": {route: "/cas", ca: "cas", crl: "cas-crl"},
		} {
			caucase := func(args ...string) outcome {
				return d.caucase(append([]string{"--ca-crt", kept.ca, "--crl", kept.crl}, args...)...)
			}
			cauase := func(args ...string) outcome {
				return d.cauase(append([]string{"--ca-crt", kept.ca, "--crl", kept.crl}, args...)...)
			}
			// Ours makes them; theirs has nothing left to do.
			cauase("crl", "update").ok()
			ca, crl := d.read(kept.ca), d.read(kept.crl)
			caucase().ok()
			if !bytes.Equal(d.read(kept.ca), ca) || !bytes.Equal(d.read(kept.crl), crl) {
				t.Errorf("%s: the reference's client changed what was current", form)
			}
			// Theirs updates what ours made, then ours what theirs made.
			caucase("--user-key", "alice.pem", "--revoke-serial", serialFor(form, "1")).ok()
			if bytes.Equal(d.read(kept.crl), crl) {
				t.Errorf("%s: the reference's client did not update the list", form)
			}
			d.genuine(kept)
			cauase("crl", "update").ok().prints("unchanged")
			cauase("--user-key", "alice.pem", "crt", "revoke", "--unknown", "--serial", serialFor(form, "2")).ok()
			cauase("crl", "update").ok().prints("updated")
			d.genuine(kept)
			if !bytes.Equal(d.read(kept.ca), ca) {
				t.Errorf("%s: the CA changed without a reason", form)
			}
			if form == "directories" && len(d.files(kept.crl)) != 1 {
				t.Errorf("the directory of lists holds %q", d.files(kept.crl))
			}
			caucase().ok()
			if !bytes.Equal(d.read(kept.crl), d.ca.get(t, "/cas/crl")) {
				t.Errorf("%s: the list is not the one that is served", form)
			}
		}
	})
}

// serialFor makes a serial number out of words, so that each is revoked once.
func serialFor(form, number string) string {
	return map[string]string{"files": "7000", "directories": "8000"}[form] + number
}
