package caucase

import (
	"crypto"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// holdingOf is the word of the holder of crt that the CA certificate with this key identifier is on disk.
func holdingOf(t *testing.T, crt *tls.Certificate, keyID []byte) string {
	t.Helper()
	payload, err := envelope.EncodeHolding(envelope.Holding{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Leaf.Raw)), KeyID: keyID})
	if err != nil {
		t.Fatal(err)
	}
	data, err := envelope.Sign(crt.PrivateKey.(crypto.Signer), payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// recoveryOf is what the holder of crt has kept, without a list.
func recoveryOf(t *testing.T, crt *tls.Certificate) string {
	t.Helper()
	payload, err := envelope.EncodeRecovery(envelope.Recovery{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Leaf.Raw))})
	if err != nil {
		t.Fatal(err)
	}
	data, err := envelope.Sign(crt.PrivateKey.(crypto.Signer), payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestHolding: hosts confirm for themselves and for nobody else, and everybody may know how many have.
func TestHolding(t *testing.T) {
	s := newSite(t)
	mine, _ := s.issue(s.Services)
	other, _ := s.issue(s.Services)
	foreign, _ := s.issue(s.Users)
	id, err := s.Services.Rotate(t.Context(), audit.Actor{Kind: audit.Operator}, ca.Rotation{Begin: store.WhenAdopted})
	if err != nil {
		t.Fatal(err)
	}
	hosts := func() adoptionJSON {
		t.Helper()
		found, err := s.Services.Adoption(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return *adoptionOf(found)
	}
	stolen := *other
	stolen.PrivateKey = mine.PrivateKey
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"nothing":                   {"", 400},
		"no confirmation":           {renewalOf(t, mine), 400},
		"no key identifier":         {strings.Replace(holdingOf(t, mine, id), "holds_ca", "holds", 1), 400},
		"of a CA that is not there": {holdingOf(t, mine, []byte{1, 2, 3}), 400},
		"for another one":           {holdingOf(t, &stolen, id), 401},
		"by who is no holder here":  {holdingOf(t, foreign, id), 400},
		"not signed":                {`{"payload": "{}", "digest": null}`, 400},
		"signed, and changed then":  {strings.Replace(holdingOf(t, mine, id), "sha256", "sha384", 1), 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(s.client(nil), http.MethodPut, "http:/cas/crt/holds", tt.body, "Content-Type", "application/json")
			if got.StatusCode != tt.status {
				t.Errorf("status %d, want %d: %s", got.StatusCode, tt.status, got.body)
			}
			if h := hosts(); h.Confirmed != 0 {
				t.Errorf("%+v", h)
			}
		})
	}
	for range 2 { // again, it is no news
		if got := s.do(s.client(nil), http.MethodPut, "http:/cas/crt/holds", holdingOf(t, mine, id), "Content-Type", "application/json"); got.StatusCode != 204 {
			t.Errorf("status %d: %s", got.StatusCode, got.body)
		}
		if h := hosts(); h.Hosts != 2 || h.Confirmed != 1 || h.Silent != 1 {
			t.Errorf("%+v", h)
		}
	}
	if err := s.Services.RevokeCertificate(t.Context(), audit.Actor{Kind: audit.Operator}, other.Leaf, ca.Revoking{}); err != nil {
		t.Fatal(err)
	}
	if got := s.do(s.client(nil), http.MethodPut, "http:/cas/crt/holds", holdingOf(t, other, id), "Content-Type", "application/json"); got.StatusCode != 400 {
		t.Errorf("a revoked one: status %d: %s", got.StatusCode, got.body)
	}

	var line timelineJSON
	got := s.do(s.client(nil), http.MethodGet, "http:/cas/timeline", "")
	if err := json.Unmarshal([]byte(got.body), &line); err != nil {
		t.Fatal(err)
	}
	if line.Adoption == nil || line.Adoption.Confirmed != 1 || line.Adoption.KeyID != fmt.Sprintf("%x", id) || line.Adoption.Latest == nil || line.Generations[1].Activation != "adopted" {
		t.Errorf("%s", got.body)
	}
}

// TestWithdrawals: who asks is told what is to be trusted no longer.
func TestWithdrawals(t *testing.T) {
	s := newSite(t)
	if got := s.do(s.client(nil), http.MethodGet, "http:/cas/crt/withdrawn.json", ""); got.StatusCode != 200 || string(got.body) != "[]" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if _, err := s.Services.Rotate(t.Context(), audit.Actor{Kind: audit.Operator}, ca.Rotation{Begin: store.AtOnce, Compromised: true}); err != nil {
		t.Fatal(err)
	}
	got := s.do(s.client(nil), http.MethodGet, "http:/cas/crt/withdrawn.json", "")
	list, err := envelope.ParseList([]byte(got.body))
	if err != nil || len(list) != 1 {
		t.Errorf("%s: %v", got.body, err)
	}
	if again := s.do(s.client(nil), http.MethodGet, "http:/cas/crt/withdrawn.json", ""); string(again.body) != string(got.body) {
		t.Error("signed anew for each who asks")
	}
}
