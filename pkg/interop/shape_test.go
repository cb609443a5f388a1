//go:build interop

package interop

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

// The tests in this file compare what both daemons sign.

func TestDaemonsNameCAsAlike(t *testing.T) {
	needReference(t)
	for name, start := range map[string]func(*testing.T, ...string) *daemon{"cauased": startOurs, "caucased": startReference} {
		d := start(t)
		for of, begin := range map[authority]string{services: "Caucase CAS at ", users: "Caucase CAU at "} {
			block := blocks(d.get(t, of.route+"/crt/ca.crt.pem"), "CERTIFICATE")[0]
			ca, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			// The protocol was once written down with http:// before the netloc and the
			// authority's path after it. On the wire there is neither.
			if want := "CN=" + begin + d.netloc; ca.Subject.String() != want || ca.Issuer.String() != want {
				t.Errorf("%s: subject %s, issuer %s, want %s", name, ca.Subject, ca.Issuer, want)
			}
			// A CA says that it is one, in critical extensions.
			for oid, want := range map[string]string{basicConstraints: "30060101ff020100", keyUsage: "03020106"} {
				ext := extension(ca, oid)
				if ext == nil || !ext.Critical || hex.EncodeToString(ext.Value) != want {
					t.Errorf("%s: CA extension %s is %v, want %s, critical", name, oid, ext, want)
				}
			}
			if !bytes.Equal(ca.SubjectKeyId, ca.AuthorityKeyId) || len(ca.SubjectKeyId) != 20 {
				t.Errorf("%s: key ids %x %x", name, ca.SubjectKeyId, ca.AuthorityKeyId)
			}
			// Both are backdated: the reference by 10 s, which count, we by a minute, which does not.
			if life := ca.NotAfter.Sub(ca.NotBefore).Round(time.Hour); life != 4*93*24*time.Hour {
				t.Errorf("%s: a CA lives for %s", name, life)
			}
		}
	}
}

const (
	subjectKeyID     = "2.5.29.14"
	keyUsage         = "2.5.29.15"
	basicConstraints = "2.5.29.19"
	crlNumber        = "2.5.29.20"
	crlDistribution  = "2.5.29.31"
	policies         = "2.5.29.32"
	authorityKeyID   = "2.5.29.35"
)

// everything asks for as much as a request can.
func everything(r *x509.CertificateRequest) {
	r.Subject.Organization = []string{"Acme"}
	r.Subject.OrganizationalUnit = []string{"Unit"}
	r.Subject.Country = []string{"FR"}
	r.DNSNames = []string{"web.example.org", "*.example.com"}
	r.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1), net.ParseIP("fe80::1")}
	r.EmailAddresses = []string{"a@example.org"}
	r.URIs = []*url.URL{{Scheme: "https", Host: "web.example.org", Path: "/"}}
	r.ExtraExtensions = []pkix.Extension{
		// digitalSignature, keyEncipherment, keyCertSign, cRLSign
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 1, 0xa6}},
		// serverAuth, clientAuth, OCSPSigning
		{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: derOf([]asn1.ObjectIdentifier{
			{1, 3, 6, 1, 5, 5, 7, 3, 1}, {1, 3, 6, 1, 5, 5, 7, 3, 2}, {1, 3, 6, 1, 5, 5, 7, 3, 9}})},
		// a policy of their own, and the mark of what nobody has looked at
		{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: derOf([][]asn1.ObjectIdentifier{
			{{1, 2, 3, 4}}, {{1, 3, 6, 1, 4, 1, 37476, 9000, 70, 0, 0}}})},
		// CA:TRUE
		{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}},
	}
}

func TestDaemonsSignAlike(t *testing.T) {
	needReference(t)
	ours, theirs := startOurs(t).desk(t), startReference(t).desk(t)
	ours.enrols("alice")
	ours.makesRequest("web", everything)
	for _, name := range []string{"alice.csr.pem", "web.csr.pem", "web.key"} {
		theirs.copyFrom(ours, name)
	}
	theirs.makesRequest("admin")
	theirs.enrols("admin") // the first user, approved at once, as alice is there
	for d, user := range map[*desk]string{ours: "alice.pem", theirs: "admin.pem"} {
		id := d.cauase("csr", "send", "web.csr.pem").ids()["web.csr.pem"]
		d.cauase("--user-key", user, "csr", "sign", id).ok()
		d.cauase("crt", "get", id, "web.crt.pem").ok()
		d.valid(services, "web.crt.pem")
		d.copy("web.crt.pem", "renewed.crt.pem")
		d.cauase("crt", "renew", "--force", "renewed.crt.pem", "web.key").ok()
		d.valid(services, "renewed.crt.pem")
	}
	for _, name := range []string{"web.crt.pem", "renewed.crt.pem"} {
		a, b := ours.certificate(name), theirs.certificate(name)
		if !bytes.Equal(a.RawSubject, b.RawSubject) {
			t.Errorf("%s: subject %s, theirs %s", name, a.Subject, b.Subject)
		}
		sameExtensions(t, name, a, b)
	}
	// The policy that marks automatic approval.
	a, b := extension(ours.certificate("alice.pem"), policies), extension(theirs.certificate("admin.pem"), policies)
	if a == nil || b == nil || a.Critical != b.Critical || !bytes.Equal(a.Value, b.Value) {
		t.Errorf("approved without asking: ours %v, theirs %v", a, b)
	}
}

func (d *desk) copyFrom(other *desk, name string) {
	d.t.Helper()
	d.write(name, other.read(name))
}

// sameExtensions compares all but those which name the CA, and the order.
func sameExtensions(t *testing.T, name string, a, b *x509.Certificate) {
	t.Helper()
	for _, pair := range [][2]*x509.Certificate{{a, b}, {b, a}} {
		for _, ext := range pair[0].Extensions {
			if extension(pair[1], ext.Id.String()) == nil {
				t.Errorf("%s: only one has extension %s", name, ext.Id)
			}
		}
	}
	for _, ext := range a.Extensions {
		other := extension(b, ext.Id.String())
		if other == nil {
			continue
		}
		if ext.Critical != other.Critical {
			t.Errorf("%s: extension %s: ours is critical %t, theirs %t", name, ext.Id, ext.Critical, other.Critical)
		}
		switch oid := ext.Id.String(); {
		case oid == authorityKeyID, oid == crlDistribution:
		case oid == subjectKeyID && !bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo):
		case !bytes.Equal(ext.Value, other.Value):
			t.Errorf("%s: extension %s:\nours   %x\ntheirs %x", name, oid, ext.Value, other.Value)
		}
	}
	// Where to find revocations: the CA's number in decimal. Ours is the list in DER.
	for crt, ending := range map[*x509.Certificate]string{a: ".crl", b: ""} {
		host := strings.TrimPrefix(crt.Issuer.CommonName, "Caucase CAS at ")
		want := "http://" + host + "/cas/crl/" + akiOf(crt.AuthorityKeyId) + ending
		if len(crt.CRLDistributionPoints) != 1 || crt.CRLDistributionPoints[0] != want {
			t.Errorf("%s: lists are at %q, want %q", name, crt.CRLDistributionPoints, want)
		}
	}
}

func TestDaemonsListAlike(t *testing.T) {
	needReference(t)
	for name, start := range map[string]func(*testing.T, ...string) *daemon{"cauased": startOurs, "caucased": startReference} {
		d := start(t).desk(t)
		d.enrols("alice")
		d.cauase("crl", "update").ok()
		before := d.crls(services.crl)[0]
		d.cauase("--user-key", "alice.pem", "crt", "revoke", "--unknown", "--serial", "4711", "--serial", "4712").ok()
		d.cauase("crl", "update").ok()
		after := d.crls(services.crl)[0]

		var oids []string
		for _, ext := range after.Extensions {
			oids = append(oids, ext.Id.String())
			if ext.Critical {
				t.Errorf("%s: extension %s is critical", name, ext.Id)
			}
		}
		if slices.Sort(oids); !slices.Equal(oids, []string{crlNumber, authorityKeyID}) {
			t.Errorf("%s: extensions %q, want number and key id", name, oids)
		}
		if after.Number.Cmp(before.Number) <= 0 || len(after.RevokedCertificateEntries) != 2 {
			t.Errorf("%s: number %s after %s, %d entries", name, after.Number, before.Number, len(after.RevokedCertificateEntries))
		}
		for _, entry := range after.RevokedCertificateEntries {
			if len(entry.Extensions) != 0 {
				t.Errorf("%s: serial %s has extensions %v", name, entry.SerialNumber, entry.Extensions)
			}
		}
		if life := before.NextUpdate.Sub(before.ThisUpdate).Hours() / 24; life < 0.329*93 || life > 0.331*93 {
			t.Errorf("%s: a list lives for %v days, want a third of 93", name, life)
		}
	}
}

// What does not prove a user is answered with 401 here, as the protocol says. The reference
// ends the handshake instead, so there is no status to compare; neither grants access.
func TestDaemonsTurnAwayStrangers(t *testing.T) {
	needReference(t)
	for name, start := range map[string]func(*testing.T, ...string) *daemon{"cauased": startOurs, "caucased": startReference} {
		d := start(t).desk(t)
		d.enrols("alice")
		d.obtains("alice.pem", "web")
		service, err := tls.LoadX509KeyPair(d.path("web.pem"), d.path("web.pem"))
		if err != nil {
			t.Fatal(err)
		}
		for who, pair := range map[string]*tls.Certificate{"a service": &service, "a stranger": stranger(t)} {
			response, err := httpsClient(pair).Get(d.ca.https + "/cas/csr")
			if err == nil {
				response.Body.Close()
			}
			switch {
			case name == "caucased" && err == nil:
				t.Errorf("%s: the reference answers %s with %s: compare statuses then", name, who, response.Status)
			case name == "cauased" && err != nil:
				t.Errorf("%s: %s: %v", name, who, err)
			case name == "cauased" && (response.StatusCode != 401 || response.Header.Get("WWW-Authenticate") != "transport"):
				t.Errorf("%s: %s gets %s %v", name, who, response.Status, response.Header)
			}
		}
	}
}

// stranger signs a certificate to itself that looks like one of a user.
func stranger(t *testing.T) *tls.Certificate {
	t.Helper()
	key := pkitest.Key(t)
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "alice"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	crt := pkitest.Certificate(t, template, template, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key}
}

func extension(crt *x509.Certificate, oid string) *pkix.Extension {
	for i, ext := range crt.Extensions {
		if ext.Id.String() == oid {
			return &crt.Extensions[i]
		}
	}
	return nil
}

// akiOf returns a key identifier in the form used in URLs.
func akiOf(id []byte) string { return new(big.Int).SetBytes(id).String() }

// blocksText is the PEM of all blocks of a type.
func blocksText(data []byte, wanted string) []byte {
	var text []byte
	for _, block := range blocks(data, wanted) {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	return text
}

func derOf(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic(err) // the values are constants
	}
	return der
}
