package caucase

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// more opens another authority beside those of a site, and has it served from now on.
func (s *site) more(name store.AuthorityName, role store.Role) *ca.Authority {
	s.t.Helper()
	row := catest.Row(store.Services)
	row.Name, row.Role, row.Title = name, role, string(name)
	a, err := ca.Open(s.t.Context(), s.Store, s.Clock, row, ca.Config{Netloc: "127.0.0.1:8009", Statements: envelope.Statements{}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.front.cfg.Authorities = append(s.front.cfg.Authorities.(List), a)
	return a
}

// TestMoreAuthorities: which authorities there are is asked at each request; what a root does not do
// leads nowhere, and so does an authority that is not served.
func TestMoreAuthorities(t *testing.T) {
	s := newSite(t)
	if got := s.handle("GET", "/lab/crl"); got.Code != 404 {
		t.Fatalf("before there is such an authority: %d", got.Code)
	}
	lab, root := s.more("lab", store.RoleServices), s.more("home-root", store.RoleRoot)
	_, labID := s.issue(lab)
	_, casID := s.issue(s.Services)
	rootKey := decimalKeyID(t, root)
	for _, tt := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/lab/crl", 200, ""},
		{"GET", fmt.Sprintf("/lab/crt/%d", labID), 200, ""},
		{"GET", fmt.Sprintf("/lab/crt/%d", casID), 404, ""}, // another authority's
		{"GET", fmt.Sprintf("/cas/crt/%d", labID), 404, ""},
		{"GET", "/lab/csr", 401, ""},
		{"POST", "/lab/csr", 405, "GET, PUT, DELETE, OPTIONS"},
		{"GET", "/lab/timeline", 200, ""},

		{"GET", "/home-root", 200, ""},
		{"GET", "/home-root/crl", 200, ""},
		{"GET", "/home-root/crl/" + rootKey, 200, ""},
		{"GET", "/home-root/crl/" + rootKey + ".crl", 200, ""},
		{"GET", "/home-root/crt/" + rootKey + ".crt", 200, ""},
		{"GET", "/home-root/crt/ca.crt.pem", 200, ""},
		{"GET", "/home-root/crt/ca.crt.json", 200, ""},
		{"GET", "/home-root/timeline", 200, ""},
		{"GET", "/home-root/csr", 404, ""},
		{"PUT", "/home-root/csr", 405, "GET, OPTIONS"},
		{"GET", "/home-root/crt/1", 404, ""},
		{"PUT", "/home-root/crt/1", 405, "GET, OPTIONS"},
		{"PUT", "/home-root/crt/renew", 405, "GET, OPTIONS"},
		{"PUT", "/home-root/crt/revoke", 405, "GET, OPTIONS"},

		{"GET", "/https", 404, ""},
		{"GET", "/https/crl", 404, ""},
		{"GET", "/https/timeline", 404, ""},
		{"PUT", "/https/csr", 405, "GET, OPTIONS"},
		{"GET", "/LAB/crl", 404, ""},
	} {
		got := s.handle(tt.method, tt.target)
		if got.Code != tt.status || got.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d %q", tt.method, tt.target, got.Code, got.Header().Get("Allow"), tt.status, tt.allow)
		}
	}

	page := s.handle("GET", "/").Body.String()
	want := `{"_links": {"self": {"href": "/"}, "getCASHAL": {"title": "cas", "href": "/cas"}, "getCAUHAL": {"title": "cau", "href": "/cau"}, ` +
		`"getHOME-ROOTHAL": {"title": "home-root", "href": "/home-root"}, "getLABHAL": {"title": "lab", "href": "/lab"}}}`
	if page != want {
		t.Errorf("root page %s\nwant %s", page, want)
	}
	var hal struct {
		Links   map[string]any `json:"_links"`
		Actions map[string]any `json:"_actions"`
	}
	if err := json.Unmarshal(s.handle("GET", "/home-root").Body.Bytes(), &hal); err != nil || len(hal.Actions) != 0 || len(hal.Links) != 6 {
		t.Errorf("page of a root: %v %v", hal, err)
	}
}

func decimalKeyID(t *testing.T, a *ca.Authority) string {
	t.Helper()
	crts, err := a.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(crts[0].SubjectKeyId).String()
}

// TestEveryOperationIsItsAuthoritysOwn asks each authority for the objects of another.
func TestEveryOperationIsItsAuthoritysOwn(t *testing.T) {
	s := newSite(t)
	lab := s.more("lab", store.RoleServices)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	crt, crtID := s.issue(s.Services)
	csrID := s.pending(s.Services, pkitest.Key(t))
	casKey := decimalKeyID(t, s.Services)
	jsonType := []string{"Content-Type", "application/json"}
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
	}{
		{"a request", "GET", fmt.Sprintf("csr/%d", csrID), "", nil, 404},
		{"to reject a request", "DELETE", fmt.Sprintf("csr/%d", csrID), "", nil, 404},
		{"to sign a request", "PUT", fmt.Sprintf("crt/%d", csrID), "", nil, 404},
		{"to sign what is signed", "PUT", fmt.Sprintf("crt/%d", crtID), "", nil, 404},
		{"a certificate", "GET", fmt.Sprintf("crt/%d", crtID), "", nil, 404},
		{"a CA certificate", "GET", "crt/" + casKey + ".crt", "", nil, 404},
		{"a list", "GET", "crl/" + casKey, "", nil, 404},
		{"a list, DER", "GET", "crl/" + casKey + ".crl", "", nil, 404},
		{"a renewal", "PUT", "crt/renew", renewalOf(t, crt), jsonType, 400},
		{"a holder's revocation", "PUT", "crt/revoke", revocationOf(t, crt, true), jsonType, 400},
		{"a user's revocation", "PUT", "crt/revoke", revocationOf(t, crt, false), jsonType, 400},
	} {
		for _, a := range []Core{lab, s.Users} {
			got := s.do(c, tt.method, "https:/"+string(a.Name())+"/"+tt.path, tt.body, tt.headers...)
			if got.StatusCode != tt.status {
				t.Errorf("%s: %s answers %d, want %d: %s", tt.name, a.Name(), got.StatusCode, tt.status, got.body)
			}
		}
	}
	if got := s.do(c, "GET", fmt.Sprintf("https:/cas/csr/%d", csrID), ""); got.StatusCode != http.StatusOK {
		t.Errorf("the request is gone: %d", got.StatusCode)
	}
}

// withChain is an authority whose certificates have an issuer beside them.
type withChain struct {
	Core
	issuer *x509.Certificate
}

func (w withChain) chained(issued ca.Issued) ca.Issued {
	issued.Chain = []*x509.Certificate{w.issuer}
	return issued
}

func TestChainIsNegotiated(t *testing.T) {
	s := newSite(t)
	cas, err := s.Services.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	instead(&s.front.cfg, chained{withChain{named(&s.front.cfg, store.Services), cas[0]}})
	crt, id := s.issue(s.Services)
	const chain = "application/pem-certificate-chain"
	c := s.client(nil)
	for accept, want := range map[string]int{"": 1, "*/*": 1, "application/pkix-cert": 1, chain: 2, "text/html;q=0.9, " + chain: 2, chain + ";q=0": 1} {
		for _, r := range []answer{
			s.do(c, "GET", fmt.Sprintf("http:/cas/crt/%d", id), "", "Accept", accept),
			s.do(c, "PUT", "http:/cas/crt/renew", renewalOf(t, crt), "Content-Type", "application/json", "Accept", accept),
		} {
			kind := map[int]string{1: typeCRT, 2: chain}[want]
			got, err := pki.ParseCertificatesPEM([]byte(r.body))
			if r.StatusCode != 200 || err != nil || len(got) != want || r.Header.Get("Content-Type") != kind || r.Header.Get("Vary") != "Accept" {
				t.Errorf("%q: %d certificates, %v %v", accept, len(got), err, r.Header)
			}
		}
	}
}

func TestDERForms(t *testing.T) {
	s := newSite(t)
	key, c := decimalKeyID(t, s.Services), s.client(nil)
	lists, err := s.Services.CRLs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cas, err := s.Services.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]struct{ kind, body string }{
		"http:/cas/crl/" + key + ".crl": {"application/pkix-crl", string(lists[0].DER())},
		"http:/cas/crl/" + key:          {"application/pkix-crl", string(pki.EncodeCRLPEM(lists[0].DER()))},
		"http:/cas/crt/" + key + ".crt": {"application/pkix-cert", string(cas[0].Raw)},
		"http:/cas/crt/root.pem":        {"application/x-pem-file", string(pki.EncodeCertificatePEM(cas[0].Raw))},
	} {
		got := s.do(c, "GET", target, "")
		if got.StatusCode != 200 || got.Header.Get("Content-Type") != want.kind || got.body != want.body {
			t.Errorf("%s: %d %v", target, got.StatusCode, got.Header)
		}
		if again := s.do(c, "GET", target, "", "If-None-Match", got.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %d", target, again.StatusCode)
		}
		// What certificates point to is fetched by programs that know nothing of the protocol.
		head := s.do(c, "HEAD", target, "")
		if pointer := strings.HasSuffix(target, ".crl") || strings.HasSuffix(target, ".crt"); !pointer && head.StatusCode != 405 {
			t.Errorf("HEAD %s: %d", target, head.StatusCode)
		} else if pointer && (head.StatusCode != 200 || head.body != "" || head.Header.Get("ETag") != got.Header.Get("ETag") ||
			head.Header.Get("Content-Length") != strconv.Itoa(len(want.body)) || head.Header.Get("Content-Type") != want.kind) {
			t.Errorf("HEAD %s: %d %v", target, head.StatusCode, head.Header)
		}
	}
	for _, target := range []string{"http:/cas/crl/1.crl", "http:/cas/crt/1.crt", "http:/cas/crt/x.crt", "http:/cas/crl/.crl", "http:/cas/crt/.crt"} {
		if got := s.do(c, "GET", target, ""); got.StatusCode != 404 {
			t.Errorf("%s: %d", target, got.StatusCode)
		}
		if got := s.do(c, "HEAD", target, ""); got.StatusCode != 404 || got.body != "" {
			t.Errorf("HEAD %s: %d %q", target, got.StatusCode, got.body)
		}
	}
}

// TestManyLists reads the lists of two CAs as one body, whole and in part.
func TestManyLists(t *testing.T) {
	s := newSite(t)
	s.Clock.Advance(2*testSpan + testDay)
	s.refresh()
	lists, err := s.Services.CRLs(t.Context())
	if err != nil || len(lists) != 2 {
		t.Fatalf("%d lists, %v", len(lists), err)
	}
	want := string(pki.EncodeCRLPEM(lists[0].DER())) + "\n" + string(pki.EncodeCRLPEM(lists[1].DER()))
	c := s.client(nil)
	if got := s.do(c, "GET", "http:/cas/crl", ""); got.body != want {
		t.Errorf("%q", got.body)
	}
	for asked, part := range map[string]string{
		"bytes=10-20":                                want[10:21],
		fmt.Sprintf("bytes=%d-", len(want)-5):        want[len(want)-5:],
		fmt.Sprintf("bytes=100-%d", len(want)-100):   want[100 : len(want)-99],
		fmt.Sprintf("bytes=%d-%d", len(want), 1<<20): "",
	} {
		got := s.do(c, "GET", "http:/cas/crl", "", "Range", asked)
		if part != "" && (got.StatusCode != http.StatusPartialContent || got.body != part) || part == "" && got.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("%s: %d %q", asked, got.StatusCode, got.body)
		}
	}
}

// TestListsAreNotCopied makes sure that a request for revocation lists costs no memory that grows with them, in
// whatever form they are asked for.
func TestListsAreNotCopied(t *testing.T) {
	s := newSite(t)
	const revoked = 20_000
	err := s.Store.Update(t.Context(), func(tx store.Tx) error {
		for n := range revoked {
			_, err := tx.AddRevocation(t.Context(), store.Revocation{Authority: s.Services.Name(), Serial: big.NewInt(int64(n) + 1<<40),
				RevokedAt: s.Clock.Now(), KeepUntil: s.Clock.Now().Add(testSpan)})
			if err != nil {
				return err
			}
		}
		_, err := tx.AddCounter(t.Context(), s.Services.Name(), store.CounterCRLNumber, 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lists, err := s.Services.CRLs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := new(big.Int).SetBytes(lists[0].KeyID).String()
	for _, path := range []string{"/cas/crl", "/cas/crl/" + key, "/cas/crl/" + key + ".crl"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := &discarding{header: http.Header{}}
		s.server.ServeHTTP(got, httptest.NewRequest("GET", path, nil))
		runtime.ReadMemStats(&after)
		if size := lists[0].Octets.Size(); got.written < size {
			t.Errorf("%s: %d bytes, of a list of %d", path, got.written, size)
		}
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 128<<10 {
			t.Errorf("%s: %d bytes of memory for a list of %d", path, cost, lists[0].Octets.Size())
		}
	}
}

// A discarding ResponseWriter counts what is written.
type discarding struct {
	header  http.Header
	written int64
}

func (d *discarding) Header() http.Header { return d.header }
func (d *discarding) WriteHeader(int)     {}
func (d *discarding) Write(p []byte) (int, error) {
	d.written += int64(len(p))
	return len(p), nil
}

func TestQueries(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	for query, status := range map[string]int{
		"": 204, "x=1&x=2": 204, "validity=86400": 204, "validity=86400&other": 204,
		"validity=0": 400, "validity=-1": 400, "validity=": 400, "validity=1.5": 400, "validity=1d": 400, "validity=%2B5": 400,
		"validity=5&validity=5": 400, "validity=99999999999999999999": 400, "validity=9999999999": 400,
		"profile=": 400, "profile=a&profile=a": 400, "profile=no-such-profile": 400, "profile=%zz": 400,
	} {
		id := s.pending(s.Services, pkitest.Key(t))
		got := s.do(c, "PUT", fmt.Sprintf("https:/cas/crt/%d?%s", id, query), "")
		if got.StatusCode != status {
			t.Errorf("signing with %q: %d, want %d: %s", query, got.StatusCode, status, got.body)
		}
	}
	for query, status := range map[string]int{"": 201, "validity=x": 201, "other=1": 201, "profile=": 400, "profile=a&profile=b": 400, "profile=no-such-profile": 400} {
		got := s.do(c, "PUT", "http:/cas/csr?"+query, newCSR(t, pkitest.Key(t), "someone"))
		if got.StatusCode != status {
			t.Errorf("requesting with %q: %d, want %d: %s", query, got.StatusCode, status, got.body)
		}
	}
}

// A profile goes from the request into the list of what waits and into the certificate, unless who signs
// chooses another one, or a validity.
func TestProfilesOnTheWire(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	www := func() string {
		return string(pkitest.Request(t, pkitest.Key(t), &x509.CertificateRequest{DNSNames: []string{"www.example.org"}}))
	}
	for _, tt := range []struct {
		asked, chosen string // queries
		listed        string // in the list of what waits
		status        int    // of the approval
		usage         []x509.ExtKeyUsage
		validity      time.Duration
	}{
		{"", "", "", 204, nil, testSpan},
		{"?profile=as-requested", "", "", 204, nil, testSpan},
		{"?profile=server", "", `,"profile":"server"`, 204, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, testSpan},
		{"?profile=server", "?profile=client&validity=86400", `,"profile":"server"`, 204, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, testDay},
		{"?profile=server", "?profile=as-requested", `,"profile":"server"`, 204, nil, testSpan},
		{"?profile=server", "?validity=1", `,"profile":"server"`, 204, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, time.Second},
		{"?profile=server", "?validity=8035201", `,"profile":"server"`, 400, nil, 0}, // a second more than the span
		{"?profile=server", "?profile=email", `,"profile":"server"`, 400, nil, 0},    // it is for a host
		{"?profile=server", "?profile=ocsp", `,"profile":"server"`, 400, nil, 0},
	} {
		t.Run(tt.asked+tt.chosen, func(t *testing.T) {
			got := s.do(c, "PUT", "http:/cas/csr"+tt.asked, www())
			if got.StatusCode != http.StatusCreated {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			id := got.Header.Get("Location")
			defer s.do(c, "DELETE", "https:/cas/csr/"+id, "")
			if list := s.do(c, "GET", "https:/cas/csr", "").body; !strings.Contains(list, `-----END CERTIFICATE REQUEST-----\n"`+tt.listed+`,"certificate":{`) {
				t.Errorf("listed as %s", list)
			}
			if got := s.do(c, "PUT", "https:/cas/crt/"+id+tt.chosen, ""); got.StatusCode != tt.status {
				t.Fatalf("signing: %d %s", got.StatusCode, got.body)
			}
			got = s.do(c, "GET", "http:/cas/crt/"+id, "")
			if tt.status != http.StatusNoContent {
				if got.StatusCode != http.StatusNotFound {
					t.Errorf("%d %s", got.StatusCode, got.body)
				}
				return
			}
			crt, err := pki.ParseCertificatePEM([]byte(got.body))
			if err != nil {
				t.Fatal(err)
			}
			if validity := crt.NotAfter.Sub(s.Clock.Now()); !slices.Equal(crt.ExtKeyUsage, tt.usage) || validity != tt.validity {
				t.Errorf("is good for %v during %v", crt.ExtKeyUsage, validity)
			}
		})
	}
	// What does not fit is said at once.
	for query, why := range map[string]string{
		"profile=email": "only e-mail addresses are allowed", "profile=ocsp": "authority cas offers as-requested", "profile=daemon-server": "authority cas offers",
	} {
		got := s.do(c, "PUT", "http:/cas/csr?"+query, www())
		if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, why) {
			t.Errorf("%s: %d %s", query, got.StatusCode, got.body)
		}
	}
	if list := s.do(c, "GET", "https:/cas/csr", "").body; list != "[]" {
		t.Errorf("waiting: %s", list)
	}
}

func TestTimelineSaysWhose(t *testing.T) {
	s := newSite(t)
	body := s.handle("GET", "/cas/timeline").Body.String()
	if !strings.Contains(body, `"role":"services"`) || strings.Contains(body, `"parent"`) || strings.Contains(body, `"issuer_key_id"`) {
		t.Error(body)
	}
}

// chained is withChain for what the routes ask.
type chained struct{ withChain }

func (c chained) Certificate(ctx context.Context, id int64) (ca.Issued, error) {
	issued, err := c.Core.Certificate(ctx, id)
	return c.chained(issued), err
}

func (c chained) Renew(ctx context.Context, h ca.Holder, req *pki.Request) (ca.Issued, error) {
	issued, err := c.Core.Renew(ctx, h, req)
	return c.chained(issued), err
}

// TestRetiredAuthority: it goes on saying what it has issued and revoked, and revokes; it issues nothing.
func TestRetiredAuthority(t *testing.T) {
	s := newSite(t)
	lab := s.more("lab", store.RoleServices)
	crt, id := s.issue(lab)
	other, _ := s.issue(lab)
	pending := s.pending(lab, pkitest.Key(t))
	row := lab.Row()
	row.RetiredAt = s.Clock.Now()
	retired, err := ca.Open(t.Context(), s.Store, s.Clock, row, ca.Config{Netloc: "127.0.0.1:8009", Statements: envelope.Statements{}})
	if err != nil {
		t.Fatal(err)
	}
	instead(&s.front.cfg, retired)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	jsonType := []string{"Content-Type", "application/json"}
	for _, tt := range []struct {
		method, path, body string
		headers            []string
		status             int
	}{
		{"GET", "", "", nil, 200}, {"GET", "/crl", "", nil, 200}, {"GET", "/timeline", "", nil, 200},
		{"GET", "/crt/ca.crt.pem", "", nil, 200}, {"GET", "/crt/root.pem", "", nil, 200}, {"GET", fmt.Sprintf("/crt/%d", id), "", nil, 200},
		{"PUT", "/csr", newCSR(t, pkitest.Key(t), "late"), nil, 410},
		{"PUT", fmt.Sprintf("/crt/%d", pending), "", nil, 410},
		{"PUT", "/crt/renew", renewalOf(t, crt), jsonType, 410},
		{"PUT", "/crt/revoke", revocationOf(t, crt, true), jsonType, 204},
		{"PUT", "/crt/revoke", revocationOf(t, other, false), jsonType, 204},
		{"GET", "/crl", "", nil, 200},
	} {
		if got := s.do(c, tt.method, "https:/lab"+tt.path, tt.body, tt.headers...); got.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.path, got.StatusCode, tt.status, got.body)
		}
	}
}
