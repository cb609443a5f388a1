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

	// From the next CA certificate on, which is below the root, theirs go no further: they pass it over,
	// and fail at the one after it. When exactly depends on which of them they meet, so it is told and not
	// demanded; that they never take one over is.
	ca.awaitLinks(t, services, 1, 2*time.Minute)
	ours.cauase("ca", "update").ok()
	ca.awaitLinks(t, services, 2, 2*time.Minute)
	for _, d := range []*desk{theirs, withRoot} {
		got := d.caucase()
		t.Logf("the reference client exits with %d: %s", got.code, got.stderr)
		for _, crt := range d.certificates(services.ca) {
			if crt.Issuer.String() != crt.Subject.String() {
				t.Errorf("%s took over %s by %s: it follows below a root, and the manual says it does not", d.dir, crt.Subject, crt.Issuer)
			}
		}
	}

	// Ours get there.
	ours.cauase("ca", "update").ok().omits("first contact")
	for _, crt := range ours.certificates(services.ca) {
		if crt.Issuer.String() != crt.Subject.String() {
			return
		}
	}
	t.Error("our client has no CA certificate by the root")
}
