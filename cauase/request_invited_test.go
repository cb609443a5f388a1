package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"cauase/pkg/invite"
	"cauase/pkg/pemfile"
	"cauase/pkg/testkit/pkitest"
)

// When the answer to an invitation is lost, the same command again makes no other key or request, so that it is the same
// use, and ends with the certificate.
func TestAnInvitationOfWhichTheAnswerIsLost(t *testing.T) {
	s := newShell(t)
	names, err := invite.ParseNames([]string{"cn:web"})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := invite.Invitation{
		Authority: "cas", Names: names, Uses: 1, Made: s.daemon.Clock.Now(), Until: s.daemon.Clock.Now().Add(time.Hour),
		CAs: map[string][]invite.Fingerprint{"cas": {invite.FingerprintOf(s.daemon.CAS.Oldest())}},
	}.Payload()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := invite.Sign(pkitest.Key(t), payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("web.invite", []byte(signed.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	presented, used := 0, map[string]bool{}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || r.URL.Path != "/cas/invite" {
			return false
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		p, err := invite.DecodePresentation(body)
		if err != nil || p.Invitation != signed.Text() {
			http.Error(w, "no invitation", http.StatusForbidden)
			return true
		}
		presented++
		if used[p.RequestPEM] = true; presented == 1 {
			w.WriteHeader(http.StatusGatewayTimeout)
			return true
		}
		s.daemon.CAS.AutoApprove = 1
		r.URL.Path, r.Body = "/cas/csr", io.NopCloser(bytes.NewReader([]byte(p.RequestPEM)))
		return false
	})
	s.exits("request --cn web --invite web.invite", 1)
	s.ok("request --cn web --invite web.invite")
	if len(used) != 1 || presented != 2 {
		t.Errorf("%d requests, presented %d times", len(used), presented)
	}
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.pem"})
	if err != nil || pair.Crt == nil {
		t.Errorf("%+v %v", pair, err)
	}
	s.ok("request --cn web --invite web.invite") // holds a valid certificate
	if presented != 2 {
		t.Errorf("presented %d times", presented)
	}
}
