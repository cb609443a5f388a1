package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// FuzzAnswer reads whatever a daemon may answer to any question: nothing of it may end us,
// nor reach a terminal raw.
func FuzzAnswer(f *testing.F) {
	f.Add(http.StatusOK, "text/html", "/login", []byte("<!DOCTYPE html>"))
	f.Add(http.StatusFound, "", "http://elsewhere/\x1b[2J", []byte{})
	f.Add(http.StatusForbidden, "text/plain", "", []byte("go \x1b[31maway\u202e"))
	f.Add(http.StatusCreated, "", "/cas/csr/123", []byte("[{\"id\": \"1\", \"csr\": \"\"}]"))
	f.Fuzz(func(t *testing.T, status int, typ, location string, body []byte) {
		resp := &http.Response{
			StatusCode: status,
			Header:     http.Header{"Content-Type": {typ}, "Location": {location}},
			Body:       io.NopCloser(bytes.NewReader(body)),
		}
		if err := checkAnswer(resp, body, http.StatusOK, 1<<10); err != nil {
			printableError(t, err)
		} else if status != http.StatusOK || len(body) > 1<<10 {
			t.Errorf("status %d with %d bytes is taken for what was wanted", status, len(body))
		}
		if id, err := ParseID(location[strings.LastIndexByte(location, '/')+1:]); err != nil {
			printableError(t, err)
		} else if again, err := ParseID(id.String()); err != nil || again != id {
			t.Errorf("id %v is read as %v, %v", id, again, err)
		}
	})
}

// FuzzChain reads the succession of CA certificates: none of it is believed.
func FuzzChain(f *testing.F) {
	f.Add([]byte(`[]`))
	f.Add([]byte(`[{"payload": "{\"old_pem\": \"\", \"new_pem\": \"\"}", "digest": "sha256", "signature": "AAAA"}]`))
	f.Add([]byte(`{"payload": "{\"https_ca_pem\": \"\"}", "digest": "sha256", "signature": "AAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := readVoucher(data, nil, clock.System().Now()); err == nil {
			t.Error("a voucher is believed, and nobody is trusted")
		} else {
			printableError(t, err)
		}
		envelopes, err := envelope.ParseList(data)
		if err != nil {
			printableError(t, err)
			return
		}
		for _, e := range envelopes {
			if l := readLink(e); l.err != nil {
				printableError(t, l.err)
			} else if l.check(l.old) == nil && !pki.SameAuthority(l.old.RawSubject, l.new.RawSubject) {
				t.Error("a link leads to another authority")
			}
		}
	})
}

// FuzzHierarchy reads what says which authorities there are and what is above them: all names are
// such, and no chain holds without a root.
func FuzzHierarchy(f *testing.F) {
	f.Add([]byte(`{"_links": {"self": {"href": "/"}, "getCASHAL": {"href": "/cas"}, "x": [{"href": "/../web"}]}}`))
	f.Add([]byte(`{"span_seconds": 1, "parent": "home-root", "generations": [{"key_id": "00"}]}`))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		authorities, err := readAuthorities(data)
		if err != nil {
			printableError(t, err)
		}
		if timeline, err := readTimeline(data); err != nil {
			printableError(t, err)
		} else if timeline.Parent != "" {
			authorities = append(authorities, timeline.Parent)
		}
		for _, a := range authorities {
			if again, err := ParseAuthority(string(a)); err != nil || again != a {
				t.Errorf("an authority is named %q", a)
			}
		}
		issued, err := parseIssued("get", data)
		if err != nil {
			printableError(t, err)
			return
		}
		if err := CheckChain(issued, issued.Chain, nil, clock.System().Now()); err == nil {
			t.Error("a chain holds, and there is no root")
		} else {
			printableError(t, err)
		}
	})
}

// FuzzPending reads what the daemon says about requests: the digest of each is that of what is shown, whatever else is said.
func FuzzPending(f *testing.F) {
	csr := pkitest.NamedRequest(f, pkitest.Key(f), "web")
	entry := func(more string) []byte {
		return fmt.Appendf(nil, `[{"id": "123", "csr": %q%s}]`, csr, more)
	}
	f.Add(entry(""))
	f.Add(entry(`, "profile": "server", "certificate": {"profile": "server", "validity_seconds": 60, "subject": "MAA=", "extensions": [{"oid": "2.5.29.17", "critical": true, "value": "MAA="}]}`))
	f.Add(entry(`, "problem": "\u001b[2J", "certificate": {"validity_seconds": -1, "extensions": [{"oid": "2.25.9223372036854775808"}]}`))
	f.Add([]byte(`[{"id": "1", "csr": "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := readPending(data)
		if err != nil {
			printableError(t, err)
		}
		for _, s := range list {
			digest, err := s.Digest()
			if err != nil {
				printableError(t, err)
				continue
			}
			if req, err := pki.ParseRequest(s.PEM); err == nil && req.Digest != digest {
				t.Errorf("a request has the digest %s here, and %s at the daemon", digest, req.Digest)
			}
			if p := s.Preview; p != nil && (p.Validity < 0 || p.Validity > maxSpan) {
				t.Errorf("a validity of %s", p.Validity)
			}
		}
	})
}

func FuzzPin(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("ab", 32))
	f.Add("sha256:" + strings.Repeat("AB:", 31) + "AB")
	f.Fuzz(func(t *testing.T, s string) {
		pin, err := ParsePin(s)
		if err != nil {
			printableError(t, err)
		} else if again, err := ParsePin(pin.String()); err != nil || again != pin {
			t.Errorf("%v is read as %v, %v", pin, again, err)
		}
	})
}

func FuzzURL(f *testing.F) {
	f.Add("http://[::1]:8009")
	f.Add("http://user@ca.example/x?y#z")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := New(Options{URL: s, Authority: CAS, Clock: clock.System()})
		if err != nil {
			if errors.Is(err, pki.ErrInvalid) {
				t.Errorf("a mistake of the caller's is called the daemon's: %v", err)
			}
			return
		}
		if again, err := New(Options{URL: c.URL(), Authority: CAS, Clock: clock.System()}); err != nil || again.URL() != c.URL() {
			t.Errorf("%q becomes %q, which is %v", s, c.URL(), err)
		}
	})
}

func printableError(t *testing.T, err error) {
	t.Helper()
	for _, r := range err.Error() {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			t.Errorf("not fit to print: %q", err)
			return
		}
	}
}
