//go:build interop

package interop

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The stories in this file have administrators and hosts with our client, and a CA that is the
// reference's. Its daemon provides nothing by which its HTTPS certificate could be verified.

const unverified = "what it answers is not authenticated"

// enrols makes somebody the first user, approved at once.
func (d *desk) enrols(name string) {
	d.t.Helper()
	d.cauase("--mode", "user", "--key-type", "rsa-2048", "request", "--cn", name).ok()
}

// obtains gets a service certificate, with its key, for each name: NAME.pem.
func (d *desk) obtains(user string, names ...string) {
	d.t.Helper()
	for _, name := range names {
		asked := d.cauase("--key-type", "rsa-2048", "request", "--cn", name, "--dns", name+".example.org").exits(2)
		id, _, _ := strings.Cut(asked.stdout, " ")
		d.cauase("--user-key", user, "csr", "sign", id).ok().prints("signed " + id)
		d.cauase("crt", "get", id, name+".pem").ok()
		d.valid(services, name+".pem")
	}
}

// pending lists ids by their subjects.
func (d *desk) pending(args ...string) map[string]string {
	d.t.Helper()
	var list []struct{ ID, Subject string }
	o := d.cauase(append(args, "csr", "list", "--json")...).ok()
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil {
		d.t.Fatalf("%v\n%s", err, o.output())
	}
	ids := map[string]string{}
	for _, pending := range list {
		ids[pending.Subject] = pending.ID
	}
	return ids
}

func TestOurClientGetsCertificates(t *testing.T) {
	needReference(t)
	d := startReference(t).desk(t)

	// The first user ever is approved at once. The CA is trusted on first use, which is said.
	d.cauase("--mode", "user", "--key-type", "rsa-2048", "request", "--cn", "alice").ok().
		prints("alice.pem: certificate of CN=alice").complains("first contact: from now on trusting")
	d.valid(users, "alice.pem")

	// Services submit requests that our client has made, and others.
	d.cauase("--key-type", "rsa-2048", "request", "--cn", "web", "--dns", "web.example.org").exits(2).complains("is pending")
	for _, name := range []string{"mail", "evil"} {
		d.makesRequest(name, dns(name+".example.org"))
	}
	sent := d.cauase("csr", "send", "mail.csr.pem", "evil.csr.pem").ids()
	mail, evil := sent["mail.csr.pem"], sent["evil.csr.pem"]
	d.cauase("csr", "get", mail, "copy.csr.pem").ok()
	if string(d.read("copy.csr.pem")) != string(d.read("mail.csr.pem")) {
		t.Error("the request is not stored byte for byte")
	}
	d.cauase("csr", "show", mail).ok().prints("CN=mail").prints("DNS:mail.example.org")

	// Alice decides. Nobody else may.
	d.cauase("csr", "list").exits(1).complains("only users may do this")
	d.cauase("--user-key", "alice.pem", "csr", "list").ok().prints("CN=evil").complains(unverified)
	run(t, d.dir, filepath.Join(programs.ours, "cauase"), "--ca-url", d.ca.http, "--user-key", "alice.pem", "csr", "list").exits(1).complains("does not vouch for its HTTPS certificate")
	list := d.pending("--user-key", "alice.pem")
	web := list["CN=web"]
	if web == "" || list["CN=mail"] != mail || list["CN=evil"] != evil {
		t.Fatalf("pending: %q", list)
	}
	d.cauase("crt", "get", web, "web.pem").exits(2).complains("still pending")
	d.cauase("--user-key", "alice.pem", "csr", "sign", web).ok().prints("signed " + web)
	d.cauase("--user-key", "alice.pem", "csr", "sign", web).exits(1).complains("404")
	d.makesRequest("template", dns("mail.example.com", "imap.example.com"))
	d.cauase("--user-key", "alice.pem", "csr", "sign", "--with", "template.csr.pem", mail).ok()
	d.cauase("--user-key", "alice.pem", "csr", "reject", evil).ok().prints("rejected " + evil)
	d.cauase("--user-key", "alice.pem", "csr", "reject", evil).exits(1).complains("404")
	if list := d.pending("--user-key", "alice.pem"); len(list) != 0 {
		t.Errorf("still pending: %q", list)
	}

	// They get what she decided: the same command again, or crt get.
	d.cauase("--key-type", "rsa-2048", "request", "--cn", "web", "--dns", "web.example.org").ok()
	d.copy("mail.key", "mail.pem")
	d.cauase("crt", "get", mail, "mail.pem").ok()
	d.cauase("crt", "get", evil, "evil.pem").exits(1).complains("rejected")
	if d.has("evil.pem") {
		t.Error("a rejected request has a certificate")
	}
	d.valid(services, "web.pem", "mail.pem")
	d.cauase("crt", "show", "web.pem", "mail.pem").ok().prints("yes, by cas.crt.pem")
	if crt := d.certificate("mail.pem"); crt.Subject.CommonName != "template" || !slices.Equal(crt.DNSNames, []string{"mail.example.com", "imap.example.com"}) {
		t.Errorf("signed with a template: %s %q", crt.Subject, crt.DNSNames)
	}
	if !d.keyMatches("mail.pem", "mail.pem") || !d.keyMatches("web.pem", "web.pem") {
		t.Error("a certificate is for another key than its request")
	}
}

func TestOurClientWaits(t *testing.T) {
	needReference(t)
	ca := startReference(t)
	admin, host := ca.desk(t), ca.desk(t)
	admin.enrols("alice")

	waiting := background(t, host.dir, programs.ours+"/cauase", "--ca-url", ca.http, "--key-type", "rsa-2048",
		"request", "--cn", "web", "--dns", "web.example.org", "--key", "web.key", "--crt", "web.crt.pem", "--wait")
	var id string
	eventually(t, 30*time.Second, func() string {
		if id = admin.pending("--user-key", "alice.pem")["CN=web"]; id == "" {
			return "the request has not arrived"
		}
		return ""
	})
	admin.cauase("--user-key", "alice.pem", "csr", "sign", id).ok()
	select {
	case <-waiting.done:
	case <-time.After(45 * time.Second):
		t.Fatal("request --wait does not notice that it is signed")
	}
	if waiting.err != nil {
		t.Fatalf("request --wait: %v", waiting.err)
	}
	host.valid(services, "web.crt.pem")
	if !host.keyMatches("web.key", "web.crt.pem") {
		t.Error("the certificate is for another key")
	}
}

func TestOurClientRenews(t *testing.T) {
	needReference(t)
	d := startReference(t).desk(t)
	d.enrols("alice")
	d.obtains("alice.pem", "web")

	old := d.certificate("web.pem")
	d.cauase("crt", "renew", "web.pem").ok().prints("not renewing")
	d.cauase("--threshold", "100", "crt", "renew", "web.pem").ok().prints("renewed CN=web")
	renewed := d.certificate("web.pem")
	if renewed.Equal(old) || !d.keyMatches("web.pem", "web.pem") || !slices.Equal(renewed.DNSNames, old.DNSNames) {
		t.Errorf("renewed: %s %q from %s %q", renewed.Subject, renewed.DNSNames, old.Subject, old.DNSNames)
	}
	d.valid(services, "web.pem")

	first := d.certificate("alice.pem")
	d.cauase("--mode", "user", "crt", "renew", "--force", "alice.pem").ok()
	if d.certificate("alice.pem").Equal(first) {
		t.Error("the user's certificate is not renewed")
	}
	d.valid(users, "alice.pem")
	d.cauase("--user-key", "alice.pem", "csr", "list").ok()
}

func TestOurClientRevokes(t *testing.T) {
	needReference(t)
	d := startReference(t).desk(t)
	d.enrols("alice")
	d.obtains("alice.pem", "own", "other", "serial")
	d.cauase("crl", "update").ok().prints("updated, 1 revocation list")
	before := d.crls(services.crl)[0].Number

	// A reason is an extension of ours to the envelope. The reference's daemon ignores it.
	d.cauase("crt", "revoke", "--reason", "superseded", "own.pem").ok().prints("revoked own.pem")
	d.cauase("--user-key", "alice.pem", "crt", "revoke", "--reason", "keyCompromise", "--other", "other.pem").ok()
	number := d.certificate("serial.pem").SerialNumber.String()
	d.cauase("--user-key", "alice.pem", "crt", "revoke", "--serial", number).ok()

	d.cauase("crl", "update").ok().prints("updated, 1 revocation list")
	list := d.crls(services.crl)[0]
	if list.Number.Cmp(before) <= 0 {
		t.Errorf("the number of the list went from %s to %s", before, list.Number)
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.ReasonCode != 0 {
			t.Errorf("serial %s has reason %d: the reference's daemon does know reasons", entry.SerialNumber, entry.ReasonCode)
		}
	}
	for _, name := range []string{"own", "other", "serial"} {
		d.revoked(services, name+".pem")
		if !d.lists(services.crl, d.certificate(name+".pem")) {
			t.Errorf("our client did not store a list that has %s", name)
		}
	}
	d.genuine(services)

	d.cauase("crt", "revoke", "own.pem").exits(1).complains("400").complains("certificate revoked")
	d.cauase("--user-key", "alice.pem", "crt", "revoke", "--other", "other.pem").exits(1).complains("certificate revoked")
	d.cauase("--user-key", "alice.pem", "crt", "revoke", "--serial", number).exits(1).complains("409")
	d.cauase("crt", "renew", "--force", "own.pem").exits(1).complains("certificate revoked")
}

func TestOurClientUpdates(t *testing.T) {
	needReference(t)
	d := startReference(t).desk(t)
	d.enrols("alice")

	d.cauase("ca", "update").ok().prints("cas.crt.pem: updated, 1 CA certificate")
	d.cauase("ca", "update").ok().prints("cas.crt.pem: unchanged, 1 CA certificate")
	d.cauase("crl", "update").ok().prints("cas.crl.pem: updated, 1 revocation list")
	d.cauase("crl", "update").ok().prints("cas.crl.pem: unchanged, 1 revocation list")
	d.cauase("crl", "show").ok().prints("of a CA in the CA store")
	d.cauase("--mode", "user", "crl", "update").ok().prints("cau.crl.pem: updated, 1 revocation list")
	d.genuine(services)
	d.genuine(users)
	if string(d.read(services.ca)) != string(d.ca.get(t, "/cas/crt/ca.crt.pem")) ||
		string(d.read(services.crl)) != string(d.ca.get(t, "/cas/crl")) {
		t.Error("files differ from what the daemon serves")
	}

	directories := authority{route: "/cas", ca: "cas", crl: "cas-crl"}
	d.cauase("--ca-crt", directories.ca, "--crl", directories.crl, "crl", "update").ok()
	d.genuine(directories)
	if string(d.read(directories.ca)) != string(d.read(services.ca)) || string(d.read(directories.crl)) != string(d.read(services.crl)) {
		t.Error("directories hold something else than files")
	}
	d.obtains("alice.pem", "web")
	d.cauase("crt", "revoke", "web.pem").ok()
	d.cauase("--ca-crt", directories.ca, "--crl", directories.crl, "crl", "update").ok().prints("updated")
	d.genuine(directories)
	if files := d.files(directories.crl); len(files) != 1 || !strings.HasSuffix(files[0], ".crl.pem") {
		t.Errorf("directory of lists: %q", files)
	}
}

func TestOurClientIsLockedOut(t *testing.T) {
	needReference(t)
	d := startReference(t).desk(t)
	d.enrols("alice")
	d.cauase("--mode", "user", "--key-type", "rsa-2048", "request", "--cn", "bob").exits(2)
	bob := d.pending("--user-key", "alice.pem", "--mode", "user")["CN=bob"]
	d.cauase("--user-key", "alice.pem", "--mode", "user", "csr", "sign", bob).ok()
	d.cauase("--mode", "user", "--key-type", "rsa-2048", "request", "--cn", "bob").ok()
	d.valid(users, "alice.pem", "bob.pem")
	d.makesRequest("web")
	id := d.cauase("csr", "send", "web.csr.pem").ids()["web.csr.pem"]

	const refusal = "the daemon answered 401"

	// By another user, whose own certificate remains good.
	d.cauase("--user-key", "bob.pem", "csr", "list").ok().prints("CN=web")
	d.cauase("--user-key", "alice.pem", "--mode", "user", "crt", "revoke", "--other", "bob.pem").ok()
	d.revoked(users, "bob.pem")
	d.cauase("--user-key", "bob.pem", "csr", "list").exits(1).complains(refusal)
	d.cauase("--user-key", "bob.pem", "csr", "sign", id).exits(1).complains(refusal)
	d.cauase("--user-key", "bob.pem", "--mode", "user", "crt", "revoke", "--other", "alice.pem").exits(1).complains(refusal)
	d.cauase("--user-key", "alice.pem", "csr", "list").ok().prints("CN=web")

	// By herself.
	d.cauase("--mode", "user", "crt", "revoke", "alice.pem").ok()
	d.revoked(users, "alice.pem")
	d.cauase("--user-key", "alice.pem", "csr", "list").exits(1).complains(refusal).complains("is expired, revoked, or not one of a user")
	d.cauase("--user-key", "alice.pem", "csr", "sign", id).exits(1).complains(refusal)
	d.cauase("--user-key", "alice.pem", "csr", "reject", id).exits(1).complains(refusal)
	d.cauase("--mode", "user", "crt", "renew", "--force", "alice.pem").exits(1).complains("certificate revoked")
	d.cauase("crt", "get", id).exits(2)
}
