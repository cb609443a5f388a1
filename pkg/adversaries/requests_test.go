package adversaries

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// text sends what becomes of a good request in PEM.
func text(change func(good []byte) []byte) func(*world) answer {
	return func(w *world) answer { return w.submit(change(csr{}.pem())) }
}

// mangled sends a request whose DER is changed.
func mangled(change func(good []byte) []byte) func(*world) answer {
	return func(w *world) answer { return w.submit(csr{mangle: change}.pem()) }
}

func attributed(attributes ...[]byte) func(*world) answer {
	return func(w *world) answer { return w.submit(csr{attributes: bytes.Join(attributes, nil)}.pem()) }
}

func encodingRows() []row {
	header := []byte("-----BEGIN CERTIFICATE REQUEST-----\n")
	deep := func(levels int) (der []byte) {
		der = null
		for range levels {
			der = seq(der)
		}
		return der
	}
	return []row{
		{class: 6, name: "two blocks", try: text(func(g []byte) []byte { return append(g, csr{}.pem()...) }), want: "400", says: "block"},
		{class: 6, name: "a header", try: text(func(g []byte) []byte {
			return bytes.Replace(g, header, append(header, "Proc-Type: 4,ENCRYPTED\n\n"...), 1)
		}), want: "400", says: "header"},
		{class: 6, name: "text before", try: text(func(g []byte) []byte { return append([]byte("Please sign:\n"), g...) }), want: "400", says: "PEM"},
		{class: 6, name: "text behind", try: text(func(g []byte) []byte { return append(g, "Thank you.\n"...) }), want: "400", says: "PEM"},
		{class: 6, name: "CRLF", try: text(func(g []byte) []byte { return bytes.ReplaceAll(g, []byte("\n"), []byte("\r\n")) }), want: "201", pending: 1},
		{class: 6, name: "no final newline", try: text(bytes.TrimSpace), want: "201", pending: 1},
		{class: 6, name: "one line of a kilobyte", try: text(func(g []byte) []byte {
			begin, body, end := header, string(g[len(header):]), "-----END"
			body, rest, _ := strings.Cut(body, end)
			return []byte(string(begin) + strings.ReplaceAll(body, "\n", "") + "\n" + end + rest)
		}), want: "201", pending: 1},
		{class: 6, name: "NUL behind", try: text(func(g []byte) []byte { return append(g, 0) }), want: "400", says: "PEM"},
		{class: 6, name: "NUL within base64", try: text(func(g []byte) []byte { return bytes.Replace(g, header, append(header, "MI\x00"...), 1) }), want: "400", says: "PEM"},
		{class: 6, name: "a certificate", try: text(func([]byte) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: csr{}.der()})
		}), want: "400", says: "CERTIFICATE"},
		{class: 6, name: "an end of another type", try: text(func(g []byte) []byte {
			return bytes.Replace(g, []byte("END CERTIFICATE REQUEST"), []byte("END CERTIFICATE"), 1)
		}), want: "400", says: "PEM"},
		{class: 6, name: "100,000 beginnings of blocks (CVE-2025-61723)", try: text(func([]byte) []byte {
			return bytes.Repeat([]byte("-----BEGIN A-----\n"), 5600)
		}), want: "400", says: "PEM"},
		{class: 6, name: "102,401 bytes", try: text(func([]byte) []byte { return bytes.Repeat([]byte("\n"), 100<<10+1) }), want: "400", says: "bytes"},
		{class: 6, name: "nothing", try: text(func([]byte) []byte { return nil }), want: "400", says: "PEM"},
		{class: 6, name: "DER", try: func(w *world) answer { return w.submit(csr{}.der()) }, want: "400", says: "PEM"},

		{class: 7, name: "an indefinite length", try: mangled(func(der []byte) []byte {
			return append(append([]byte{0x30, 0x80}, der[3:]...), 0, 0)
		}), want: "400", says: "DER"},
		{class: 7, name: "a byte behind the request", try: mangled(func(der []byte) []byte { return append(der, 0) }), want: "400", says: "trailing"},
		{class: 7, name: "4,000 SEQUENCEs within each other", try: mangled(func([]byte) []byte { return deep(4000) }), want: "400", says: "DER"},
		{class: 7, name: "an empty SEQUENCE", try: mangled(func([]byte) []byte { return seq() }), want: "400", says: "PKCS#10"},
		{class: 7, name: "a tag of 64 bits (CVE-2026-40097)", try: mangled(func([]byte) []byte {
			return append([]byte{0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}, seq()...)
		}), want: "400", says: "DER"},
		{class: 7, name: "a length of 2^31", try: mangled(func([]byte) []byte { return []byte{0x30, 0x84, 0x80, 0, 0, 0} }), want: "400", says: "DER"},
		{class: 7, name: "a length in more bytes than it needs", try: mangled(func(der []byte) []byte {
			return append([]byte{0x30, 0x83, 0}, der[2:]...)
		}), want: "400", says: "DER"},
		{class: 7, name: "a version that is padded", try: mangled(func(der []byte) []byte {
			return bytes.Replace(der, []byte{2, 1, 0, 0x30}, []byte{2, 2, 0, 0, 0x30}, 1)
		}), want: "400", says: "DER"},
		{class: 7, name: "version 2", try: func(w *world) answer { return w.submit(csr{version: 2}.pem()) }, want: "400", says: "version"},
		{class: 7, name: "nothing but an OCTET STRING", try: mangled(func(der []byte) []byte { return tlv(4, der) }), want: "400", says: "PKCS#10"},
		{class: 7, name: "half of it", try: mangled(func(der []byte) []byte { return der[:len(der)/2] }), want: "400", says: "DER"},

		{class: 8, name: "an extension twice", try: attributed(extensions(extension(oidKeyUsage, false, []byte{3, 2, 7, 0x80}), extension(oidKeyUsage, false, []byte{3, 2, 7, 0x80}))),
			want: "400", says: "duplicate"},
		{class: 8, name: "two extensionRequests", try: attributed(san(dns("a.example")), san(dns("b.example"))), want: "400", says: "twice"},
		{class: 8, name: "CA:TRUE, critical", try: granted(extension(oidBasic, true, seq([]byte{1, 1, 0xff}))), want: "CA false, usage 0", signed: 1},
		{class: 8, name: "keyCertSign and cRLSign", try: granted(extension(oidKeyUsage, true, []byte{3, 2, 1, 0x06})), want: "CA false, usage 0", signed: 1},
		{class: 8, name: "digitalSignature and keyCertSign", try: granted(extension(oidKeyUsage, true, []byte{3, 2, 2, 0x84})), want: "CA false, usage 1", signed: 1},
		{class: 8, name: "an unknown critical extension", try: attributed(extensions(extension(o(1, 2, 3, 4), true, null))), want: "400", says: "critical"},
		{class: 8, name: "name constraints, critical", try: granted(extension(oidConstraints, true, seq(tlv(0xa0, seq(dns("example")))))), want: "CA false, usage 0", signed: 1},
		{class: 8, name: "OCSPSigning", try: granted(extension(o(2, 5, 29, 37), false, seq(oid(o(1, 3, 6, 1, 5, 5, 7, 3, 9))))), want: "CA false, usage 0", signed: 1},
		{class: 8, name: "a key usage that is no BIT STRING", try: attributed(extensions(extension(oidKeyUsage, true, null))), want: "400", says: "KeyUsage"},
		{class: 8, name: "a list of 101 usages", try: attributed(extensions(extension(o(2, 5, 29, 37), false, seq(bytes.Repeat(oid(o(1, 3, 6, 1, 5, 5, 7, 3, 1)), 101))))), want: "400", says: "usage"},
	}
}

// granted has a request signed by a user, and says what it has got.
func granted(wanted []byte) func(*world) answer {
	return func(w *world) answer {
		h := w.issueFor("cas", nil, csr{attributes: extensions(wanted)}.pem(), "")
		for _, usage := range h.crt.ExtKeyUsage {
			if usage == x509.ExtKeyUsageOCSPSigning {
				return answer{"OCSPSigning", ""}
			}
		}
		if len(h.crt.PermittedDNSDomains) > 0 {
			return answer{"constrained", ""}
		}
		return answer{fmt.Sprintf("CA %v, usage %d", h.crt.IsCA, h.crt.KeyUsage), ""}
	}
}

func subject(name []byte) func(*world) answer {
	return func(w *world) answer { return w.submit(csr{subject: name}.pem()) }
}

func called(value string) func(*world) answer { return subject(cn(utf8s(value))) }

func nameRows() []row {
	template := func(change func(*x509.CertificateRequest)) func(*world) answer {
		return func(w *world) answer {
			r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "mallory"}}
			change(r)
			return w.submit(pkitest.Request(w, pkitest.Key(w), r))
		}
	}
	names := func(list ...string) func(*world) answer {
		return template(func(r *x509.CertificateRequest) { r.DNSNames = list })
	}
	uri := func(text string) func(*world) answer {
		return attributed(san(general(6, text)))
	}
	many := func(n int, last string) (list []string) {
		for i := range n - 1 {
			list = append(list, fmt.Sprintf("n%d.example", i))
		}
		return append(list, last)
	}
	var rdns [][]byte
	for range 10_000 {
		rdns = append(rdns, set(seq(oid(oidCN), utf8s("x"))))
	}
	return []row{
		{class: 9, name: "NUL", try: called("bank.example\x00.evil.example"), want: "400", says: "subject"},
		{class: 9, name: "a line break", try: called("alice\nroot"), want: "400", says: "subject"},
		{class: 9, name: "ESC", try: called("alice\x1b[2J"), want: "400", says: "subject"},
		{class: 9, name: "a right-to-left override", try: called("alice\u202egnp.exe"), want: "400", says: "subject"},
		{class: 9, name: "a zero-width space, which is shown as `\\u200b`", try: called("ali\u200bce"), want: "201", pending: 1},
		{class: 9, name: "64 KB", try: called(strings.Repeat("x", 64<<10)), want: "400", says: "subject"},
		{class: 9, name: "10,000 RDNs", try: subject(seq(rdns...)), want: "400", says: "bytes"},
		{class: 9, name: "5,000 RDNs", try: subject(seq(rdns[:5000]...)), want: "400", says: "subject"},
		{class: 9, name: "no name at all", try: subject(seq()), want: "400", says: "subject"},
		{class: 9, name: "invalid UTF-8", try: called("ali\xffce"), want: "400", says: "subject"},
		{class: 9, name: "a T61String", try: subject(cn(tlv(20, []byte("m\xf8ller")))), want: "400", says: "subject"},
		{class: 9, name: "a BMPString of half a character", try: subject(cn(tlv(30, []byte{0, 'a', 0}))), want: "400", says: "subject"},
		{class: 9, name: "a PrintableString with *", try: subject(cn(tlv(19, []byte("*.example")))), want: "400", says: "subject"},
		{class: 9, name: "one attribute twice in one RDN", try: subject(seq(set(seq(oid(oidCN), utf8s("a")), seq(oid(oidCN), utf8s("a"))))), want: "400", says: "subject"},
		{class: 9, name: "the name of the CA", try: func(w *world) answer { return w.submit(csr{subject: w.cas[0].RawSubject}.pem()) }, want: "400", says: "subject"},
		{class: 9, name: "the name of the CA, in upper case", try: func(w *world) answer {
			return w.submit(csr{subject: cn(utf8s(strings.ToUpper(w.cas[0].Subject.CommonName)))}.pem())
		}, want: "400", says: "subject"},

		{class: 10, name: "an address as DNS name", try: names("192.0.2.1"), want: "400", says: "192.0.2.1"},
		{class: 10, name: "`*`", try: names("*"), want: "400", says: "*"},
		{class: 10, name: "`*.*`", try: names("*.*"), want: "400", says: "*"},
		{class: 10, name: "`www*.example`", try: names("www*.example"), want: "400", says: "*"},
		{class: 10, name: "a trailing dot", try: names("www.example."), want: "400", says: "www.example."},
		{class: 10, name: "a leading dot", try: names(".example"), want: "400", says: ".example"},
		{class: 10, name: "a soft hyphen", try: attributed(san(dns("www\xc2\xad.example"))), want: "400", says: "SubjectAltName"},
		{class: 10, name: "NUL in a DNS name", try: attributed(san(dns("bank.example\x00.evil.example"))), want: "400", says: "SubjectAltName"},
		{class: 10, name: "otherName", try: attributed(san(general(0, string(oid(o(1, 2, 3)))+string(tlv(0xa0, utf8s("x")))))), want: "400", says: "otherName"},
		{class: 10, name: "a URI with user information", try: uri("https://alice:secret@www.example/"), want: "400", says: "user"},
		{class: 10, name: "a URI without scheme", try: uri("//www.example/"), want: "400", says: "URI"},
		{class: 10, name: "an address of 8 bytes, a network", try: attributed(san(general(7, "\x0a\x00\x00\x00\xff\x00\x00\x00"))), want: "400", says: "address"},
		{class: 10, name: "an address of 5 bytes", try: attributed(san(general(7, "12345"))), want: "400", says: "address"},
		{class: 10, name: "10,000 names (CVE-2025-61729)", try: names(many(10_000, "last.example")...), want: "400", says: "bytes"},
		{class: 10, name: "101 names", try: names(many(101, "last.example")...), want: "400", says: "100"},
		{class: 10, name: "100 names, of which the last is bad", try: names(many(100, "*.*")...), want: "400", says: "*.*"},
		{class: 10, name: "no names in the extension", try: attributed(san()), want: "400", says: "SubjectAltName"},
	}
}

func floodRows() []row {
	return []row{
		{class: 11, name: "the same request 200 times in parallel", try: func(w *world) answer {
			request := csr{}.pem()
			ids := make([]string, 200)
			each(len(ids), func(i int) { _, ids[i], _ = w.put("/cas/csr", request) })
			for _, id := range ids {
				if id != ids[0] {
					return answer{"several ids", fmt.Sprint(ids)}
				}
			}
			return answer{"one id", ""}
		}, want: "one id", pending: 1},
		{class: 11, name: "100 requests from one address, which may have 40 pending", try: func(w *world) answer {
			answers := make([]answer, 100)
			each(len(answers), func(i int) { answers[i] = w.submit(csr{}.pem()) })
			return tally(answers)
		}, want: "40×201 60×507", says: "pending", pending: 40},
		{class: 11, name: "a request of 100 KB, again and again", try: func(w *world) answer {
			large := bytes.Repeat([]byte("A"), 100<<10)
			answers := make([]answer, 50)
			each(len(answers), func(i int) { answers[i] = w.submit(large) })
			return tally(answers)
		}, want: "50×400"},
		{class: 11, name: "eight first users at once, where one is approved", try: func(w *world) answer {
			var answers []answer
			for _, id := range w.first {
				status, body := w.get("/cau/crt/" + id)
				answers = append(answers, answer{strconv.Itoa(status), body})
			}
			return tally(answers)
		}, want: "1×200 7×404"},
		{class: 11, name: "one holder's renewals, all at once", try: func(w *world) answer {
			h := w.issue("cas", "busy", "")
			answers := make([]answer, 100)
			each(len(answers), func(i int) {
				answers[i] = w.envelope("/cas/crt/renew", envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, pkitest.Key(w), "busy")))
			})
			return tally(answers)
		}, want: "20×429 80×200", says: "", signed: 81, audited: "crt.renew refused"},
	}
}

// serial numbers and validity

func serialRows() []row {
	signed := func(query string) func(*world) answer {
		return func(w *world) answer {
			_, id, _ := w.put("/cas/csr", csr{}.pem())
			a := w.do(w.user.tls(), "PUT", "/cas/crt/"+id+query, nil, "")
			return a
		}
	}
	imported := func(change func(*x509.Certificate)) func(*world) answer {
		return func(w *world) answer {
			dir := w.TempDir()
			ca := pkitest.NewCA(w, "elsewhere", now().Add(-day), now().Add(4000*day), change)
			file := write(w, dir+"/ca.pem", append(pkitest.PEM(ca.Crt), pkitest.KeyPEM(w, ca.Key)...))
			return tool(w, dir, "cauased", "manage", "import-ca", "--db", dir+"/new.sqlite", file)
		}
	}
	return []row{
		{class: 12, name: "a validity of 0 seconds", try: signed("?validity=0"), want: "400", says: "validity", pending: 1},
		{class: 12, name: "a validity of -1 seconds", try: signed("?validity=-1"), want: "400", says: "validity", pending: 1},
		{class: 12, name: "a validity of 2^63 seconds", try: signed("?validity=9223372036854775808"), want: "400", says: "validity", pending: 1},
		{class: 12, name: "a validity longer than the profile's", try: signed("?validity=999999999"), want: "400", says: "validity", pending: 1},
		{class: 12, name: "a validity of one second, which is backdated by no more than a part of that", try: func(w *world) answer {
			h := w.issue("cas", "short", "?validity=1")
			if d := h.crt.NotAfter.Sub(h.crt.NotBefore); d != time.Second && d != 2*time.Second {
				return answer{d.String(), ""}
			}
			return answer{"1s or 2s", ""}
		}, want: "1s or 2s", signed: 1},
		{class: 12, name: "60 certificates at once, whose serial numbers are positive, of 20 bytes at most and different", try: func(w *world) answer {
			h := w.issue("cas", "many", "")
			serials := make([]*big.Int, 60)
			each(len(serials), func(i int) {
				a := w.envelope("/cas/crt/renew", envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, pkitest.Key(w), "many")))
				if crt, err := pki.ParseCertificatePEM([]byte(a.text)); err == nil {
					serials[i] = crt.SerialNumber
				}
			})
			seen := map[string]bool{}
			for _, s := range serials {
				if s == nil || s.Sign() <= 0 || s.BitLen() > 159 || seen[s.String()] {
					return answer{"bad", fmt.Sprint(serials)}
				}
				seen[s.String()] = true
			}
			return answer{"all different", ""}
		}, want: "all different", signed: 61},
		{class: 12, name: "a certificate that would outlive its CA", try: func(w *world) answer {
			h := w.issue("cas", "long", "")
			return answer{fmt.Sprint(h.crt.NotAfter.After(w.cas[0].NotAfter)), ""}
		}, want: "false", signed: 1},
		{class: 12, name: "a CA with the serial number 0, to import", try: imported(func(c *x509.Certificate) { c.SerialNumber = new(big.Int) }), want: "exit 0"},
		{class: 12, name: "a CA with a serial number of 21 bytes, to import", try: imported(func(c *x509.Certificate) {
			c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 166)
		}), want: "exit 0"},
	}
}
