//go:build interop

package interop

import (
	"bytes"
	"crypto/x509"
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

// A reference client trusts self-signed CA certificates only. Below a root an authority has one for each of its
// keys beside the one that the root has signed, so it follows from generation to generation, gets certificates and renews
// them, and so does one that first meets the authority when it is below the root already.
func TestReferenceClientBelowARoot(t *testing.T) {
	needReference(t)
	ca := startOurs(t, "--service-crt-validity", "0.00035")
	theirs, ours := ca.desk(t), ca.desk(t)
	theirs.caucase().ok()
	theirs.knows(services, 1)
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
	var late *desk
	for links := 1; links <= 3; links++ {
		ca.awaitLinks(t, services, links, 2*time.Minute)
		if late == nil && links > 1 {
			late = ca.desk(t)
		}
		for _, d := range []*desk{theirs, late} {
			if d == nil {
				continue
			}
			newest := ca.newest(t, services)
			d.caucase().ok()
			if !slices.ContainsFunc(d.certificates(services.ca), func(crt *x509.Certificate) bool { return bytes.Equal(crt.Raw, newest) }) {
				t.Errorf("the reference client does not know the newest of %d successors", links)
			}
		}
		ours.cauase("ca", "update").ok().omits("first contact")
	}
	for _, d := range []*desk{theirs, late, ours} {
		for _, crt := range d.certificates(services.ca) {
			if crt.Issuer.String() != crt.Subject.String() {
				t.Errorf("%s is not self-signed", crt.Subject)
			}
		}
	}
}
