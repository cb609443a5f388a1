//go:build interop

package interop

import (
	"bytes"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// An authority is one of the two, with the places where clients store its certificates and lists.
type authority struct {
	route string // of the daemon
	ca    string // file or directory
	crl   string
}

// The default places.
var (
	services = authority{route: "/cas", ca: "cas.crt.pem", crl: "cas.crl.pem"}
	users    = authority{route: "/cau", ca: "cau.crt.pem", crl: "cau.crl.pem"}
)

// valid shows the certificate in each file, which may have its key in it, to strict judges
// from elsewhere, with the CA certificate and revocation list that the daemon has now.
func (d *desk) valid(of authority, names ...string) {
	d.t.Helper()
	for _, name := range names {
		b := d.bench(of, name)
		if d.installed("openssl") {
			b.openssl().ok().prints(": OK")
		}
		if d.installed("certtool") {
			b.run("certtool", "--verify", "--verify-profile", "medium", "--load-ca-certificate", "ca.pem", "--infile", "crt.pem").
				ok().prints("The certificate is trusted")
		}
	}
}

// revoked wants the certificate in a file to be on the revocation list, as anybody may read it.
func (d *desk) revoked(of authority, name string) {
	d.t.Helper()
	if d.installed("openssl") {
		d.bench(of, name).openssl().exits(2).complains("certificate revoked")
	}
}

// genuine shows the revocation lists stored here to the judges: each has to be from one CA
// certificate that is stored here too, in the same order.
func (d *desk) genuine(of authority) {
	d.t.Helper()
	cas, crls := blocks(d.read(of.ca), "CERTIFICATE"), blocks(d.read(of.crl), "X509 CRL")
	if len(crls) == 0 || len(cas) != len(crls) {
		d.t.Fatalf("%s holds %d certificates, %s holds %d lists", of.ca, len(cas), of.crl, len(crls))
	}
	for i := range crls {
		b := &desk{t: d.t, dir: d.t.TempDir(), ca: d.ca}
		b.write("ca.pem", pem.EncodeToMemory(cas[i]))
		b.write("crl.pem", pem.EncodeToMemory(crls[i]))
		if d.installed("openssl") {
			b.run("openssl", "crl", "-noout", "-CAfile", "ca.pem", "-in", "crl.pem").ok().complains("verify OK")
			b.run("openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "ca.pem").ok().prints(": OK")
		}
		if d.installed("certtool") {
			b.run("certtool", "--verify-crl", "--load-ca-certificate", "ca.pem", "--infile", "crl.pem").
				ok().prints("The certificate is trusted")
		}
	}
}

// bench is a desk with nothing on it but a certificate and what it is judged by.
func (d *desk) bench(of authority, name string) *desk {
	d.t.Helper()
	b := &desk{t: d.t, dir: d.t.TempDir(), ca: d.ca}
	b.write("crt.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.certificate(name).Raw}))
	b.write("ca.pem", d.ca.get(d.t, of.route+"/crt/ca.crt.pem"))
	b.write("crl.pem", d.ca.get(d.t, of.route+"/crl"))
	return b
}

func (d *desk) openssl() outcome {
	d.t.Helper()
	return d.run("openssl", "verify", "-x509_strict", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "crl.pem", "crt.pem")
}

func (d *desk) run(argv ...string) outcome {
	d.t.Helper()
	return run(d.t, d.dir, argv...)
}

// installed looks for a judge. Without, the rest of a story is still worth telling.
func (d *desk) installed(program string) bool {
	d.t.Helper()
	_, err := exec.LookPath(program)
	switch {
	case err == nil:
		return true
	case requireAll:
		d.t.Fatalf("CAUASE_REQUIRE_ALL is set, but %s is not installed", program)
	default:
		d.t.Logf("not judged: %s is not installed", program)
	}
	return false
}

// readAll reads a file, or all files of a directory in the order of their names.
func readAll(t *testing.T, path string) []byte {
	t.Helper()
	names := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if names, err = filepath.Glob(filepath.Join(path, "*.pem")); err != nil {
			t.Fatal(err)
		}
	}
	var all bytes.Buffer
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.Bytes()
}
