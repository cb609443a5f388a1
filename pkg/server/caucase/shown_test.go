package caucase

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

func TestSigningWhatWasShown(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	id := s.pending(s.Services, pkitest.Key(t))
	req, sign := fmt.Sprintf("http:/cas/csr/%d", id), fmt.Sprintf("https:/cas/crt/%d", id)

	got := s.do(c, "GET", req, "")
	shown, err := pki.ParseRequest([]byte(got.body))
	if err != nil {
		t.Fatal(err)
	}
	tag := fmt.Sprintf(`"sha256:%x"`, shown.Digest[:])
	if got.Header.Get("ETag") != tag {
		t.Errorf("the request has the tag %s, want %s", got.Header.Get("ETag"), tag)
	}
	another := `"sha256:` + strings.Repeat("0", 64) + `"`
	upper := `"sha256:` + strings.ToUpper(fmt.Sprintf("%x", shown.Digest[:])) + `"`
	type test struct {
		name    string
		ifMatch []string
		status  int
	}
	refusals := []test{
		{"another request", []string{another}, 412},
		{"a weak tag", []string{"W/" + tag}, 412},
		{"the tag of something else", []string{`"1234"`}, 412},
		{"an empty tag", []string{`""`}, 412},
		{"the digest in another spelling", []string{upper}, 412},
		{"several, none of which it is", []string{another + ` , "x",W/"y"`, another}, 412},
		{"a tag without quotes", []string{strings.Trim(tag, `"`)}, 400},
		{"nothing", []string{""}, 400},
		{"commas", []string{" , ,"}, 400},
		{"half a tag", []string{`"sha256:`}, 400},
		{"two tags without a comma", []string{another + another}, 400},
		{"a space in a tag", []string{`"a b"`}, 400},
		{"any, and one", []string{"*, " + tag}, 400},
	}
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			var headers []string
			for _, value := range test.ifMatch {
				headers = append(headers, "If-Match", value)
			}
			for _, try := range []struct{ method, target string }{{"PUT", sign}, {"PUT", sign + "?profile=server&validity=60"}, {"DELETE", strings.Replace(req, "http:", "https:", 1)}} {
				if got := s.do(c, try.method, try.target, "", headers...); got.StatusCode != test.status {
					t.Errorf("%s %s: %d %s, want %d", try.method, try.target, got.StatusCode, got.body, test.status)
				}
			}
			template := newCSR(t, pkitest.Key(t), "granted")
			if got := s.do(c, "PUT", sign, template, append(headers, "Content-Type", "application/pkcs10")...); got.StatusCode != test.status {
				t.Errorf("with a template: %d %s, want %d", got.StatusCode, got.body, test.status)
			}
		})
	}
	if got := s.do(s.client(nil), "PUT", sign, "", "If-Match", another); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger is told %d %s", got.StatusCode, got.body)
	}
	for _, test := range []test{
		{"that one", []string{tag}, 204},
		{"one of several", []string{another, `"x", ` + tag}, 204},
		{"whichever", []string{" * "}, 204},
		{"as the reference's clients ask", nil, 204},
	} {
		for method, path := range map[string]string{"PUT": "crt", "DELETE": "csr"} {
			key := pkitest.Key(t)
			id := s.pending(s.Services, key)
			digest := s.digestOf(id)
			var headers []string
			for _, value := range test.ifMatch {
				headers = append(headers, "If-Match", strings.ReplaceAll(value, tag, `"`+digest.String()+`"`))
			}
			if got := s.do(c, method, fmt.Sprintf("https:/cas/%s/%d", path, id), "", headers...); got.StatusCode != test.status {
				t.Errorf("%s, %s: %d %s", test.name, method, got.StatusCode, got.body)
			}
			if method == "PUT" {
				if got := s.do(c, "GET", fmt.Sprintf("http:/cas/csr/%d", id), "").Header.Get("ETag"); got != `"`+digest.String()+`"` {
					t.Errorf("%s: when it is signed the request has the tag %s", test.name, got)
				}
			}
		}
	}
	if got := s.do(c, "PUT", "https:/cas/crt/7", "", "If-Match", another); got.StatusCode != http.StatusNotFound {
		t.Errorf("a request that is not pending: %d", got.StatusCode)
	}
}

// digestOf is the digest of a pending request of the services.
func (s *site) digestOf(id int64) pki.Digest {
	s.t.Helper()
	got, err := s.Services.Request(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return got.Digest
}
