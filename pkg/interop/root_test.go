//go:build interop

package interop

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// manage runs a command of an operator's on the database of our daemon, beside it.
func (d *daemon) manage(t *testing.T, args ...string) {
	t.Helper()
	db := filepath.Join(d.cmd.Dir, "cauase.sqlite")
	if i := slices.Index(d.cmd.Args, "--db"); i > 0 {
		db = d.cmd.Args[i+1]
	}
	run(t, d.cmd.Dir, append([]string{filepath.Join(programs.ours, "cauased"), "manage"}, append(args, "--db", db)...)...).ok()
}

// A reference client verifies a CA certificate with OpenSSL, by those in its file, and wants a
// self-signed one at the end. Put below a root, an authority serves it for as long as it uses the CA from
// before; that of the root does not help. This is why an authority with reference clients has no parent.
func TestReferenceClientBelowARoot(t *testing.T) {
	needReference(t)
	ca := startOurs(t, "--service-crt-validity", "0.00035")
	theirs, withRoot, ours := ca.desk(t), ca.desk(t), ca.desk(t)
	for _, d := range []*desk{theirs, withRoot} {
		d.caucase().ok()
		d.knows(services, 1)
	}
	ours.cauase("ca", "update").ok()
	ca.manage(t, "authority", "add", "home-root", "--role", "root", "--key-type", "rsa-2048")
	ca.manage(t, "authority", "set-parent", "cas", "home-root")
	eventually(t, 10*time.Second, func() string {
		response, err := http.Get(ca.http + "/home-root/crt/ca.crt.pem")
		if err != nil {
			return err.Error()
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "the daemon does not serve the root: " + response.Status
		}
		return ""
	})
	root := ca.get(t, "/home-root/crt/ca.crt.pem")
	withRoot.write(services.ca, append(slices.Clone(withRoot.read(services.ca)), root...))

	// The next CA certificate is below the root. They pass it over.
	ca.awaitLinks(t, services, 1, 2*time.Minute)
	theirs.caucase().ok()
	withRoot.caucase().ok()
	for _, d := range []*desk{theirs, withRoot} {
		for _, crt := range d.certificates(services.ca) {
			if crt.Issuer.String() != crt.Subject.String() {
				t.Errorf("%s took over %s by %s", d.dir, crt.Subject, crt.Issuer)
			}
		}
	}
	ours.cauase("ca", "update").ok().prints("updated, 2 CA certificates")

	// One more, and they are lost.
	const broken = "unable to get local issuer certificate"
	ca.awaitLinks(t, services, 2, 2*time.Minute)
	theirs.caucase().exits(1).complains(broken)
	withRoot.caucase().exits(1).complains(broken)
	ours.cauase("ca", "update").ok().omits("first contact")
	if newest := ours.certificates(services.ca); string(newest[len(newest)-1].Raw) != string(ca.newest(t, services)) {
		t.Error("our client did not get to the newest CA certificate")
	}
}
