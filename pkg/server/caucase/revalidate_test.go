package caucase

import (
	"net/http"
	"testing"
	"time"
)

// A host that has the list already does not get it again, until something is revoked.
func TestListsAreRevalidated(t *testing.T) {
	s := newSite(t)
	client := s.client(nil)
	first := s.do(client, "GET", "http:/cas/crl", "")
	etag, modified := first.Header.Get("ETag"), first.Header.Get("Last-Modified")
	if first.StatusCode != http.StatusOK || etag == "" || first.Header.Get("Cache-Control") != "public, no-cache" {
		t.Fatalf("status %d, headers %v", first.StatusCode, first.Header)
	}
	expect := func(what string, want int, headers ...string) {
		t.Helper()
		got := s.do(client, "GET", "http:/cas/crl", "", headers...)
		if got.StatusCode != want {
			t.Errorf("%s: status %d, want %d", what, got.StatusCode, want)
		}
		if got.StatusCode == http.StatusNotModified && got.body != "" {
			t.Errorf("%s: a body with 304", what)
		}
	}
	expect("same tag", 304, "If-None-Match", etag)
	expect("another tag", 200, "If-None-Match", `"1"`)
	expect("same time", 304, "If-Modified-Since", modified)
	// The clock may have been set back since: only exactly our own time is an answer of ours.
	expect("a later time", 200, "If-Modified-Since", s.Clock.Now().Add(time.Hour).UTC().Format(http.TimeFormat))

	crt, _ := s.issue(s.Services)
	s.do(client, "PUT", "http:/cas/crt/revoke", revocationOf(t, crt, true), "Content-Type", "application/json")
	expect("same tag after a revocation", 200, "If-None-Match", etag)
	expect("same time after a revocation", 200, "If-Modified-Since", modified)

	for _, target := range []string{"http:/cas/crt/ca.crt.pem", "http:/cau/crt/ca.crt.json", "http:/cas/crt/https-ca.json"} {
		tag := s.do(client, "GET", target, "").Header.Get("ETag")
		if got := s.do(client, "GET", target, "", "If-None-Match", tag); got.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: status %d", target, got.StatusCode)
		}
	}
}
