package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/testkit/pkitest"
)

// A file whose name is an id is never taken for what has that id, nor the other way round.
func TestIDsAreNoFiles(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	evil := pkitest.NamedRequest(t, pkitest.Key(t), "evil")
	for _, name := range []string{id, "99", "99999999999999999999", "00" + id} {
		if err := os.WriteFile(name, evil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"csr show " + id, "csr show 00" + id, "csr show " + id + " --user-key="} {
		s.ok(line)
		s.says("CN=web")
		if strings.Contains(s.out, "evil") {
			t.Errorf("%s shows the file", line)
		}
	}
	for line, says := range map[string]string{
		"csr show 99":                        "404",
		"csr show 99999999999999999999":      "is not the id of a request",
		"csr send " + id:                     "is an id where a file is expected\n.*hint: .* ./" + id,
		"csr get " + id + " " + id:           "is an id where a file is expected",
		"crt get " + id + " " + id:           "is an id where a file is expected",
		"crt show " + id:                     "is an id where a file is expected",
		"crt renew " + id:                    "is an id where a file is expected",
		"crt renew admin.pem " + id:          "is an id where a file is expected",
		"crt revoke " + id:                   "is an id where a file is expected",
		"crt revoke --other " + id:           "--other " + id + " is an id",
		"csr sign --with " + id + " " + id:   "--with " + id + " is an id",
		"csr sign --csr " + id + " " + id:    "--csr " + id + " is an id",
		"csr reject --csr " + id + " " + id:  "--csr " + id + " is an id",
		"csr sign ./" + id:                   "is not the id of a request",
		"csr reject web.csr.pem":             "is not the id of a request",
		"csr sign --digest " + id + " " + id: "is not a digest",
	} {
		s.exits(line, 1)
		s.says(says)
	}
	s.ok("csr show ./" + id)
	s.says("CN=evil")
	s.exits("crt get "+id, 2)
}

func TestDigestsAreAboutOneRequest(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	s.ok("csr show " + id)
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}\n$`).FindString(s.out)
	for line, says := range map[string]string{
		"csr sign --digest " + strings.TrimSpace(digest) + " 1 2":                 "about one request",
		"csr sign --digest= " + id:                                                "is not a digest",
		"csr sign --digest sha256:00 " + id:                                       "is not a digest",
		"csr sign --csr= " + id:                                                   "no such file",
		"csr sign --csr admin.pem " + id:                                          "a private key, and no certificate signing request",
		"csr sign --csr web.csr.pem --digest " + digest[:71] + " " + id:           "give one of them",
		"csr sign --digest sha256:" + strings.Repeat("0", 64) + " " + id:          "another than the one that was shown",
		"csr reject --digest sha256:" + strings.Repeat("0", 64) + " " + id:        "another than the one that was shown",
		"csr sign --digest sha256:" + strings.Repeat("0", 64) + " 99":             "404",
		"csr sign --csr web.csr.pem --with admin.csr.pem --profile= " + id + " 7": "about one request",
	} {
		s.exits(line, 1)
		s.says(says)
	}
	s.ok("csr sign --json --digest " + strings.ToLower(strings.TrimSpace(digest)) + " " + id)
	var results []resultView
	if err := json.Unmarshal([]byte(s.out), &results); err != nil || len(results) != 1 || results[0].Result != "signed" || results[0].Request == nil || results[0].Request.Digest != strings.TrimSpace(digest) {
		t.Errorf("%s, %v", s.out, err)
	}
}

// Whatever is going to be in the certificate is shown, by the list, by csr show and before it is signed; what others have
// written stays in its place.
func TestAllThatWillBeSignedIsShown(t *testing.T) {
	s := newShell(t)
	s.admin()
	ext := func(id asn1.ObjectIdentifier, critical bool, value any) pkix.Extension {
		t.Helper()
		der, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: id, Critical: critical, Value: der}
	}
	type qualifier struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"ia5"`
	}
	type policy struct {
		ID         asn1.ObjectIdentifier
		Qualifiers []qualifier `asn1:"optional"`
	}
	sans := []string{"a.example", "b.example", "c.example", "d.example", "*.e.example"}
	template := &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "web   7  as-requested", Organization: []string{"Ex, Inc\\"}}, DNSNames: sans,
		ExtraExtensions: []pkix.Extension{
			ext(asn1.ObjectIdentifier{2, 5, 29, 15}, true, asn1.BitString{Bytes: []byte{0xa0, 0x80}, BitLength: 9}),
			ext(asn1.ObjectIdentifier{2, 5, 29, 37}, false, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}, {1, 3, 6, 1, 5, 5, 7, 3, 9}, {2, 5, 29, 37, 0}, {1, 2, 3}}),
			ext(asn1.ObjectIdentifier{2, 5, 29, 32}, false, []policy{{ID: asn1.ObjectIdentifier{1, 2, 3, 4}, Qualifiers: []qualifier{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 1}, "http://cps.example/"}}}, {ID: asn1.ObjectIdentifier{1, 2, 5}}}),
			ext(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 7}, false, "hidden"),
		},
	}
	if err := os.WriteFile("all.csr.pem", pkitest.Request(t, pkitest.Key(t), template), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ok("csr send all.csr.pem")
	id := s.id()
	wanted := []string{
		`CN=web \x20 7 \x20as-requested,O=Ex\, Inc\\`,
		"DNS:a.example, DNS:b.example, DNS:c.example, DNS:d.example, DNS:*.e.example",
		"digitalSignature, keyEncipherment, decipherOnly",
		"server, OCSP signing (1.3.6.1.5.5.7.3.9), any usage (2.5.29.37.0), 1.2.3",
		"1.2.3.4 CPS http://cps.example/, 1.2.5",
		"1.3.6.1.4.1.32473.7 #130668696464656e",
		"as-requested", "93d", "ECDSA P-256", "sha256:",
	}
	for _, line := range []string{"csr list", "csr show " + id, "csr sign " + id} {
		s.ok(line)
		for _, text := range wanted {
			if !strings.Contains(s.out, text) {
				t.Errorf("%s does not show %q:\n%s", line, text, s.out)
			}
		}
	}
	if !strings.HasSuffix(s.out, "signed "+id+"\n") {
		t.Errorf("ends with %q", s.out)
	}
	s.ok("csr show --json " + id)
	var view requestView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || !slices.Equal(view.SANs, []string{"DNS:a.example", "DNS:b.example", "DNS:c.example", "DNS:d.example", "DNS:*.e.example"}) ||
		len(view.KeyUsages) != 3 || len(view.Usages) != 4 || len(view.Policies) != 2 || len(view.Others) != 1 || view.Others[0].OID != "1.3.6.1.4.1.32473.7" || view.Previewed {
		t.Errorf("%+v, %v", view, err)
	}
}

// What the daemon says is going to be signed is shown, and not what was asked for; of the daemon's words none
// reaches the terminal raw.
func TestPreviewIsShown(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web --eku server", 2)
	id := s.id()
	csr, err := os.ReadFile("web.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	answers := func(answer map[string]any) {
		answer["id"], answer["csr"] = id, string(csr)
		s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.Method != http.MethodGet:
				return false
			case r.URL.Path == "/cas/csr":
				_ = json.NewEncoder(w).Encode([]any{answer})
				return true
			case r.URL.Path == "/cas/csr/"+id:
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				_ = json.NewEncoder(w).Encode(answer)
				return true
			}
			return false
		})
	}
	block, _ := pem.Decode(csr)
	if block == nil {
		t.Fatal("no PEM")
	}
	answers(map[string]any{"profile": "e\x1b[2Jvil\u202e", "certificate": map[string]any{
		"profile": "kiosk\x1b[2J", "validity_seconds": 90061, "subject": []byte{0x30, 0},
		"extensions": []map[string]any{{"oid": "1.2.3.4", "critical": true, "value": []byte{5, 0}}, {"oid": "2.5.29.15", "value": []byte("garbage")}, {"oid": "2.5.29.17", "value": []byte{1}}},
	}})
	for _, line := range []string{"csr list", "csr show " + id, "csr sign " + id} {
		s.ok(line)
		for _, text := range []string{`kiosk\x1b[2J`, "90061s", "1.2.3.4 critical #0500", "2.5.29.15 KeyUsage #67617262616765", "2.5.29.17 SubjectAltName #01", "ExtendedKeyUsage"} {
			if !strings.Contains(s.out, text) {
				t.Errorf("%s does not show %q:\n%s", line, text, s.out)
			}
		}
		s.says("not granted: +ExtendedKeyUsage")
		if strings.ContainsAny(s.out, "\x1b\u202e") || strings.Contains(s.out, "CN=web") {
			t.Errorf("%s shows %q", line, s.out)
		}
	}
	// What was shown is asked for by name: the authority's default may change meanwhile.
	if got := s.daemon.CAS.Approvals; len(got) != 1 || got[0] != "profile=kiosk%1B%5B2J" {
		t.Errorf("signed as %q", got)
	}
	s.ok("csr list --json")
	if strings.ContainsAny(s.out, "\x1b\u202e") {
		t.Errorf("JSON %q", s.out)
	}
	answers(map[string]any{"problem": "refused: \x1b[31mno\n 8  as-requested"})
	s.ok("csr list")
	s.says(`problem: +refused: \\x1b\[31mno\\x0a 8 \\x20as-requested\n`)
	for name, answer := range map[string]map[string]any{
		"an OID that is none":    {"certificate": map[string]any{"extensions": []any{map[string]any{"oid": "1.x"}}}},
		"a huge OID":             {"certificate": map[string]any{"extensions": []any{map[string]any{"oid": "2.25.285541874270823339875695650038637483517"}}}},
		"a validity in the past": {"certificate": map[string]any{"validity_seconds": -1}},
		"a validity of ages":     {"certificate": map[string]any{"validity_seconds": int64(1) << 62}},
	} {
		answers(answer)
		for _, line := range []string{"csr list", "csr show " + id, "csr sign " + id} {
			if s.exits(line, 1); !strings.Contains(s.err, "is not from a certificate authority") {
				t.Errorf("%s: %s: %s", name, line, s.err)
			}
		}
	}
	// An answer about another request, and one that cannot be shown.
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && r.URL.Path == "/cas/csr/"+id {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id": "7", "csr": %q}`, csr)
			return true
		}
		return false
	})
	s.exits("csr sign "+id, 1)
	s.says("it is about request 7")
}

// A request that cannot be shown is signed only by whoever knows its digest.
func TestNothingIsSignedUnseen(t *testing.T) {
	s := newReferenceShell(t)
	s.admin()
	s.Setenv("CAUASE_CAUCASE", "1")
	s.exits("request --cn web", 2)
	id := s.id()
	csr, err := os.ReadFile("web.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || r.URL.Path != "/cas/csr/"+id && r.URL.Path != "/cas/csr" {
			return false
		}
		odd := "see above\n" + string(csr)
		if r.URL.Path == "/cas/csr" {
			_ = json.NewEncoder(w).Encode([]map[string]string{{"id": id, "csr": odd}})
		} else {
			fmt.Fprint(w, odd)
		}
		return true
	})
	s.exits("csr sign "+id, 1)
	s.says("(?s)cannot be shown, and is not signed unseen.*hint: .*--digest")
	s.ok("csr list")
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(s.out)
	s.says(id + ` +- +- +- +\(not acceptable\)`)
	s.ok("csr sign " + id + " --digest " + digest)
	s.ok("crt get " + id)
}
