package caucase

import (
	"crypto"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// invitation is one of an operator to the services of a site.
func (s *site) invitation(names ...string) *invite.Signed {
	s.t.Helper()
	allowed, err := invite.ParseNames(names)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := inviter.Make(s.t.Context(), s.Store, s.Clock, s.Services, audit.Actor{Kind: audit.Operator},
		inviter.Order{Names: allowed, Uses: 1, TTL: time.Hour}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// presented is the body that presents an invitation with a request for a new key.
func (s *site) presented(cn string, signed *invite.Signed) string {
	s.t.Helper()
	return presentedFor(s.t, pkitest.Key(s.t), cn, signed.Text())
}

func presentedFor(t testing.TB, key crypto.Signer, cn, text string) string {
	t.Helper()
	body, err := invite.Presentation{Invitation: text, RequestPEM: newCSR(t, key, cn)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func must(t testing.TB) func([]byte, error) []byte {
	return func(data []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

func TestInvitationsOverTheWire(t *testing.T) {
	s := newSite(t)
	alice, _ := s.issue(s.Users)
	signed := s.invitation("cn:web")
	key := pkitest.Key(t)
	put := func(body, query string) answer {
		t.Helper()
		return s.do(s.client(nil), "PUT", "https:/cas/invite"+query, body, "Content-Type", "application/json")
	}
	want := func(got answer, status int, says string) {
		t.Helper()
		if got.StatusCode != status || !strings.Contains(got.body, says) {
			t.Errorf("%d %q, want %d %q", got.StatusCode, got.body, status, says)
		}
		if strings.Contains(got.body, signed.Text()[len(invite.Prefix):]) {
			t.Error("the answer repeats the secret")
		}
	}
	want(put(presentedFor(t, pkitest.Key(t), "other", signed.Text()), ""), 403, "CN=other is not allowed by the invitation, which is for cn:web")
	want(put(presentedFor(t, key, "web", signed.Text()), "?profile=client"), 403, "asks for profile")
	want(put(presentedFor(t, key, "web", signed.Text()), "?profile="), 400, "profile")
	want(put(presentedFor(t, key, "web", signed.Text()[:200]), ""), 400, "cut off")
	want(put(presentedFor(t, key, "web", "x"), ""), 400, "does not begin")
	want(put(`{"invitation": "x"}`, ""), 400, "csr_pem")
	want(put(`{"invitation": "`+signed.Text()+`", "csr_pem": "x"}`, ""), 400, "csr_pem: ")
	// Of an invitation that nobody has signed who may, the request is not even looked at.
	forged, err := invite.Sign(key, must(t)(signed.Payload()))
	if err != nil {
		t.Fatal(err)
	}
	want(put(`{"invitation": "`+forged.Text()+`", "csr_pem": "x"}`, ""), 403, "not signed by whom it names")
	want(put(`{"invitation": "x", "csr_pem": "y", "more": 1}`, ""), 400, "csr_pem")
	want(put(`[]`, ""), 400, "JSON object")
	want(s.do(s.client(nil), "PUT", "https:/cas/invite", "{}"), 400, "Content-Type")
	want(s.do(s.client(nil), "PUT", "http:/cas/invite", presentedFor(t, key, "web", signed.Text()), "Content-Type", "application/json"), 403, "over HTTPS")
	want(s.do(s.client(nil), "PUT", "https:/cau/invite", presentedFor(t, key, "web", signed.Text()), "Content-Type", "application/json"), 403, "is for authority cas")
	want(s.do(s.client(nil), "PUT", "https:/https/invite", presentedFor(t, key, "web", signed.Text()), "Content-Type", "application/json"), 405, "")

	body := presentedFor(t, key, "web", signed.Text())
	first := put(body, "")
	want(first, 201, "")
	again := put(body, "?profile=as-requested")
	want(again, 201, "")
	if first.Header.Get("Location") != again.Header.Get("Location") {
		t.Errorf("ids %s, then %s", first.Header.Get("Location"), again.Header.Get("Location"))
	}
	want(s.do(s.client(nil), "GET", "http:/cas/crt/"+first.Header.Get("Location"), ""), 200, "BEGIN CERTIFICATE")
	want(put(s.presented("web", signed), ""), 403, "used up")

	other := s.invitation("cn:web")
	for range 2 {
		want(s.do(s.client(alice), "DELETE", "https:/cas/invite/"+other.ID.String(), ""), 204, "")
	}
	want(put(s.presented("web", other), ""), 403, "withdrawn")
	for _, id := range []string{"x", strings.ToUpper(other.ID.String()), other.ID.String() + "00", "%0a"} {
		want(s.do(s.client(alice), "DELETE", "https:/cas/invite/"+id, ""), 400, "is not the id of an invitation")
	}
	listed := s.do(s.client(alice), "GET", "https:/cas/invite", "")
	var list []map[string]any
	if err := json.Unmarshal([]byte(listed.body), &list); err != nil || listed.StatusCode != http.StatusOK || len(list) != 2 {
		t.Fatalf("%d %s", listed.StatusCode, listed.body)
	}
	for _, item := range list {
		switch item["id"] {
		case signed.ID.String():
			if item["used"] != 1.0 || item["voided"] != nil || item["inviter"] != "operator" {
				t.Errorf("%v", item)
			}
		case other.ID.String():
			if item["used"] != 0.0 || item["voided"] == nil {
				t.Errorf("%v", item)
			}
		default:
			t.Errorf("%v", item)
		}
	}
	// It is in no log and on no record.
	if log := s.log.String(); strings.Contains(log, invite.Prefix+"ey") {
		t.Error("the access log has the secret")
	}
	err = s.Store.View(t.Context(), func(r store.Reader) error {
		return r.Audit(t.Context(), audit.Filter{}, func(e audit.Entry) error {
			if strings.Contains(e.Detail, invite.Prefix+"ey") {
				t.Errorf("the audit log has the secret: %s", e.Detail)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
