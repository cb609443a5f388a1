package daemon

import (
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// rootRow is a root that certifies for twenty years, and labRow an authority of services below it.
func rootRow(t *testing.T) store.Authority {
	t.Helper()
	subject, err := pki.ParseSubject("C=FR,O=Example,CN=Home Root")
	if err != nil {
		t.Fatal(err)
	}
	row := catest.Row("home-root")
	row.Title, row.Role, row.Subject, row.Span, row.CreatedAt = "Home Root", store.RoleRoot, subject, 5*365*day, testTime()
	return row
}

func labRow() store.Authority {
	row := catest.Row("lab")
	row.Title, row.Parent, row.CreatedAt = "Lab", "home-root", testTime()
	return row
}

// ready is what /readyz says now: the answer is kept for a second of the daemon's clock.
func (r running) ready(t *testing.T) (int, string) {
	t.Helper()
	r.clk.Advance(time.Second)
	return testkit.Get(t, r.httpURL("/readyz"))
}

func (r running) scrape(t *testing.T) string {
	t.Helper()
	_, page := testkit.Get(t, "http://"+r.metrics.listener.Addr().String()+"/metrics")
	return page
}

func withMetrics(c *Config) { c.Metrics = "127.0.0.1:0" }

func (r running) put(t *testing.T, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.httpURL(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// TestAuthoritiesComeAndGo: what an operator's command, another process, does about authorities holds in a
// daemon that runs.
func TestAuthoritiesComeAndGo(t *testing.T) {
	cfg := testConfig(t, t.TempDir(), withMetrics)
	d := launch(t, cfg, testTime())
	o := openOffice(t, cfg.Database)
	if status, _ := testkit.Get(t, d.httpURL("/lab/crt/ca.crt.pem")); status != http.StatusNotFound {
		t.Fatalf("before: %d", status)
	}
	o.put(rootRow(t), labRow())
	took := eventually(t, "the new authority is served", func() bool {
		status, _ := testkit.Get(t, d.httpURL("/lab/crt/ca.crt.pem"))
		return status == http.StatusOK
	})
	if took > byThemselves {
		t.Errorf("after %v", took)
	}
	if status, page := d.ready(t); status != 200 || page != "database ok\ncau ok\ncas ok\nhttps ok\nhome-root ok\nlab ok\n" {
		t.Errorf("%d %s", status, page)
	}
	page := d.scrape(t)
	for _, want := range []string{`cauase_authority_up{authority="lab"} 1`, `cauase_authority_up{authority="home-root"} 1`, `cauase_signoff_needed{authority="lab"} 0`,
		`cauase_authority_span_seconds{authority="lab"} 8.0352e+06`} {
		if !strings.Contains(page, want) {
			t.Errorf("missing %s", want)
		}
	}
	roots, err := pki.ParseCertificatesPEM([]byte(second(testkit.Get(t, d.httpURL("/lab/crt/root.pem")))))
	if err != nil || len(roots) != 1 || pki.SubjectString(roots[0].RawSubject) != "CN=Home Root,O=Example,C=FR" {
		t.Errorf("roots: %v, %v", roots, err)
	}

	request := func(cn string) string { return string(pkitest.NamedRequest(t, pkitest.Key(t), cn)) }
	if status := d.put(t, "/lab/csr", request("one")); status != http.StatusCreated {
		t.Errorf("a request: %d", status)
	}
	full := labRow()
	full.MaxPending = 1
	o.put(full)
	eventually(t, "the smaller limit", func() bool { return d.put(t, "/lab/csr", request("two")) == http.StatusInsufficientStorage })

	full.RetiredAt = d.clk.Now()
	o.put(full)
	eventually(t, "the authority is retired", func() bool { return d.put(t, "/lab/csr", request("three")) == http.StatusGone })
	if status, _ := testkit.Get(t, d.httpURL("/lab/crl")); status != http.StatusOK {
		t.Errorf("its lists: %d", status)
	}
	if _, body := testkit.Get(t, d.httpURL("/lab/timeline")); !strings.Contains(body, `"retired_at":"`+stamp(full.RetiredAt)+`"`) || strings.Contains(body, "next_ca") {
		t.Error(body)
	}
	// Nothing is amiss when all that it has issued has expired.
	d.clk.Advance(400 * day)
	d.maintain(t.Context())
	if status, page := d.ready(t); status != 200 || !strings.HasSuffix(page, "lab ok\n") {
		t.Errorf("%d %s", status, page)
	}
	if page := d.scrape(t); !strings.Contains(page, `cauase_authority_up{authority="lab"} 1`) || strings.Contains(page, `cauase_authority_span_seconds{authority="lab"}`) {
		t.Error("monitoring is told something else")
	}
	if status, body := testkit.Get(t, d.httpURL("/lab/timeline")); status != http.StatusOK || strings.Contains(body, "key_id") {
		t.Errorf("%d %s", status, body)
	}
}

func second[A, B any](_ A, b B) B { return b }

// TestDamagedAuthority: one that cannot be opened fails alone, and is there as soon as it is repaired.
func TestDamagedAuthority(t *testing.T) {
	cfg := testConfig(t, t.TempDir(), withMetrics)
	var log testkit.Buffer
	d := launchLogged(t, cfg, testTime(), &log)
	o := openOffice(t, cfg.Database)
	broken, orphan := catest.Row("broken"), catest.Row("orphan")
	broken.KeyType, orphan.Parent = "rot13", "nobody"
	o.put(broken, orphan)
	eventually(t, "readiness", func() bool {
		status, page := d.ready(t)
		return status == 503 && page == "database ok\ncau ok\ncas ok\nhttps ok\nbroken failed\norphan failed\n"
	})
	for _, want := range []string{`msg="an authority cannot be opened" authority=broken`, `msg="an authority cannot be opened" authority=orphan`} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("the log has not, or has more than once, %s", want)
		}
	}
	if page := d.scrape(t); !strings.Contains(page, `cauase_authority_up{authority="broken"} 0`) || !strings.Contains(page, `cauase_authority_up{authority="cas"} 1`) {
		t.Error("monitoring is told something else")
	}
	for path, want := range map[string]int{"/cas/crt/ca.crt.pem": 200, "/cau/crl": 200, "/broken/crt/ca.crt.pem": 503, "/orphan/crl": 503, "/broken/csr": 503, "/broken": 503, "/broken/nothing": 404, "/none/crl": 404} {
		if status, _ := testkit.Get(t, d.httpURL(path)); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}

	// A start finds the same.
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d = launch(t, cfg, testTime())
	if status, page := d.ready(t); status != 503 || !strings.Contains(page, "cas ok\nhttps ok\nbroken failed\n") {
		t.Errorf("%d %s", status, page)
	}
	broken.KeyType, orphan.Parent = string(pki.KeyECDSAP256), ""
	o.put(broken, orphan)
	eventually(t, "both are open", func() bool {
		status, page := d.ready(t)
		return status == 200 && strings.HasSuffix(page, "broken ok\norphan ok\n")
	})

	// Without one that every daemon has there is no start.
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	o.update(func(tx store.Tx) error {
		return tx.PutSetting(t.Context(), store.Services, store.SettingAutoApprove, "many")
	})
	if err := startOnce(t, cfg, testTime()); err == nil || !strings.Contains(err.Error(), "authority cas: ") {
		t.Errorf("with a damaged authority cas: %v", err)
	}
}

// An offlineVault is an offline root: its own database, in which nobody looks but its keepers.
type offlineVault struct {
	office
	root *ca.Authority
}

func newVault(t *testing.T, d running) offlineVault {
	t.Helper()
	o := openOffice(t, t.TempDir()+"/root.sqlite")
	o.put(rootRow(t))
	root, err := ca.Open(t.Context(), o.Store, d.clk, rootRow(t), ca.Config{Netloc: "127.0.0.1:8009", Statements: envelope.Statements{}})
	if err != nil {
		t.Fatal(err)
	}
	return offlineVault{o, root}
}

// introduce has a daemon's database know the root's certificate.
func (v offlineVault) introduce(o office) *x509.Certificate {
	v.t.Helper()
	crts, err := v.root.CACertificates(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	crt := crts[len(crts)-1]
	o.update(func(tx store.Tx) error {
		if err := tx.PutAuthority(v.t.Context(), rootRow(v.t)); err != nil {
			return err
		}
		_, err := tx.AddCA(v.t.Context(), store.CA{
			Authority: "home-root", CreatedAt: crt.NotBefore, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
			KeyID: crt.SubjectKeyId, Certificate: crt.Raw, State: store.CAExternal,
		})
		return err
	})
	return crt
}

// bringList has a daemon's database have the root's newest revocation list.
func (v offlineVault) bringList(o office, crt *x509.Certificate) {
	v.t.Helper()
	lists, err := v.root.CRLs(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	o.update(func(tx store.Tx) error {
		_, err := ca.BringList(v.t.Context(), tx, "home-root", crt, lists[len(lists)-1].DER())
		return err
	})
}

// signOff signs what the lab asks for.
func (v offlineVault) signOff(lab *ca.Authority) {
	v.t.Helper()
	operator := audit.Actor{Kind: audit.Operator}
	asked, err := lab.RequestSignoffs(v.t.Context(), operator, 1)
	if err != nil {
		v.t.Fatal(err)
	}
	csr, err := pki.ParseRequest(pki.EncodeCSRPEM(asked[0].Request))
	if err != nil {
		v.t.Fatal(err)
	}
	crt, err := v.root.CertifyCA(v.t.Context(), operator, csr, profile.CA{
		Subject: csr.CSR.RawSubject, PublicKey: csr.CSR.PublicKey, NotBefore: asked[0].NotBefore, NotAfter: asked[0].NotAfter,
	}, "http://127.0.0.1:8009")
	if err != nil {
		v.t.Fatal(err)
	}
	if err := lab.InstallSignoff(v.t.Context(), operator, crt); err != nil {
		v.t.Fatal(err)
	}
}

// TestSignoffsAreSeen: wherever people look, they see that an authority waits for its parent, and until
// when that does no harm.
func TestSignoffsAreSeen(t *testing.T) {
	cfg := testConfig(t, t.TempDir(), withMetrics)
	var log testkit.Buffer
	d := launchLogged(t, cfg, testTime(), &log)
	o := openOffice(t, cfg.Database)
	v := newVault(t, d)
	rootCRT := v.introduce(o)
	o.put(labRow())
	readyz := func(status int, lines string) {
		t.Helper()
		if got, page := d.ready(t); got != status || !strings.HasSuffix(page, "https ok\n"+lines) {
			t.Errorf("%d %s, want %d %s", got, page, status, lines)
		}
	}

	eventually(t, "the authority is known", func() bool { _, known := d.Authority("lab"); return known })
	d.maintain(t.Context())
	if status, body := testkit.Get(t, d.httpURL("/lab/crt/ca.crt.pem")); status != http.StatusServiceUnavailable {
		t.Errorf("without a CA certificate: %d %s", status, body)
	}
	noList := "home-root warning: no revocation list of CA " + hex.EncodeToString(rootCRT.SubjectKeyId) + " was imported\n"
	readyz(503, noList+"lab failed\n")
	if page := d.scrape(t); !strings.Contains(page, `cauase_signoff_needed{authority="lab"} 1`) || !strings.Contains(page, `cauase_authority_up{authority="lab"} 0`) ||
		!strings.Contains(page, `cauase_authority_external{authority="home-root"} 1`) {
		t.Error("monitoring is told something else")
	}

	v.bringList(o, rootCRT)
	v.signOff(catest.Named(t, d, "lab"))
	d.maintain(t.Context())
	readyz(200, "home-root ok\nlab ok\n")

	// Half a span before the next one is due it is asked for.
	made := d.clk.Now()
	for _, waiting := d.awaited(t); !waiting; _, waiting = d.awaited(t) {
		d.clk.Advance(day)
		d.maintain(t.Context())
	}
	if took := d.clk.Now().Sub(made); took < 130*day || took > 150*day {
		t.Errorf("asked for after %v", took)
	}
	v.bringList(o, rootCRT)
	awaited, _ := d.awaited(t)
	readyz(200, "home-root ok\nlab warning: waiting for a sign-off of home-root, needed from "+stamp(awaited.From)+
		"; the current CA certificate ends "+stamp(awaited.Until)+"\n")
	if _, body := testkit.Get(t, d.httpURL("/lab/timeline")); !strings.Contains(body, `"signoff":{"parent":"home-root","since":"`+stamp(awaited.Since)+
		`","needed_from":"`+stamp(awaited.From)+`","stock":0,"usable_until":"`+stamp(awaited.Until)+`"}`) {
		t.Error(body)
	}
	if _, body := testkit.Get(t, d.httpURL("/cas/timeline")); strings.Contains(body, "signoff") {
		t.Error(body)
	}
	const reminder = `level=WARN msg="a CA certificate waits for a sign-off of the parent" authority=lab parent=home-root`
	before := strings.Count(log.String(), reminder)
	for range 5 * 24 {
		d.clk.Advance(time.Hour)
		d.maintain(t.Context())
	}
	if said := strings.Count(log.String(), reminder) - before; said < 4 || said > 5 {
		t.Errorf("in five days the log has said it %d times", said)
	}

	// Nobody signs it.
	d.clk.Advance(awaited.Until.Sub(d.clk.Now()) - time.Hour)
	d.maintain(t.Context())
	v.bringList(o, rootCRT)
	readyz(200, "home-root ok\nlab warning: waiting for a sign-off of home-root, needed from "+stamp(awaited.From)+
		"; the current CA certificate ends "+stamp(awaited.Until)+"\n")
	d.clk.Advance(2 * time.Hour)
	readyz(503, "home-root ok\nlab failed\n")
	v.signOff(catest.Named(t, d, "lab"))
	readyz(200, "home-root ok\nlab ok\n")

	// The root's list ends, later its certificate.
	d.clk.Advance(2 * 365 * day)
	d.maintain(t.Context())
	v.signOff(catest.Named(t, d, "lab"))
	if _, page := d.ready(t); !strings.Contains(page, "\nhome-root warning: the imported revocation list of CA "+hex.EncodeToString(rootCRT.SubjectKeyId)+" expired ") {
		t.Error(page)
	}
}

func (r running) awaited(t *testing.T) (ca.Awaited, bool) {
	t.Helper()
	awaited, waiting, err := catest.Named(t, r, "lab").Awaited(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return awaited, waiting
}
