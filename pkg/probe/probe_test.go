package probe

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

func TestProbe(t *testing.T) {
	const life = clienttest.CALife
	serve := func(path string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}
			return r.URL.Path == path
		}
	}
	below := func(t *testing.T, d *clienttest.Daemon) {
		root := clienttest.NewAuthority(t, d.Clock, "Root")
		d.Others = map[string]*clienttest.Authority{"home-root": root, "web": clienttest.NewAuthorityUnder(t, d.Clock, "Web", root)}
	}
	for _, c := range []struct {
		name      string
		change    func(t *testing.T, d *clienttest.Daemon)
		reference bool          // it has what a reference daemon has, and --caucase says so
		later     time.Duration // the daemon's and our clock are moved by, after change
		skew      time.Duration // the daemon's clock is ahead by
		limits    Limits
		want      Status
		says      string
	}{
		{name: "all is well", want: OK, says: "same CA as over HTTP"},
		{name: "reference daemon", reference: true, want: OK, says: "nothing of a reference caucased"},
		{name: "no voucher", change: func(_ *testing.T, d *clienttest.Daemon) { d.Reference = true }, want: Critical, says: "HTTPS: the daemon does not vouch for its HTTPS certificate"},
		{name: "what cannot be a reference daemon", reference: true, change: func(_ *testing.T, d *clienttest.Daemon) {
			d.CAS.Adopt(clienttest.NewAuthority(t, d.Clock, "CAS").Newest())
		}, want: Critical, says: "is no reference caucased"},
		{name: "after a rollover", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Clock.Advance(life / 2)
			d.CAS.Rollover()
			d.CAU.Rollover()
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(life/2)))
		}, want: OK, says: "same CA as over HTTP"},
		{name: "successor overdue", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(life)))
		}, later: life * 6 / 10, want: Warning, says: "successor is overdue"},
		{name: "hosts cannot meet a successor in time", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(life)))
		}, later: life * 8 / 10, want: Critical, says: "have not met its successor"},
		{name: "exact limits", limits: Limits{Warning: 2 * life, Critical: time.Hour, Exact: true}, want: Warning, says: "service CA: "},
		{name: "clock ahead", skew: 2 * time.Minute, want: Warning, says: "clock: the daemon's is 2 minutes ahead of ours"},
		{name: "clock far behind", skew: -time.Hour, want: Critical, says: "behind ours"},
		{name: "no date", change: func(_ *testing.T, d *clienttest.Daemon) {
			next := d.Interceptor()
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				_ = next(w, r)
				w.Header()["Date"] = nil
				return false
			})
		}, want: Warning, says: "does not say what time it is"},
		{name: "HTTPS certificate runs out", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(time.Hour)))
		}, later: 50 * time.Minute, want: Warning, says: "HTTPS certificate: 10 minutes left"},
		{name: "HTTPS certificate expired", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(time.Hour)))
		}, later: 2 * time.Hour, want: Critical, says: "does not verify"},
		{name: "HTTPS certificate of a reference daemon expired", reference: true, change: func(_ *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(time.Hour)))
		}, later: 2 * time.Hour, want: Critical, says: "HTTPS certificate: "},
		{name: "HTTPS certificate for another host", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(leaf(t, d.HTTPS, "192.0.2.1", d.Clock.Now().Add(life)))
		}, want: Critical, says: "does not verify"},
		{name: "HTTPS certificate of an impostor", change: func(t *testing.T, d *clienttest.Daemon) {
			d.SetLeaf(clienttest.NewAuthority(t, d.Clock, "HTTPS").IssueServer(t, "127.0.0.1"))
		}, want: Critical, says: "does not verify"},
		{name: "another CA over HTTPS", change: func(t *testing.T, d *clienttest.Daemon) {
			other := clienttest.NewAuthority(t, d.Clock, "CAS")
			next := d.Interceptor()
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				_ = next(w, r)
				if r.TLS != nil && r.URL.Path == "/cas/crt/ca.crt.pem" {
					_, _ = w.Write(pki.EncodeCertificatePEM(other.Oldest().Raw))
					return true
				}
				return false
			})
		}, want: Critical, says: "serves another CA than HTTP"},
		{name: "the oldest CA goes between two questions", change: func(_ *testing.T, d *clienttest.Daemon) {
			next := d.CAS.NewCA("CAS")
			over := false
			dated := d.Interceptor()
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				_ = dated(w, r)
				over = over || r.TLS != nil
				if over && r.URL.Path == "/cas/crt/ca.crt.pem" {
					_, _ = w.Write(pki.EncodeCertificatePEM(next.Crt.Raw))
					return true
				}
				return false
			})
		}, want: OK, says: "same CA as over HTTP"},
		{name: "list expired", change: func(_ *testing.T, d *clienttest.Daemon) {
			old := d.CAS.CRL(d.CAS.Newest(), 1, d.Clock.Now().Add(-2*clienttest.CRLLife))
			d.Intercept(serve("/cas/crl", 200, string(old)))
		}, want: Critical, says: "service CRL: get revocation lists: of CA"},
		{name: "list not renewed in time", change: func(_ *testing.T, d *clienttest.Daemon) {
			old := d.CAU.CRL(d.CAU.Newest(), 1, d.Clock.Now().Add(-clienttest.CRLLife*9/10))
			d.Intercept(serve("/cau/crl", 200, string(old)))
		}, want: Warning, says: "user CRL: "},
		{name: "list of one CA missing", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Clock.Advance(life / 2)
			d.CAS.Rollover()
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(life/2)))
			old := d.CAS.CRL(d.CAS.Newest(), 2, d.Clock.Now())
			d.Intercept(serve("/cas/crl", 200, string(old)))
		}, want: Critical, says: "1 of 2 CAs have no list"},
		{name: "list from the future", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(serve("/cas/crl", 200, string(d.CAS.CRL(d.CAS.Newest(), 1, d.Clock.Now().Add(time.Hour)))))
		}, want: Warning, says: "begins in the future"},
		{name: "list of somebody else", change: func(t *testing.T, d *clienttest.Daemon) {
			other := clienttest.NewAuthority(t, d.Clock, "CAS")
			d.Intercept(serve("/cas/crl", 200, string(other.CRLs())))
		}, want: Critical, says: "service CRL: "},
		{name: "a web page", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<!doctype html><title>Sign in | Café</title>"))
				return true
			})
		}, want: Critical, says: "not from a certificate authority"},
		{name: "a broken chain", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(serve("/cau/crt/ca.crt.json", 200, `[{"payload":"{}","digest":"sha256","signature":"AA=="}]`))
		}, want: Critical, says: "user CA: "},
		{name: "a retired authority", change: func(t *testing.T, d *clienttest.Daemon) {
			below(t, d)
			d.Intercept(serve("/web/timeline", 200, `{"parent": "home-root", "span_seconds": 8035200, "now": "2030-01-01T00:00:00Z", "retired_at": "2029-01-01T00:00:00Z", "generations": [{"key_id": "aa"}]}`))
		}, want: OK, says: "web CA: retired, its last certificates end in "},
		{name: "an authority that was retired long ago", change: func(t *testing.T, d *clienttest.Daemon) {
			below(t, d)
			timeline := serve("/web/timeline", 200, `{"span_seconds": 8035200, "now": "2030-01-01T00:00:00Z", "retired_at": "2029-01-01T00:00:00Z", "generations": []}`)
			gone := serve("/web/crt/ca.crt.pem", 503, "no CA certificate is valid now")
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool { return timeline(w, r) || gone(w, r) })
		}, want: OK, says: "web CA: retired, and nothing that it has issued is valid any more"},
		{name: "an authority whose keys are elsewhere", change: func(t *testing.T, d *clienttest.Daemon) {
			below(t, d)
			d.Intercept(serve("/home-root/timeline", 200, `{"span_seconds": 157680000, "now": "2030-01-01T00:00:00Z", "generations": []}`))
		}, want: OK, says: "home-root CA: "},
		{name: "an authority under a root", change: below, want: OK, says: "web root: "},
		{name: "its successor is overdue", change: func(t *testing.T, d *clienttest.Daemon) {
			below(t, d)
			d.SetLeaf(leaf(t, d.HTTPS, "127.0.0.1", d.Clock.Now().Add(life)))
			d.CAS.Adopt(d.CAS.NewCA("CAS"))
		}, later: life * 6 / 10, want: Warning, says: "web CA: "},
		{name: "its root replaced by another", change: func(t *testing.T, d *clienttest.Daemon) {
			below(t, d)
			d.Intercept(serve("/web/crt/root.pem", 200, string(clienttest.Bundle(d.CAS.Newest().Crt))))
		}, want: Critical, says: "web root: root"},
		{name: "its list expired", change: func(t *testing.T, d *clienttest.Daemon) {
			below(t, d)
			web := d.Others["web"]
			d.Intercept(serve("/web/crl", 200, string(web.CRL(web.Newest(), 1, d.Clock.Now().Add(-2*clienttest.CRLLife)))))
		}, want: Critical, says: "web CRL: "},
		{name: "a daemon without a first page", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(serve("/", 404, ""))
		}, want: OK, says: "user CA: "},
		{name: "a first page that lies", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(serve("/", 200, `{"_links":{"getXHAL":{"href":"/nowhere"}}}`))
		}, want: Critical, says: "nowhere CA: "},
		{name: "a first page that cannot be read", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(serve("/", 200, "{"))
		}, want: Critical, says: "authorities: list authorities: "},
		{name: "an error on the lists", change: func(_ *testing.T, d *clienttest.Daemon) {
			d.Intercept(serve("/cas/crl", 503, "database | is\nlocked \x1b[2J"))
		}, want: Critical, says: "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			var d *clienttest.Daemon
			if c.reference {
				d = clienttest.StartReference(t, fake)
			} else {
				d = clienttest.Start(t, fake)
			}
			dated := func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Date", fake.Now().Add(c.skew).Format(http.TimeFormat))
				return false
			}
			d.Intercept(dated)
			if c.change != nil {
				c.change(t, d)
			}
			if d.Interceptor() != nil {
				special := d.Interceptor()
				d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					_ = dated(w, r)
					return special(w, r)
				})
			}
			fake.Advance(c.later)
			if c.limits == (Limits{}) {
				c.limits = Limits{Warning: 30 * day, Critical: 7 * day}
			}
			report, err := Run(t.Context(), Options{URL: d.URL, Clock: fake, Limits: c.limits, Timeout: time.Minute, UserAgent: "test", Caucase: c.reference})
			if err != nil {
				t.Fatal(err)
			}
			line := report.Line()
			if report.Status != c.want || !strings.Contains(line, c.says) {
				t.Errorf("%s\nwant %s and %q", line, c.want, c.says)
			}
			if !strings.HasPrefix(line, c.want.String()+": ") || strings.ContainsAny(line, "\n\x1b") || strings.Count(line, "|") > 1 {
				t.Errorf("the line is not fit to print: %q", line)
			}
		})
	}
}

func leaf(t testing.TB, a *clienttest.Authority, ip string, until time.Time) tls.Certificate {
	t.Helper()
	key := pkitest.Key(t)
	crt := a.Issue(&x509.CertificateRequest{IPAddresses: []net.IP{net.ParseIP(ip)}}, key.Public(),
		func(template *x509.Certificate) { template.NotAfter = until })
	return tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key}
}

func TestProbeGivesUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	report, err := Run(t.Context(), Options{
		URL: "http://" + silent.Addr().String(), Clock: clock.System(), Timeout: 50 * time.Millisecond,
	})
	if err != nil || report.Status != Critical || !strings.Contains(report.Line(), "no answer in time") {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestProbeWrongURL(t *testing.T) {
	for _, url := range []string{"", "https://ca.example", "http://ca.example/cas", "http://ca.example:65535"} {
		if _, err := Run(t.Context(), Options{URL: url, Clock: clock.System(), Timeout: time.Second}); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
}
