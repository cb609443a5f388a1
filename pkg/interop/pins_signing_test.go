//go:build interop

package interop

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

var signingPins = map[string]pin{
	"signer":       theOldestSigns,
	"list-numbers": listsHaveNumbers,
	"records":      recordsStay,
	"list-address": func(t *testing.T, ours, theirs *peer) {
		sameExtensions(t, "web.pem", ours.at.certificate("web.pem"), theirs.at.certificate("web.pem"))
	},
	"renewed-twice": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			p.at.obtains("alice.pem", "again")
			p.at.makesRequest("next")
			payload, err := json.Marshal(map[string]string{"crt_pem": p.certificate("again.pem"), "renew_csr_pem": string(p.at.read("next.csr.pem"))})
			if err != nil {
				t.Fatal(err)
			}
			q := question{ask: "PUT /cas/crt/renew", typ: "application/json", body: p.signedBy("again.pem", string(payload))}
			first, second := p.answer(t, q), p.answer(t, q)
			return fmt.Sprint(first.StatusCode, second.StatusCode, " the same: ", bytes.Equal(first.body, second.body))
		}
		both(t, ours, theirs, see, "200 200 the same: true", "200 404 the same: false")
	},
	"lineages": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			d := p.at
			d.obtains("alice.pem", "host")
			d.copy("host.pem", "older.pem")
			d.copy("host.pem", "stolen.pem")
			d.cauase("crt", "renew", "--force", "host.pem").ok()
			d.cauase("crt", "renew", "--force", "stolen.pem").ok()
			noticed := strings.Contains(string(p.answer(t, question{as: "alice", ask: "GET /cas/lineage"}).body), `"forks":1`)
			d.cauase("--user-key", "alice.pem", "crt", "revoke", "--other", "older.pem").ok()
			return fmt.Sprintf("noticed: %t, renewed once more: %t", noticed, d.cauase("crt", "renew", "--force", "host.pem").code == 0)
		}
		both(t, ours, theirs, see, "noticed: true, renewed once more: false", "noticed: false, renewed once more: true")
	},
	"list-dates": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			before := p.list(t)
			made := time.Now().Truncate(time.Second)
			eventually(t, 10*time.Second, func() string {
				if time.Now().Truncate(time.Second).Equal(made) {
					return "the second in which the list may have been made has not passed"
				}
				return ""
			})
			p.at.cauase("--user-key", "alice.pem", "crt", "revoke", "--unknown", "--serial", "5002").ok()
			after := p.list(t)
			return fmt.Sprint(after.Number.Cmp(before.Number), after.ThisUpdate.After(before.ThisUpdate), after.NextUpdate.After(before.NextUpdate))
		}
		both(t, ours, theirs, see, "1 true true", "1 false false")
	},
	"list-reasons": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			p.at.cauase("--user-key", "alice.pem", "crt", "revoke", "--unknown", "--serial", "5001", "--reason", "superseded").ok()
			for _, block := range blocks(p.get(t, "/cas/crl"), "X509 CRL") {
				list, err := x509.ParseRevocationList(block.Bytes)
				if err != nil {
					t.Fatal(err)
				}
				for _, entry := range list.RevokedCertificateEntries {
					if entry.SerialNumber.Int64() == 5001 {
						return fmt.Sprint(entry.ReasonCode)
					}
				}
			}
			return "not listed"
		}
		both(t, ours, theirs, see, "4", "0")
	},
	"backdate": func(t *testing.T, ours, theirs *peer) {
		// by says by how much what was made between two times is backdated.
		by := func(from, before, after time.Time) time.Duration {
			for _, by := range []time.Duration{time.Minute, 10 * time.Second, 0} {
				if made := from.Add(by); !made.Before(before.Truncate(time.Second)) && !made.After(after) {
					return by
				}
			}
			return -1
		}
		for p, begin := range map[*peer]func(*testing.T, ...string) *daemon{ours: startOurs, theirs: startReference} {
			want, longer := time.Minute, time.Minute
			if p.reference {
				want, longer = 10*time.Second, 0
			}
			before := time.Now()
			p.at.obtains("alice.pem", "dated")
			crt := p.at.certificate("dated.pem")
			if got := by(crt.NotBefore, before, time.Now()); got != want {
				t.Errorf("reference %t: a certificate is backdated by %s", p.reference, got)
			}
			if got := crt.NotAfter.Sub(crt.NotBefore) - 93*24*time.Hour; got != longer {
				t.Errorf("reference %t: a certificate has %s more than its validity", p.reference, got)
			}
			before = time.Now()
			if got := by(begin(t).list(t).ThisUpdate, before, time.Now()); got != want {
				t.Errorf("reference %t: a list is backdated by %s", p.reference, got)
			}
		}
	},
	"key-type": func(t *testing.T, _, _ *peer) {
		for program, want := range map[string]x509.PublicKeyAlgorithm{
			filepath.Join(programs.ours, "cauased"): x509.ECDSA, filepath.Join(programs.reference, "caucased"): x509.RSA,
		} {
			d := start(t, program)
			crt, err := x509.ParseCertificate(blocks(d.get(t, "/cas/crt/ca.crt.pem"), "CERTIFICATE")[0].Bytes)
			if err != nil || crt.PublicKeyAlgorithm != want {
				t.Errorf("%s: %s, %v", program, crt.PublicKeyAlgorithm, err)
			}
			if want == x509.ECDSA {
				for range 2 {
					d.desk(t).caucase().ok()
				}
				if n := strings.Count(d.output.String(), "which cannot follow a CA whose key is not RSA"); n != 2 {
					t.Errorf("warned %d times, not once of each authority", n)
				}
			}
		}
	},
}

// list is the only one of the services' authority.
func (p *daemon) list(t *testing.T) *x509.RevocationList {
	t.Helper()
	list, err := x509.ParseRevocationList(blocks(p.get(t, "/cas/crl"), "X509 CRL")[0].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// twoYoungCAs starts both daemons on two CAs of services that are an hour apart, none a span old.
func twoYoungCAs(t *testing.T, args ...string) (ours, theirs *daemon, older, newer pkitest.CA) {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	young := func(age time.Duration) pkitest.CA {
		key := pkitest.KeyOf(t, pki.KeyRSA2048)
		id := pkitest.KeyID(t, key.Public())
		return pkitest.SelfSigned(t, key, &x509.Certificate{
			Subject: pkitest.Named("Imported").Subject, NotBefore: now.Add(-age), NotAfter: now.Add(300*24*time.Hour - age),
			SubjectKeyId: id, AuthorityKeyId: id, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		})
	}
	older, newer = young(2*time.Hour), young(time.Hour)
	d := &desk{t: t, dir: t.TempDir()}
	for name, ca := range map[string]pkitest.CA{"older.pem": older, "newer.pem": newer} {
		d.write(name, append(pkitest.KeyPEM(t, ca.Key), pkitest.PEM(ca.Crt)...))
	}
	d.reference("caucased-manage", "--db", "theirs.sqlite", "--import-ca", "older.pem", "--import-ca", "newer.pem").ok()
	d.ours("cauased", "manage", "import-ca", "--db", "ours.sqlite", "older.pem", "newer.pem").ok()
	args = append(args, "--service-auto-approve-count", "1", "--db")
	return startOurs(t, append(args, d.path("ours.sqlite"))...), startReference(t, append(args, d.path("theirs.sqlite"))...), older, newer
}

func theOldestSigns(t *testing.T, _, _ *peer) {
	ours, theirs, older, newer := twoYoungCAs(t)
	for d, want := range map[*daemon]pkitest.CA{ours: older, theirs: newer} {
		at := d.desk(t)
		at.makesRequest("web")
		id := at.cauase("csr", "send", "web.csr.pem").ids()["web.csr.pem"]
		crt, err := x509.ParseCertificate(blocks(d.get(t, "/cas/crt/"+id), "CERTIFICATE")[0].Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(crt.AuthorityKeyId, want.Crt.SubjectKeyId) {
			t.Errorf("reference %t: another CA has signed than the one of %s", d.reference, want.Crt.NotBefore)
		}
	}
}

// listsHaveNumbers looks at lists of two CAs. Those of the reference were served after rollovers, and recorded: in the minutes
// that it takes them to get numbers of their own here, it may end by itself.
func listsHaveNumbers(t *testing.T, _, _ *peer) {
	numbers := func(pem []byte) (all []string) {
		for _, block := range blocks(pem, "X509 CRL") {
			list, err := x509.ParseRevocationList(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, list.Number.String())
		}
		return all
	}
	ours, _, _, _ := twoYoungCAs(t)
	d := ours.desk(t)
	d.enrols("alice")
	for _, serial := range []string{"4711", "4712"} {
		d.cauase("--user-key", "alice.pem", "crt", "revoke", "--unknown", "--serial", serial).ok()
		if of := numbers(ours.get(t, "/cas/crl")); len(of) != 2 || of[0] != of[1] {
			t.Errorf("ours: %v", of)
		}
	}
	for _, name := range []string{"cas.crls.pem", "cau.crls.pem"} {
		if of := numbers(readAll(t, filepath.Join("../../testdata/caucase/rolled", name))); len(of) != 2 || of[0] == of[1] {
			t.Errorf("theirs: %v", of)
		}
	}
}

// recordsStay shows what becomes of records: there by a clock that is set ahead, here by a certificate that ends.
func recordsStay(t *testing.T, _, _ *peer) {
	if !(&desk{t: t}).installed("faketime") {
		t.Skip("NOT TESTED: faketime is not installed")
	}
	theirs := startReference(t, "--service-auto-approve-count", "9")
	at := theirs.desk(t)
	// Not below faketime itself, which does not pass signals on.
	library := strings.TrimSpace(at.run("faketime", "-f", "+0", "printenv", "LD_PRELOAD").ok().stdout)
	at.makesRequest("fetched")
	at.makesRequest("left")
	ids := at.cauase("csr", "send", "fetched.csr.pem", "left.csr.pem").ids()
	theirs.get(t, "/cas/crt/"+ids["fetched.csr.pem"])
	for _, later := range []struct{ by, fetched, left string }{{"+70m", "200", ""}, {"+73m", "404", ""}, {"+23h", "404", ""}, {"+25h", "404", "404"}} {
		theirs.terminate()
		theirs.process = background(t, theirs.cmd.Dir, "env", "LD_PRELOAD="+library, "FAKETIME="+later.by,
			filepath.Join(programs.reference, "caucased"), "--netloc", theirs.netloc, "--service-auto-approve-count", "9")
		theirs.awaitReady(t)
		// It forgets when it has something else to keep.
		at.makesRequest("another")
		at.cauase("csr", "send", "another.csr.pem").ok()
		p := &peer{daemon: theirs, words: strings.NewReplacer()}
		if got := status(p, question{ask: "GET /cas/crt/" + ids["fetched.csr.pem"]}); got != later.fetched {
			t.Errorf("theirs: %s, fetched: %s", later.by, got)
		}
		// Whoever fetches what was left has it forgotten sooner.
		if later.left != "" {
			if got := status(p, question{ask: "GET /cas/crt/" + ids["left.csr.pem"]}); got != later.left {
				t.Errorf("theirs: %s, left: %s", later.by, got)
			}
		}
	}

	ours := startOurs(t, "--service-auto-approve-count", "1", "--service-crt-validity", "0.00003")
	at = ours.desk(t)
	at.makesRequest("short")
	id := at.cauase("csr", "send", "short.csr.pem").ids()["short.csr.pem"]
	eventually(t, time.Minute, func() string {
		block, _ := pem.Decode(ours.get(t, "/cas/crt/"+id))
		crt, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().Before(crt.NotAfter.Add(2 * time.Second)) {
			return "it has not expired"
		}
		return ""
	})
}
