package client_test

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/testkit/pkitest"
)

var invitedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// invitedTo is an invitation that says that these are the CA certificates of services.
func invitedTo(t *testing.T, now time.Time, cas ...*x509.Certificate) *invite.Signed {
	t.Helper()
	names, err := invite.ParseNames([]string{"cn:web"})
	if err != nil {
		t.Fatal(err)
	}
	var prints []invite.Fingerprint
	for _, ca := range cas {
		prints = append(prints, invite.FingerprintOf(ca))
	}
	payload, err := invite.Invitation{
		Authority: "cas", Names: names, Uses: 1, Made: now, Until: now.Add(time.Hour), CAs: map[string][]invite.Fingerprint{"cas": prints},
	}.Payload()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := invite.Sign(pkitest.Key(t), payload)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// An invitation is a secret: only the daemon of the CA that it is to may see it, and nobody on the way.
func TestInvitationsAreShownToNobodyElse(t *testing.T) {
	for name, test := range map[string]struct {
		intercept clienttest.Interceptor
		local     func(real, other *clienttest.Authority) []*x509.Certificate // nil: nothing is stored
		of        func(real, other *clienttest.Authority) *x509.Certificate   // whom the invitation is of
		want      error                                                       // nil: it is shown
	}{
		"the CA of the invitation": {nil, nil, ofReal, nil},
		"known already":            {nil, func(real, _ *clienttest.Authority) []*x509.Certificate { return []*x509.Certificate{real.Oldest()} }, ofReal, nil},
		"another CA answers":       {nil, nil, ofOther, client.ErrPin},
		"another one is trusted here": {nil, func(_, other *clienttest.Authority) []*x509.Certificate {
			return []*x509.Certificate{other.Oldest()}
		}, ofReal, client.ErrInvitedElsewhere},
		"no voucher": {func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "https-ca.json") {
				return false
			}
			http.NotFound(w, r)
			return true
		}, nil, ofReal, client.ErrNoInvitations},
		"the voucher of another CA": {func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "cas/crt/https-ca.json") {
				return false
			}
			impostor := clienttest.NewAuthority(t, clock.NewFake(invitedAt), "CAS")
			_, _ = w.Write(impostor.Vouch([]*x509.Certificate{impostor.Oldest()}))
			return true
		}, nil, ofReal, client.ErrVoucher},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clock.NewFake(invitedAt)
			d := clienttest.Start(t, clk)
			other := clienttest.NewAuthority(t, clk, "CAS")
			inv := invitedTo(t, clk.Now(), test.of(d.CAS, other))
			var shown []string
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				body, _ := io.ReadAll(r.Body)
				if strings.Contains(string(body)+r.URL.String(), inv.Text()[len(invite.Prefix):]) {
					shown = append(shown, r.Method+" "+r.URL.Path)
					if r.TLS == nil {
						t.Error("over HTTP")
					}
				}
				if r.Method == http.MethodPut {
					w.Header().Set("Location", "7")
					w.WriteHeader(http.StatusCreated)
					return true
				}
				return test.intercept != nil && test.intercept(w, r)
			})
			c, err := client.New(client.Options{URL: d.URL, Authority: client.CAS, Clock: clk})
			if err != nil {
				t.Fatal(err)
			}
			var local []*x509.Certificate
			if test.local != nil {
				local = test.local(d.CAS, other)
			}
			trust, err := c.TrustInvited(t.Context(), local, inv)
			id := client.ID(0)
			if err == nil {
				if trust.FirstUse {
					t.Error("trusted on first use")
				}
				id, err = c.SubmitInvited(t.Context(), pkitest.NamedRequest(t, pkitest.Key(t), "web"), "", inv, trust.Vouched)
			}
			if !errors.Is(err, test.want) || (test.want == nil) != (id == 7) {
				t.Errorf("id %d, %v; want %v", id, err, test.want)
			}
			if (len(shown) > 0) != (test.want == nil) {
				t.Errorf("shown to %v", shown)
			}
		})
	}
}

func ofReal(real, _ *clienttest.Authority) *x509.Certificate   { return real.Oldest() }
func ofOther(_, other *clienttest.Authority) *x509.Certificate { return other.Oldest() }
