//go:build interop

package interop

import "testing"

// likeTheReference are the options that the manual names to get the reference's behaviour back.
var likeTheReference = []string{
	"--user-auto-approve-count", "1", "--revocation", "certificate", "--fork", "allow", "--renewals-per-day", "1000000",
	"--pending-ttl", "0", "--pending-per-address", "50", "--write-rate", "0", "--handshake-rate", "0",
}

// The whole journey of people who know the reference's client only, on a daemon that behaves as the reference's: what
// is revoked takes nothing else with it, a certificate renews any number of times, and one host fills the list
// of pending requests.
func TestReferenceClientsJourneyWithTheReferencesBehaviour(t *testing.T) {
	needReference(t)
	d := startOurs(t, likeTheReference...).desk(t)
	d.enrolsWithReference("alice", nil)
	d.enrolsWithReference("bob", func(id string) { d.caucase("--mode", "user", "--user-key", "alice.pem", "--sign-csr", id).ok() })
	d.obtainsWithReference("bob.pem", "web", "mail")

	// One certificate is renewed again and again, as after a snapshot of the host was restored.
	for _, name := range []string{"first", "second"} {
		d.copy("web.crt.pem", name+".crt.pem")
		d.copy("web.key", name+".key")
		d.caucase("--threshold", "100", "--renew-crt", name+".crt.pem", name+".key").ok().omits("skipping")
		if !d.keyMatches(name+".key", name+".crt.pem") {
			t.Errorf("%s: key and certificate do not match", name)
		}
	}
	d.valid(services, "web.crt.pem", "first.crt.pem", "second.crt.pem")

	// Each of these is revoked by itself.
	d.caucase("--user-key", "alice.pem", "--revoke-other-crt", "first.crt.pem").ok()
	d.caucase().ok()
	d.revoked(services, "first.crt.pem")
	d.valid(services, "web.crt.pem", "second.crt.pem", "mail.crt.pem")
	d.caucase("--revoke-crt", "web.crt.pem", "web.key").ok()
	d.caucase("--user-key", "bob.pem", "--revoke-serial", d.certificate("second.crt.pem").SerialNumber.String()).ok()
	d.caucase().ok()
	d.revoked(services, "web.crt.pem")
	d.revoked(services, "second.crt.pem")

	// A user's renewal leaves the certificate from before as it was.
	d.copy("bob.pem", "older.pem")
	d.caucase("--mode", "user", "--threshold", "100", "--renew-crt", "bob.pem", "bob.pem").ok().omits("skipping")
	d.caucase("--mode", "user", "--user-key", "alice.pem", "--revoke-other-crt", "bob.pem").ok()
	d.caucase("--user-key", "bob.pem", "--list-csr").refused(401)
	d.caucase("--user-key", "older.pem", "--list-csr").ok()

	// One host may have all the pending requests there can be.
	for range 20 {
		d.makesRequest("waiting")
		d.caucase("--send-csr", "waiting.csr.pem").ok()
	}
}
