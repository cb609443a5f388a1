package caucase

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// Whoever has a request that was rejected is told why, over either port, and nobody else is: clients of the reference are answered
// as by the reference.
func TestRejectionsAreToldToWhoeverHasTheRequest(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c, anyone := s.client(user), s.client(nil)
	csr := newCSR(t, pkitest.Key(t), "host")
	req, err := pki.ParseRequest([]byte(csr))
	if err != nil {
		t.Fatal(err)
	}
	digest := "?digest=" + url.QueryEscape(req.Digest.String())
	const problem = "application/problem+json, */*;q=0.5"
	got := s.do(anyone, "PUT", "http:/cas/csr?once=true", csr, "Accept", problem)
	if got.StatusCode != 201 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	id := got.Header.Get("Location")
	if got := s.do(anyone, "PUT", "http:/cas/csr?once=true", csr, "Accept", problem); got.StatusCode != 201 || got.Header.Get("Location") != id {
		t.Errorf("pending: %d %s", got.StatusCode, got.body)
	}
	for reason, status := range map[string]int{strings.Repeat("x", ca.MaxReason+1): 400, "": 400} {
		if got := s.do(c, "DELETE", "https:/cas/csr/"+id+"?reason="+reason, ""); got.StatusCode != status {
			t.Errorf("a reason of %d bytes: %d %s", len(reason), got.StatusCode, got.body)
		}
	}
	for header, query := range map[string]string{
		strings.Repeat("%78", ca.MaxReason+1): "", "%zz": "", "no": "?reason=no", "no ": "?reason=&reason=",
	} {
		if got := s.do(c, "DELETE", "https:/cas/csr/"+id+query, "", "Cauase-Reason", header); got.StatusCode != 400 {
			t.Errorf("the header %q and %q: %d %s", header, query, got.StatusCode, got.body)
		}
	}
	if got := s.do(anyone, "DELETE", "https:/cas/csr/"+id+"?reason=no", ""); got.StatusCode != 401 {
		t.Errorf("a stranger rejects: %d", got.StatusCode)
	}
	reason := "no such host:\n\x1b[2J  ask bob"
	if got := s.do(c, "DELETE", "https:/cas/csr/"+id+"?reason="+url.QueryEscape(reason), ""); got.StatusCode != 204 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	const told = `no such host: \x1b[2J ask bob`
	other, err := pki.ParseRequest([]byte(newCSR(t, pkitest.Key(t), "host")))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"http:", "https:"} {
		for _, test := range []struct {
			method, target, body, accept string
			status                       int
			tells                        bool
		}{
			{"GET", "/cas/csr/" + id + digest, "", problem, 404, true},
			{"GET", "/cas/csr/" + id + digest, "", "", 404, false},
			{"GET", "/cas/csr/" + id, "", problem, 404, false},
			{"GET", "/cas/csr/" + id, "", "application/json", 404, false},
			{"GET", "/cas/csr/" + id + "?digest=" + url.QueryEscape(other.Digest.String()), "", problem, 404, false},
			{"GET", "/cas/csr/" + id + "?digest=sha256:00", "", problem, 400, false},
			{"GET", "/cas/csr/1" + digest, "", problem, 404, false},
			{"GET", "/cau/csr/" + id + digest, "", problem, 404, false},
			{"GET", "/cas/crt/" + id + digest, "", problem, 404, false},
			{"PUT", "/cas/csr?once=true", csr, problem, 409, true},
			{"PUT", "/cas/csr?once=yes", csr, problem, 400, false},
			{"PUT", "/cas/csr?once=true", csr + csr, problem, 400, false},
		} {
			got := s.do(anyone, test.method, port+test.target, test.body, "Accept", test.accept)
			if got.StatusCode != test.status || strings.Contains(got.body, "bob") != test.tells {
				t.Errorf("%s %s%s, %q: %d %s", test.method, port, test.target, test.accept, got.StatusCode, got.body)
			}
			if !test.tells {
				continue
			}
			var wire rejectionWire
			if err := json.Unmarshal([]byte(got.body), &wire); err != nil || got.Header.Get("Content-Type") != typeProblem || wire.Type != typeRejected || wire.Reason != told ||
				wire.Status != test.status || wire.Rejected.IsZero() || !strings.HasSuffix(wire.Detail, told) {
				t.Errorf("%s %s: %v, %s", test.method, test.target, err, got.body)
			}
		}
	}
	if got := s.do(anyone, "PUT", "http:/cas/csr?once=true", csr, "Content-Type", "application/pkcs10"); got.StatusCode != 409 || !strings.Contains(got.body, told) {
		t.Errorf("in plain text: %d %s", got.StatusCode, got.body)
	}
	// As the reference's clients submit it, it is pending once more, and nothing is told while it is.
	got = s.do(anyone, "PUT", "http:/cas/csr", csr)
	if got.StatusCode != 201 || got.Header.Get("Location") == id {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	again := got.Header.Get("Location")
	if got := s.do(anyone, "PUT", "http:/cas/csr?once=true", csr, "Accept", problem); got.StatusCode != 201 || got.Header.Get("Location") != again {
		t.Errorf("pending once more: %d %s", got.StatusCode, got.body)
	}
	if got := s.do(anyone, "GET", "http:/cas/csr/"+id+digest, "", "Accept", problem); got.StatusCode != 404 || strings.Contains(got.body, "bob") {
		t.Errorf("the earlier id: %d %s", got.StatusCode, got.body)
	}
	if got := s.do(c, "PUT", "https:/cas/crt/"+again, ""); got.StatusCode != 204 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := s.do(anyone, "PUT", "http:/cas/csr?once=true", csr, "Accept", problem); got.StatusCode != 201 || got.Header.Get("Location") != again {
		t.Errorf("signed: %d %s", got.StatusCode, got.body)
	}
}

// A reason comes in a header, which no log has, or in the query, as clients of before send it.
func TestReasonOfARejectionInAHeader(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	for _, test := range []struct{ query, header, told string }{
		{"", "no%20such%20h%C3%B6st", "no such höst"},
		{"?reason=", "a%20line%0A%1B%5B2J", `a line \x1b[2J`},
		{"?reason=in+the+query", "", "in the query"},
		{"", "", ""},
	} {
		csr := newCSR(t, pkitest.Key(t), "host")
		req, err := pki.ParseRequest([]byte(csr))
		if err != nil {
			t.Fatal(err)
		}
		id := s.do(c, "PUT", "http:/cas/csr", csr).Header.Get("Location")
		var header []string
		if test.header != "" {
			header = []string{"Cauase-Reason", test.header}
		}
		if got := s.do(c, "DELETE", "https:/cas/csr/"+id+test.query, "", header...); got.StatusCode != 204 {
			t.Fatalf("%+v: %d %s", test, got.StatusCode, got.body)
		}
		got := s.do(c, "GET", "http:/cas/csr/"+id+"?digest="+url.QueryEscape(req.Digest.String()), "", "Accept", typeProblem)
		var wire rejectionWire
		if err := json.Unmarshal([]byte(got.body), &wire); err != nil || wire.Reason != test.told {
			t.Errorf("%+v: %v, %s", test, err, got.body)
		}
	}
}

// From where a request came, and when, is for users only.
func TestWhoHasSentARequestIsForUsers(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c, anyone := s.client(user), s.client(nil)
	theirs := fmt.Sprint(s.pending(s.Services, pkitest.Key(t)))
	got := s.do(anyone, "PUT", "http:/cas/csr", newCSR(t, pkitest.Key(t), "a"))
	stranger := got.Header.Get("Location")
	got = s.do(c, "PUT", "https:/cas/csr", newCSR(t, pkitest.Key(t), "b"))
	own := got.Header.Get("Location")
	if own == "" || stranger == "" || theirs == "" {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	wants := map[string]submitter{
		stranger: {Kind: "anonymous", Address: "127.0.0.1"},
		own:      {Kind: "user", Serial: user.Leaf.SerialNumber.String(), Subject: pki.SubjectString(user.Leaf.RawSubject), Address: "127.0.0.1"},
	}
	var list []described
	if got := s.do(c, "GET", "https:/cas/csr", ""); json.Unmarshal([]byte(got.body), &list) != nil || len(list) != 3 {
		t.Fatalf("%s", got.body)
	}
	for _, one := range list {
		want, known := wants[one.ID]
		if known && (one.Submitter == nil || *one.Submitter != want || one.Received == nil) {
			t.Errorf("%s: %+v, want %+v", one.ID, one.Submitter, want)
		}
	}
	for id, want := range wants {
		var one described
		if got := s.do(c, "GET", "https:/cas/csr/"+id, "", "Accept", "application/json"); json.Unmarshal([]byte(got.body), &one) != nil || one.Submitter == nil || *one.Submitter != want || one.Received == nil || !strings.Contains(got.Header.Get("Cache-Control"), "private") {
			t.Errorf("%s: %s", id, got.body)
		}
		for _, target := range []string{"http:/cas/csr/", "https:/cas/csr/"} {
			if got := s.do(anyone, "GET", target+id, "", "Accept", "application/json"); got.StatusCode != 200 || strings.Contains(got.body, "received_at") || strings.Contains(got.body, "submitter") || strings.Contains(got.body, "127.0.0.1") {
				t.Errorf("a stranger is told %s", got.body)
			}
		}
		if got := s.do(c, "GET", "http:/cas/csr/"+id, "", "Accept", "application/json"); strings.Contains(got.body, "submitter") {
			t.Errorf("over HTTP: %s", got.body)
		}
	}
}

// Whoever is about to sign a request is told who has its names already, as long as that certificate counts.
func TestNamesThatExistAreToldToUsers(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	submit := func(csr string) string {
		t.Helper()
		got := s.do(c, "PUT", "https:/cas/csr", csr)
		if got.StatusCode != 201 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		return got.Header.Get("Location")
	}
	first := submit(newCSR(t, pkitest.Key(t), "web.example"))
	namesakes := func(id string) []namesake {
		t.Helper()
		var one described
		if got := s.do(c, "GET", "https:/cas/csr/"+id, "", "Accept", "application/json"); json.Unmarshal([]byte(got.body), &one) != nil {
			t.Fatalf("%s", got.body)
		}
		return one.Namesakes
	}
	if got := namesakes(first); len(got) != 0 {
		t.Errorf("before anything is signed: %v", got)
	}
	if got := s.do(c, "PUT", "https:/cas/crt/"+first, ""); got.StatusCode != 204 {
		t.Fatal(got.body)
	}
	bySubject := submit(newCSR(t, pkitest.Key(t), "web.example"))
	bySAN := submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "other", "a.example", "web.example")))
	neither := submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "other", "xweb.example")))
	for id, want := range map[string]int{bySubject: 1, bySAN: 1, neither: 0} {
		if got := namesakes(id); len(got) != want || want > 0 && (got[0].Lineage != first || got[0].Subject != "CN=web.example" || got[0].NotAfter.IsZero()) {
			t.Errorf("%s: %+v, want %d", id, got, want)
		}
	}
	// A name is found under whatever subject, and in whatever form it was written.
	sign := func(id string) {
		t.Helper()
		if got := s.do(c, "PUT", "https:/cas/crt/"+id, ""); got.StatusCode != 204 {
			t.Fatal(got.body)
		}
	}
	sign(bySAN)
	third := submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "third", "A.Example")))
	if got := namesakes(third); len(got) != 1 || got[0].Lineage != bySAN || got[0].Subject != "CN=other" || got[0].Name != "a.example" {
		t.Errorf("a name under another subject: %+v", got)
	}
	// A wildcard covers names, whichever of them was there before.
	wildcard := submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "wild", "*.web.example")))
	if got := namesakes(wildcard); len(got) != 0 {
		t.Errorf("a wildcard that covers nothing: %+v", got)
	}
	host := submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "host", "a.web.example")))
	below := submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "below", "b.a.web.example")))
	sign(host)
	if got := namesakes(wildcard); len(got) != 1 || got[0].Lineage != host || got[0].Name != "a.web.example" {
		t.Errorf("a wildcard that covers a name: %+v", got)
	}
	sign(wildcard)
	if got := namesakes(submit(string(pkitest.NamedRequest(t, pkitest.Key(t), "next", "c.web.example")))); len(got) != 1 || got[0].Name != "*.web.example" {
		t.Errorf("a name that a wildcard covers: %+v", got)
	}
	if got := namesakes(below); len(got) != 0 {
		t.Errorf("a name that no wildcard covers: %+v", got)
	}
	if got := s.do(s.client(nil), "GET", "http:/cas/csr/"+bySubject, "", "Accept", "application/json"); strings.Contains(got.body, "namesakes") {
		t.Errorf("a stranger is told %s", got.body)
	}
	if got := s.do(c, "DELETE", "https:/cas/lineage/"+first, ""); got.StatusCode != 204 {
		t.Fatal(got.body)
	}
	if got := namesakes(bySubject); len(got) != 1 || got[0].Lineage != bySAN {
		t.Errorf("after it was revoked: %v", got)
	}
}
