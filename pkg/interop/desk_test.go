//go:build interop

package interop

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// A desk is a folder in which somebody runs commands about one CA.
type desk struct {
	t   *testing.T
	dir string
	ca  *daemon
}

func (d *daemon) desk(t *testing.T) *desk {
	t.Helper()
	return &desk{t: t, dir: t.TempDir(), ca: d}
}

// caucase runs the reference's client.
func (d *desk) caucase(args ...string) outcome {
	d.t.Helper()
	return d.reference("caucase", append([]string{"--ca-url", d.ca.http}, args...)...)
}

// reference runs any of the reference's programs.
func (d *desk) reference(program string, args ...string) outcome {
	d.t.Helper()
	return run(d.t, d.dir, append([]string{filepath.Join(programs.reference, program)}, args...)...)
}

// cauase runs our client.
func (d *desk) cauase(args ...string) outcome {
	d.t.Helper()
	return run(d.t, d.dir, append(d.ca.ours("cauase", "--ca-url", d.ca.http), args...)...)
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

// read returns the content of a file, or of all files of a directory.
func (d *desk) read(name string) []byte {
	d.t.Helper()
	return readAll(d.t, d.path(name))
}

func (d *desk) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) copy(from, to string) {
	d.t.Helper()
	d.write(to, d.read(from))
}

func (d *desk) has(name string) bool {
	_, err := os.Stat(d.path(name))
	return err == nil
}

// files lists a folder.
func (d *desk) files(name string) []string {
	d.t.Helper()
	entries, err := os.ReadDir(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// makesRequest writes name.key and name.csr.pem, which ask for the common name and whatever
// else shape adds.
func (d *desk) makesRequest(name string, shape ...func(*x509.CertificateRequest)) {
	d.t.Helper()
	key := pkitest.KeyOf(d.t, pki.KeyRSA2048)
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	for _, f := range shape {
		f(template)
	}
	d.write(name+".key", pkitest.KeyPEM(d.t, key))
	d.write(name+".csr.pem", pkitest.Request(d.t, key, template))
}

// dns asks for DNS names.
func dns(names ...string) func(*x509.CertificateRequest) {
	return func(r *x509.CertificateRequest) { r.DNSNames = names }
}

// certificates reads those of a file.
func (d *desk) certificates(name string) []*x509.Certificate {
	d.t.Helper()
	var crts []*x509.Certificate
	for _, block := range blocks(d.read(name), "CERTIFICATE") {
		crt, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			d.t.Fatalf("%s: %v", name, err)
		}
		crts = append(crts, crt)
	}
	return crts
}

// certificate reads the only one of a file.
func (d *desk) certificate(name string) *x509.Certificate {
	d.t.Helper()
	crts := d.certificates(name)
	if len(crts) != 1 {
		d.t.Fatalf("%s holds %d certificates:\n%s", name, len(crts), d.read(name))
	}
	return crts[0]
}

// crls reads the revocation lists of a file.
func (d *desk) crls(name string) []*x509.RevocationList {
	d.t.Helper()
	var lists []*x509.RevocationList
	for _, block := range blocks(d.read(name), "X509 CRL") {
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			d.t.Fatalf("%s: %v", name, err)
		}
		lists = append(lists, list)
	}
	return lists
}

// lists reports whether the only revocation list of a file has crt on it.
func (d *desk) lists(name string, crt *x509.Certificate) bool {
	d.t.Helper()
	lists := d.crls(name)
	if len(lists) != 1 {
		d.t.Fatalf("%s holds %d revocation lists:\n%s", name, len(lists), d.read(name))
	}
	for _, entry := range lists[0].RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(crt.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

// keyMatches reports whether the key in one file belongs to the certificate in the other.
func (d *desk) keyMatches(keyFile, crtFile string) bool {
	d.t.Helper()
	var key any
	for _, block := range blocks(d.read(keyFile), "") {
		switch block.Type {
		case "PRIVATE KEY":
			key, _ = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, _ = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		d.t.Fatalf("%s holds no RSA key", keyFile)
	}
	return private.PublicKey.Equal(d.certificate(crtFile).PublicKey)
}

// blocks splits PEM and keeps one type, or all.
func blocks(data []byte, wanted string) []*pem.Block {
	var list []*pem.Block
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return list
		}
		if wanted == "" || block.Type == wanted {
			list = append(list, block)
		}
	}
}
