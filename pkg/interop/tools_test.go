//go:build interop

package interop

import (
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// ours runs any of our programs.
func (d *desk) ours(program string, args ...string) outcome {
	d.t.Helper()
	return run(d.t, d.dir, append([]string{filepath.Join(programs.ours, program)}, args...)...)
}

// Both print the same, so scripts need not know which it is.
func TestKeyIDsAreTheSame(t *testing.T) {
	needReference(t)
	d := &desk{t: t, dir: t.TempDir()}
	d.makesRequest("alice")
	d.ours("cauase-rerequest", "--template", "alice.csr.pem", "--csr", "ec.csr.pem", "--key", "ec.key", "--key-type", "ecdsa-p256").ok()
	d.ours("cauase-rerequest", "--template", "alice.csr.pem", "--csr", "ed.csr.pem", "--key", "ed.key", "--key-type", "ed25519").ok()
	header := fmt.Sprintf(`{"cipher": {"name": "aes256_cbc_pkcs7_hmac_10M_sha256", "parameter": "%032x"}, "key_list": [`+
		`{"id": "%040x", "cipher": {"name": "rsa_oaep_sha1_mgf1_sha1"}, "key": "%0512x"}, `+
		`{"id": "%040x", "cipher": {"name": "rsa_oaep_sha1_mgf1_sha1"}, "key": "%0512x"}]}`, 1, 2, 3, 4, 5)
	d.write("20260301120000.sql.caucased",
		append(binary.LittleEndian.AppendUint32([]byte("caucase\x00"), uint32(len(header))), header+strings.Repeat("x", 64)...))
	args := []string{"--private-key", "alice.key", "ec.key", "ed.key", "--backup", "20260301120000.sql.caucased"}
	theirs := d.reference("caucase-key-id", args...).ok()
	if ours := d.ours("cauase-key-id", args...).ok(); ours.stdout != theirs.stdout || ours.stdout == "" {
		t.Errorf("%s\n%s", ours.output(), theirs.output())
	}
}

// A reference daemon takes our request as it took the template, and the reference's tool takes
// ours as a template.
func TestRerequestsAreExchanged(t *testing.T) {
	needReference(t)
	d := startReference(t, "--service-auto-approve-count", "10").desk(t)
	d.makesRequest("db", dns("db.example"), func(template *x509.CertificateRequest) {
		template.Subject.Organization = []string{"Example"}
	})
	d.ours("cauase-rerequest", "--template", "db.csr.pem", "--csr", "one.csr.pem", "--key", "one.key", "--key-len", "2048").ok()
	d.reference("caucase-rerequest", "--template", "one.csr.pem", "--csr", "two.csr.pem", "--key", "two.key").ok()
	d.ours("cauase-rerequest", "--template", "two.csr.pem", "--csr", "three.csr.pem", "--key", "three.key").ok()
	ids := d.caucase("--send-csr", "db.csr.pem", "one.csr.pem", "two.csr.pem", "three.csr.pem").ids()
	if len(ids) != 4 {
		t.Fatalf("ids are %v", ids)
	}
	d.caucase("--get-crt", ids["db.csr.pem"], "db.crt").ok()
	want := d.certificate("db.crt")
	for _, name := range []string{"one", "two", "three"} {
		d.caucase("--get-crt", ids[name+".csr.pem"], name+".crt").ok()
		got := d.certificate(name + ".crt")
		if got.Subject.String() != want.Subject.String() || strings.Join(got.DNSNames, " ") != "db.example" {
			t.Errorf("%s: subject %s, names %v", name, got.Subject, got.DNSNames)
		}
		if !d.keyMatches(name+".key", name+".crt") {
			t.Errorf("%s: the key is another one", name)
		}
	}
}

func TestProbesOfBothDaemons(t *testing.T) {
	eachDaemon(t, func(t *testing.T, d *desk) {
		run(t, d.dir, d.ca.ours("cauase-probe", d.ca.http)...).ok().prints("OK: " + d.ca.http).prints("same CA as over HTTP")
		d.reference("caucase-probe", d.ca.http).ok()
		run(t, d.dir, d.ca.ours("cauase-probe", "--warning", "100000", "--critical", "90000", d.ca.http)...).exits(2).prints("CRITICAL: ")
	})
}
