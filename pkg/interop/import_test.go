//go:build interop

package interop

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// becomesOurs stops a reference daemon, imports its database and starts ours in its place, at the
// same addresses and with the same options.
func (d *daemon) becomesOurs(t *testing.T, args ...string) *desk {
	t.Helper()
	d.terminate()
	home := d.cmd.Dir
	desk := &desk{t: t, dir: home}
	before := desk.read("caucase.sqlite")
	desk.ours("cauased", "manage", "import-caucase", "caucase.sqlite").ok().prints("--netloc " + d.netloc)
	if !bytes.Equal(desk.read("caucase.sqlite"), before) {
		t.Error("the reference's database has changed")
	}
	desk.ours("cauased", "manage", "check").ok()
	ours := *d
	ours.process = background(t, home, append([]string{filepath.Join(programs.ours, "cauased"), "--netloc", d.netloc,
		"--cors-key-store", "ours.cors.key"}, args...)...)
	ours.awaitReady(t)
	return ours.desk(t)
}

// Clients of the reference's daemon need no change when it is replaced by ours.
func TestImportedDaemonGoesOn(t *testing.T) {
	needReference(t)
	options := []string{"--service-auto-approve-count", "2", "--user-auto-approve-count", "1", "--lock-auto-approve-count"}
	reference := startReference(t, options...)
	d := reference.desk(t)
	d.enrolsWithReference("alice", nil)
	d.enrolsWithReference("bob", func(id string) {
		d.caucase("--user-key", "alice.pem", "--mode", "user", "--sign-csr", id).ok()
	})
	d.makesRequest("agent", dns("agent.example.org"))
	updater := []string{programs.reference + "/caucase-updater", "--ca-url", d.ca.http, "--cas-ca", "cas",
		"--ca", "agent.ca.pem", "--crl", "agent.crl.pem", "--csr", "agent.csr.pem", "--key", "agent.key", "--crt", "agent.crt.pem"}
	p := background(t, d.dir, updater...)
	eventually(t, time.Minute, func() string {
		if !strings.Contains(p.output.String(), "Next wake-up at") {
			return "the updater is not content yet"
		}
		return ""
	})
	p.terminate()
	d.makesRequest("web", dns("web.example.org"))
	d.makesRequest("gone")
	d.makesRequest("waiting")
	ids := d.caucase("--send-csr", "web.csr.pem", "gone.csr.pem", "waiting.csr.pem").ids()
	d.caucase("--user-key", "alice.pem", "--sign-csr", ids["gone.csr.pem"]).ok()
	for _, name := range []string{"web", "gone"} {
		d.copy(name+".key", name+".pem")
		d.caucase("--get-crt", ids[name+".csr.pem"], name+".pem").ok()
	}
	d.caucase("--user-key", "alice.pem", "--revoke-other-crt", "gone.pem").ok()
	d.caucase("--user-key", "alice.pem", "--revoke-serial", "4711").ok()
	d.caucase("--mode", "user", "--user-key", "alice.pem", "--revoke-other-crt", "bob.pem").ok()
	d.caucase("--update-user").ok()
	before := d.crls(services.crl)[0]
	trusted := d.read(services.ca)

	here := reference.becomesOurs(t, options...)
	d.ca = here.ca
	// All records are still there.
	d.caucase().ok()
	if !bytes.Equal(d.read(services.ca), trusted) {
		t.Error("the CA is another one")
	}
	d.revoked(services, "gone.pem")
	d.valid(services, "web.pem")
	if after := d.crls(services.crl)[0]; after.Number.Cmp(before.Number) <= 0 || len(after.RevokedCertificateEntries) != 2 {
		t.Errorf("list %v with %d entries follows %v", after.Number, len(after.RevokedCertificateEntries), before.Number)
	}
	// Users keep their access; revoked ones do not regain it.
	d.caucase("--user-key", "alice.pem", "--list-csr").ok().prints(ids["waiting.csr.pem"] + " | '<Name(CN=waiting)>'")
	d.caucase("--user-key", "bob.pem", "--list-csr").refused(401)
	d.caucase("--user-key", "alice.pem", "--sign-csr", ids["waiting.csr.pem"]).ok()
	d.caucase("--get-crt", ids["waiting.csr.pem"], "waiting.crt.pem").ok()
	d.valid(services, "waiting.crt.pem")
	d.caucase("--mode", "user", "--threshold", "100", "--renew-crt", "alice.pem", "alice.pem").ok()
	d.caucase("--user-key", "alice.pem", "--list-csr").ok()
	// Services, too.
	d.copy("web.pem", "web.old.pem")
	d.caucase("--threshold", "100", "--renew-crt", "web.pem", "").ok().omits("skipping")
	d.valid(services, "web.pem")
	d.caucase("--user-key", "alice.pem", "--revoke-other-crt", "web.old.pem").ok()
	d.revoked(services, "web.old.pem")
	// The lock counts earlier requests.
	d.makesRequest("late")
	id := d.caucase("--send-csr", "late.csr.pem").ids()["late.csr.pem"]
	d.caucase("--get-crt", id, "late.crt.pem").exits(2)
	// And the agent renews.
	held := d.certificate("agent.crt.pem")
	p = background(t, d.dir, append(updater, "--threshold", "92.99999")...)
	eventually(t, time.Minute, func() string {
		if p.ended() {
			t.Fatalf("the updater ended: %v", p.err)
		}
		// It writes the file in place.
		for _, block := range blocks(d.read("agent.crt.pem"), "CERTIFICATE") {
			if crt, err := x509.ParseCertificate(block.Bytes); err == nil && crt.SerialNumber.Cmp(held.SerialNumber) != 0 {
				return ""
			}
		}
		return "the updater has not renewed yet"
	})
	p.terminate()
}

// A client that was away during a rollover, and during the move, follows from what it knew.
func TestImportedChainIsFollowed(t *testing.T) {
	needReference(t)
	const span = "0.000694444444" // days: a minute
	options := []string{"--service-crt-validity", span, "--user-crt-validity", span}
	reference := startReference(t, append(options, "--threshold", "0.0001")...)
	d := reference.desk(t)
	d.caucase().ok()
	d.knows(services, 1)
	reference.awaitLinks(t, services, 1, 4*time.Minute)
	here := reference.becomesOurs(t, append(options, "--backdate", "0s")...)
	d.ca = here.ca
	d.caucase().ok()
	if n := len(d.certificates(services.ca)); n != 2 {
		t.Errorf("the client knows %d CA certificates", n)
	}
	here.ca.awaitLinks(t, services, 2, 4*time.Minute)
	d.caucase().ok()
	d.genuine(services)
}

// What we export the reference imports, and the other way round.
func TestExportedCAsAreExchanged(t *testing.T) {
	needReference(t)
	d := &desk{t: t, dir: t.TempDir()}
	theirs := startReference(t)
	theirs.terminate()
	d.ours("cauased", "manage", "import-caucase", "--db", "ours.sqlite", filepath.Join(theirs.cmd.Dir, "caucase.sqlite")).ok()
	d.write("passphrase", []byte("correct horse\n"))
	d.ours("cauased", "manage", "export-ca", "--db", "ours.sqlite", "--passphrase-file", "passphrase", "exported.pem").ok()
	d.run("openssl", "pkey", "-in", "exported.pem", "-passin", "file:passphrase", "-out", "key.pem").ok()
	d.run("openssl", "x509", "-in", "exported.pem", "-out", "crt.pem").ok()
	// The reference asks a terminal for passphrases.
	d.reference("caucased-manage", "--db", "theirs.sqlite", "--import-ca", "key.pem", "--import-ca", "crt.pem").ok()
	d.ours("cauased", "manage", "import-ca", "--db", "again.sqlite", "--passphrase-file", "passphrase", "exported.pem").ok()
}
