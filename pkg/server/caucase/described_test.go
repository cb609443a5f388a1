package caucase

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

func TestRequestsWithWhatBecomesOfThem(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	id := s.pending(s.Services, pkitest.Key(t))
	target := fmt.Sprintf("http:/cas/csr/%d", id)
	const jsonType = "application/json"
	pem := s.do(c, "GET", target, "")

	read := func(target string, into any, headers ...string) answer {
		t.Helper()
		got := s.do(c, "GET", target, "", headers...)
		if got.StatusCode != 200 || got.Header.Get("Content-Type") != jsonType {
			t.Fatalf("%s: %d %s %s", target, got.StatusCode, got.Header.Get("Content-Type"), got.body)
		}
		if err := json.Unmarshal([]byte(got.body), into); err != nil {
			t.Fatal(err)
		}
		return got
	}
	var one described
	got := read(target, &one, "Accept", jsonType+", application/pkcs10;q=0.5")
	if one.ID != fmt.Sprint(id) || one.CSR != pem.body || one.Profile != "" || one.Problem != "" {
		t.Errorf("%+v", one)
	}
	if crt := one.Certificate; crt == nil || crt.Profile != "as-requested" || crt.Validity != int64(testSpan/time.Second) || len(crt.Extensions) != 0 || len(crt.Subject) == 0 {
		t.Errorf("certificate %+v", crt)
	}
	// A tag is for the request alone, which is another representation.
	if got.Header.Get("ETag") != "" || !slices.Contains(got.Header.Values("Vary"), "Accept") || !slices.Contains(pem.Header.Values("Vary"), "Accept") {
		t.Errorf("headers %v and %v", got.Header, pem.Header)
	}
	for _, accept := range []string{"*/*", "application/*", jsonType + ";q=0", "application/pkcs10"} {
		if got := s.do(c, "GET", target+"?profile=", "", "Accept", accept); got.body != pem.body {
			t.Errorf("%s: %s", accept, got.body)
		}
	}

	var all []described
	read("https:/cas/csr", &all)
	if len(all) != 1 || all[0].ID != one.ID || all[0].CSR != one.CSR || all[0].Certificate == nil || all[0].Certificate.Profile != "as-requested" {
		t.Errorf("%+v", all)
	}

	var chosen described
	read(target+"?profile=server&validity=3600", &chosen, "Accept", jsonType)
	if chosen.Certificate != nil || chosen.Problem == "" {
		t.Errorf("a server without a DNS name: %+v", chosen)
	}
	read(target+"?validity=3600", &chosen, "Accept", jsonType)
	if crt := chosen.Certificate; crt == nil || crt.Validity != 3600 {
		t.Errorf("%+v", chosen)
	}
	for _, query := range []string{"?profile=", "?validity=0", "?profile=a&profile=b", "?validity=1;2"} {
		if got := s.do(c, "GET", target+query, "", "Accept", jsonType); got.StatusCode != 400 {
			t.Errorf("%s: %d", query, got.StatusCode)
		}
	}
	if got := s.do(c, "GET", "http:/cas/csr/7", "", "Accept", jsonType); got.StatusCode != 404 {
		t.Errorf("a request that there is not: %d", got.StatusCode)
	}
	if got := s.do(c, "PUT", fmt.Sprintf("https:/cas/crt/%d", id), ""); got.StatusCode != 204 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	var signed described
	read(target, &signed, "Accept", jsonType)
	if signed.CSR != one.CSR || signed.Certificate != nil || signed.Problem != "" {
		t.Errorf("when it is signed: %+v", signed)
	}
}
