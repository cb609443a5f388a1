//go:build interop

package interop

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The stories in this file and the next have administrators and hosts who know nothing but
// the reference's client, and a CA that is cauased.

// enrolsWithReference makes somebody a user: NAME.pem gets key and certificate. The
// first is approved automatically, the others by a user.
func (d *desk) enrolsWithReference(name string, approve func(id string)) {
	d.t.Helper()
	d.makesRequest(name)
	id := d.caucase("--mode", "user", "--send-csr", name+".csr.pem").ids()[name+".csr.pem"]
	if approve != nil {
		approve(id)
	}
	d.copy(name+".key", name+".pem")
	d.caucase("--mode", "user", "--get-crt", id, name+".pem").ok()
}

// obtainsWithReference gets a service certificate for each name: NAME.crt.pem and NAME.key.
func (d *desk) obtainsWithReference(user string, names ...string) {
	d.t.Helper()
	for _, name := range names {
		d.makesRequest(name)
		id := d.caucase("--send-csr", name+".csr.pem").ids()[name+".csr.pem"]
		d.caucase("--user-key", user, "--sign-csr", id).ok()
		d.caucase("--get-crt", id, name+".crt.pem").ok().prints("manually approved")
		d.valid(services, name+".crt.pem")
	}
}

func TestReferenceClientGetsCertificates(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)

	// The first user ever is approved at once.
	d.makesRequest("alice")
	id := d.caucase("--mode", "user", "--send-csr", "alice.csr.pem").ids()["alice.csr.pem"]
	d.copy("alice.key", "alice.pem")
	d.caucase("--mode", "user", "--get-crt", id, "alice.pem").ok().prints(id + " was (originally) automatically approved")
	d.valid(users, "alice.pem")

	// Services ask, and wait.
	for _, name := range []string{"web", "mail", "evil"} {
		d.makesRequest(name, dns(name+".example.org"))
	}
	sent := d.caucase("--send-csr", "web.csr.pem", "mail.csr.pem", "evil.csr.pem").ids()
	web, mail, evil := sent["web.csr.pem"], sent["mail.csr.pem"], sent["evil.csr.pem"]
	again := d.caucase("--send-csr", "web.csr.pem").ids()
	if again["web.csr.pem"] != web {
		t.Errorf("the same request again has id %s, at first it was %s", again["web.csr.pem"], web)
	}
	d.caucase("--get-crt", web, "web.crt.pem").exits(2).prints(web + " CSR still pending")
	d.caucase("--get-csr", web, "copy.csr.pem").ok()
	if string(d.read("copy.csr.pem")) != string(d.read("web.csr.pem")) {
		t.Error("the request is not stored byte for byte")
	}

	// Alice decides. Nobody else may.
	d.caucase("--list-csr").refused(401)
	d.caucase("--sign-csr", web).refused(401)
	list := d.caucase("--user-key", "alice.pem", "--list-csr").ok().prints("-- end of pending service CSRs --")
	for name, id := range map[string]string{"web": web, "mail": mail, "evil": evil} {
		list.prints(id + " | '<Name(CN=" + name + ")>'")
	}
	d.caucase("--user-key", "alice.pem", "--sign-csr", web).ok()
	d.caucase("--user-key", "alice.pem", "--sign-csr", web).refused(404)
	d.makesRequest("template", dns("mail.example.com", "imap.example.com"))
	d.caucase("--user-key", "alice.pem", "--sign-csr-with", mail, "template.csr.pem").ok()
	d.caucase("--user-key", "alice.pem", "--reject-csr", evil).ok()
	d.caucase("--user-key", "alice.pem", "--reject-csr", evil).refused(404)
	d.caucase("--user-key", "alice.pem", "--list-csr").ok().omits("CN=")

	// They get what she decided.
	d.caucase("--get-crt", web, "web.crt.pem", "--get-crt", mail, "mail.crt.pem").ok().
		prints(web + " was (originally) manually approved").prints(mail + " was (originally) manually approved")
	d.caucase("--get-crt", evil, "evil.crt.pem").exits(1).prints(evil + " not found - maybe CSR was rejected ?")
	if d.has("evil.crt.pem") {
		t.Error("a rejected request has a certificate")
	}
	d.valid(services, "web.crt.pem", "mail.crt.pem")
	if !d.keyMatches("web.key", "web.crt.pem") || !d.keyMatches("mail.key", "mail.crt.pem") {
		t.Error("a certificate is for another key than its request")
	}
	if crt := d.certificate("mail.crt.pem"); crt.Subject.CommonName != "template" || !slices.Equal(crt.DNSNames, []string{"mail.example.com", "imap.example.com"}) {
		t.Errorf("signed with a template: %s %q", crt.Subject, crt.DNSNames)
	}

	// A certificate goes to the file of its key and to no other.
	d.caucase("--get-crt", web, "mail.key").exits(1).complains("does not match")
	d.caucase("--get-crt", web, "web.key").ok()
	d.certificate("web.key")
}

func TestReferenceClientRenews(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)
	d.enrolsWithReference("alice", nil)
	d.obtainsWithReference("alice.pem", "web")

	old := d.certificate("web.crt.pem")
	d.caucase("--renew-crt", "web.crt.pem", "web.key").ok().prints("did not reach renew threshold")
	d.caucase("--threshold", "100", "--renew-crt", "web.crt.pem", "web.key").ok().omits("skipping")
	renewed := d.certificate("web.crt.pem")
	if renewed.Equal(old) || !d.keyMatches("web.key", "web.crt.pem") || renewed.Subject.String() != old.Subject.String() {
		t.Errorf("renewed: %s from %s", renewed.Subject, old.Subject)
	}
	d.valid(services, "web.crt.pem")

	first := d.certificate("alice.pem")
	d.caucase("--mode", "user", "--threshold", "100", "--renew-crt", "alice.pem", "alice.pem").ok().omits("skipping")
	second := d.certificate("alice.pem")
	if second.Equal(first) || !d.keyMatches("alice.pem", "alice.pem") {
		t.Error("the user's certificate is not renewed")
	}
	d.valid(users, "alice.pem")
	d.caucase("--user-key", "alice.pem", "--list-csr").ok()
}

func TestReferenceClientRevokes(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)
	d.enrolsWithReference("alice", nil)
	d.obtainsWithReference("alice.pem", "own", "other", "serial")

	before := d.crls(services.crl)[0].Number
	d.caucase("--revoke-crt", "own.crt.pem", "own.key").ok()
	d.caucase("--user-key", "alice.pem", "--revoke-other-crt", "other.crt.pem").ok()
	number := d.certificate("serial.crt.pem").SerialNumber.String()
	d.caucase("--user-key", "alice.pem", "--revoke-serial", number).ok()
	d.caucase().ok() // every run ends with fetching the list, so this is the one after the last revocation

	after := d.crls(services.crl)[0].Number
	if after.Cmp(before) <= 0 {
		t.Errorf("the number of the list went from %s to %s", before, after)
	}
	for _, name := range []string{"own", "other", "serial"} {
		d.revoked(services, name+".crt.pem")
		if !d.lists(services.crl, d.certificate(name+".crt.pem")) {
			t.Errorf("the reference's client did not store a list that has %s", name)
		}
	}
	d.genuine(services)

	// What is revoked cannot be revoked again, nor renewed. Of these the reference's daemon
	// answers all but the one by serial with 400.
	d.caucase("--revoke-crt", "own.crt.pem", "own.key").refused(409)
	d.caucase("--user-key", "alice.pem", "--revoke-other-crt", "other.crt.pem").refused(409)
	d.caucase("--user-key", "alice.pem", "--revoke-serial", number).refused(409)
	d.caucase("--threshold", "100", "--renew-crt", "own.crt.pem", "own.key").refused(400)
	d.caucase("--revoke-serial", "4711").refused(401)
}

func TestReferenceClientUpdates(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)
	d.enrolsWithReference("alice", nil)

	d.caucase("--update-user").ok()
	d.genuine(services)
	d.genuine(users)
	ca, crl := string(d.read(services.ca)), string(d.read(services.crl))
	if ca != string(d.ca.get(t, "/cas/crt/ca.crt.pem")) || crl != string(d.ca.get(t, "/cas/crl")) {
		t.Error("files differ from what the daemon serves")
	}
	d.caucase().ok()
	if ca != string(d.read(services.ca)) || crl != string(d.read(services.crl)) {
		t.Error("an update with nothing new changed a file")
	}

	directories := authority{route: "/cas", ca: "cas", crl: "cas-crl"}
	d.caucase("--ca-crt", directories.ca, "--crl", directories.crl).ok()
	d.genuine(directories)
	if string(d.read(directories.ca)) != ca || string(d.read(directories.crl)) != crl {
		t.Error("directories hold something else than files")
	}
	d.obtainsWithReference("alice.pem", "web")
	d.caucase("--ca-crt", directories.ca, "--crl", directories.crl, "--revoke-crt", "web.crt.pem", "web.key").ok()
	d.genuine(directories)
	if files := d.files(directories.crl); len(files) != 1 || !strings.HasSuffix(files[0], ".crl.pem") {
		t.Errorf("directory of lists: %q", files)
	}
}

func TestReferenceClientIsLockedOut(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)
	d.enrolsWithReference("alice", nil)
	d.enrolsWithReference("bob", func(id string) {
		d.caucase("--mode", "user", "--get-crt", id, "bob.pem").exits(2)
		d.caucase("--user-key", "alice.pem", "--mode", "user", "--list-csr").ok().prints("-- pending user CSRs --").prints("CN=bob")
		d.caucase("--user-key", "alice.pem", "--mode", "user", "--sign-csr", id).ok()
	})
	d.makesRequest("web")
	id := d.caucase("--send-csr", "web.csr.pem").ids()["web.csr.pem"]
	d.valid(users, "alice.pem", "bob.pem")

	// By another user, whose own certificate remains good.
	d.caucase("--user-key", "bob.pem", "--list-csr").ok().prints("CN=web")
	d.caucase("--user-key", "alice.pem", "--mode", "user", "--revoke-other-crt", "bob.pem").ok()
	d.revoked(users, "bob.pem")
	d.caucase("--user-key", "bob.pem", "--list-csr").refused(401)
	d.caucase("--user-key", "bob.pem", "--sign-csr", id).refused(401)
	d.caucase("--user-key", "bob.pem", "--mode", "user", "--revoke-other-crt", "alice.pem").refused(401)
	d.caucase("--user-key", "alice.pem", "--list-csr").ok().prints("CN=web")

	// By herself.
	d.caucase("--mode", "user", "--revoke-crt", "alice.pem", "alice.pem").ok()
	d.revoked(users, "alice.pem")
	d.caucase("--user-key", "alice.pem", "--list-csr").refused(401)
	d.caucase("--user-key", "alice.pem", "--sign-csr", id).refused(401)
	d.caucase("--user-key", "alice.pem", "--reject-csr", id).refused(401)
	d.caucase("--mode", "user", "--threshold", "100", "--renew-crt", "alice.pem", "alice.pem").refused(400)
	d.caucase("--get-crt", id, "web.crt.pem").exits(2)
}

func TestReferenceProbe(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)
	if o := d.reference("caucase-probe", d.ca.http).ok(); o.stdout+o.stderr != "" {
		t.Errorf("the probe is not silent:\n%s", o.output())
	}
}

func TestReferenceRerequest(t *testing.T) {
	needReference(t)
	d := startOurs(t).desk(t)
	d.enrolsWithReference("alice", nil)
	d.makesRequest("web", dns("web.example.org"))

	d.reference("caucase-rerequest", "--template", "web.csr.pem", "--csr", "again.csr.pem", "--key", "again.key").ok()
	id := d.caucase("--send-csr", "again.csr.pem").ids()["again.csr.pem"]
	d.caucase("--user-key", "alice.pem", "--sign-csr", id).ok()
	d.caucase("--get-crt", id, "again.crt.pem").ok()
	d.valid(services, "again.crt.pem")
	if crt := d.certificate("again.crt.pem"); crt.Subject.CommonName != "web" || !slices.Equal(crt.DNSNames, []string{"web.example.org"}) {
		t.Errorf("again: %s %q", crt.Subject, crt.DNSNames)
	}
	if !d.keyMatches("again.key", "again.crt.pem") {
		t.Error("the certificate is for another key")
	}
}

func TestReferenceUpdater(t *testing.T) {
	needReference(t)
	// It asks once a minute for a decision, so there is none to wait for.
	d := startOurs(t, "--service-auto-approve-count", "1").desk(t)
	d.makesRequest("web", dns("web.example.org"))
	d.write("hook", []byte("#!/bin/sh\nexec touch hooked\n"))
	if err := os.Chmod(d.path("hook"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := background(t, d.dir, programs.reference+"/caucase-updater", "--ca-url", d.ca.http,
		"--cas-ca", "cas", "--ca", services.ca, "--crl", services.crl,
		"--csr", "web.csr.pem", "--key", "web.key", "--crt", "web.crt.pem", "--on-renew", "./hook")
	eventually(t, 30*time.Second, func() string {
		if p.ended() {
			t.Fatalf("the updater ended: %v", p.err)
		}
		if !strings.Contains(p.output.String(), "Next wake-up at") || !d.has("hooked") {
			return "the updater is not content yet"
		}
		return ""
	})
	d.valid(services, "web.crt.pem")
	d.genuine(services)
	if !d.keyMatches("web.key", "web.crt.pem") {
		t.Error("the certificate is for another key")
	}
	if files := d.files("cas"); len(files) != 1 || !strings.HasSuffix(files[0], ".ca.pem") {
		t.Errorf("directory of CAs: %q", files)
	}
	policies := d.certificate("web.crt.pem").PolicyIdentifiers
	if len(policies) != 1 || policies[0].String() != "1.3.6.1.4.1.37476.9000.70.0.0" {
		t.Errorf("policies %v, want the mark of what nobody has looked at", policies)
	}
}
