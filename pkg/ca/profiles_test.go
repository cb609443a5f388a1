package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/lint"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// profiles are the built-in ones, and some that an administrator has thought of.
func profiles(t testing.TB) *profile.Set {
	t.Helper()
	web := profile.Config{ExtendedKeyUsage: []string{"serverAuth"}, Names: []string{"dns"}}
	short, long, marked := web, web, web
	short.Validity = "1d"
	long.Longest = "10y"
	marked.Extensions = []profile.ExtensionConfig{{OID: "1.3.6.1.4.1.32473.7", DER: "0500"}}
	set, err := profile.NewSet(map[string]profile.Config{"web": web, "short": short, "long": long, "marked": marked})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (w *world) submit(a *Authority, csr []byte, profileName string) (Submission, error) {
	w.t.Helper()
	return a.Submit(w.ctx, anonymous, request(w.t, csr), Asked{Profile: profileName})
}

// submitted submits a request that must be taken.
func (w *world) submitted(a *Authority, csr []byte, profileName string) Submission {
	w.t.Helper()
	made, err := w.submit(a, csr, profileName)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// recorded is the row of a certificate.
func (w *world) recorded(a *Authority, crt *x509.Certificate) store.Certificate {
	w.t.Helper()
	var row store.Certificate
	err := w.store.View(w.ctx, func(r store.Reader) (err error) {
		row, err = r.CertificateBySerial(w.ctx, a.name, crt.SerialNumber)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}

func (w *world) counter(a *Authority, name string) (n int64) {
	w.t.Helper()
	err := w.store.View(w.ctx, func(r store.Reader) (err error) {
		n, err = r.Counter(w.ctx, a.name, name)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// audited are the entries about some actions.
func (w *world) audited(actions ...audit.Action) []audit.Entry {
	w.t.Helper()
	return slices.DeleteFunc(w.audit(audit.Filter{}), func(e audit.Entry) bool { return !slices.Contains(actions, e.Action) })
}

// renewed is the successor of crt, made by its holder.
func (w *world) renewed(a *Authority, crt *x509.Certificate, key crypto.Signer) (*x509.Certificate, crypto.Signer) {
	w.t.Helper()
	next := newKey(w.t)
	data, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(w.t, crt, key, csrNamed(w.t, next, "ignored")))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.parse(data), next
}

func TestProfilesOffered(t *testing.T) {
	narrow := []string{"as-requested", "client", "code-signing", "email", "server", "server-client", "short", "web"}
	for _, c := range []struct {
		name     string
		usual    string
		listed   []string
		offered  []string
		refused  []string // of those that there are
		unusable bool     // the default
	}{
		{"nothing said: what only narrows a request", "", nil, narrow, []string{"ocsp", "long", "marked"}, false},
		{"as requested, said so", "as-requested", nil, narrow, []string{"ocsp", "long", "marked"}, false},
		{"another default", "web", nil, []string{"web"}, []string{"as-requested", "server", "ocsp", "long"}, false},
		{"a list", "", []string{"ocsp", "long"}, []string{"as-requested", "ocsp", "long"}, []string{"server", "web", "marked"}, false},
		{"a list of the default alone", "", []string{"as-requested"}, []string{"as-requested"}, []string{"server", "web"}, false},
		{"a list beside another default", "server", []string{"client"}, []string{"server", "client"}, []string{"as-requested", "web"}, false},
		{"a list of what there is not", "", []string{"gone", "server"}, []string{"as-requested", "server"}, []string{"gone", "web"}, false},
		{"a default that there is not", "gone", nil, nil, []string{"gone", "as-requested", "server"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			cfg.Profiles, cfg.row.Profile, cfg.row.Profiles = profiles(t), c.usual, c.listed
			a := w.open(cfg)
			for _, name := range c.offered {
				if p, err := a.profileNamed(name); err != nil || p.Name() != name {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, name := range append(c.refused, "nothing", profile.NameDaemonServer, "\x1b[2J") {
				_, err := a.profileNamed(name)
				wantError(t, err, ErrInvalid)
				wantError(t, err, profile.ErrUnknown)
				if err != nil && pki.EscapeText(err.Error()) != err.Error() {
					t.Errorf("not safe to show: %q", err)
				}
			}
			switch _, err := a.profileNamed(""); {
			case c.unusable:
				wantError(t, err, profile.ErrUnknown)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

// An authority whose profiles are not all in the configuration issues what it can.
func TestProfilesNotConfigured(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	cfg := config(store.Services)
	cfg.row.Profiles, cfg.Log = []string{"gone", "server"}, slog.New(slog.NewTextHandler(&log, nil))
	a := w.open(cfg)
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "profile=gone") || strings.Contains(text, "profile=server") {
		t.Errorf("logged %s", text)
	}
	_, err := w.submit(a, csrNamed(t, newKey(t), "host"), "gone")
	if wantError(t, err, ErrInvalid); err == nil || !strings.Contains(err.Error(), "this daemon's configuration does not have") {
		t.Errorf("refused as %v", err)
	}
	w.enrol(a, "host")
	made := w.submitted(a, csrNamed(t, newKey(t), "www"), "server")
	// The profile is taken out between submission and approval.
	cfg.row.Profiles = []string{"as-requested"}
	a = w.open(cfg)
	_, err = a.Approve(w.ctx, alice, made.ID, Approval{})
	wantError(t, err, profile.ErrUnknown)
	if _, err := a.Approve(w.ctx, alice, made.ID, Approval{Profile: "as-requested"}); err != nil {
		t.Errorf("with another one instead: %v", err)
	}
}

// A request that does not fit its profile is refused when it comes, and leaves nothing behind.
func TestRequestsThatDoNotFit(t *testing.T) {
	nameless := func(t testing.TB, key crypto.Signer) []byte {
		return csrFor(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "host"}})
	}
	mail := func(t testing.TB, key crypto.Signer) []byte {
		return csrFor(t, key, x509.CertificateRequest{EmailAddresses: []string{"a@example.org"}})
	}
	host := func(t testing.TB, key crypto.Signer) []byte { return csrNamed(t, key, "host") }
	for _, c := range []struct {
		name, profile, usual string
		csr                  func(testing.TB, crypto.Signer) []byte
		why                  string // empty: it is taken
	}{
		{"a host", "server", "", host, ""},
		{"a host, by default", "", "server", host, ""},
		{"a host as somebody with an address", "email", "", host, "only e-mail addresses are allowed"},
		{"an address", "email", "", mail, ""},
		{"an address as a host", "server", "", mail, "the e-mail address a@example.org"},
		{"a host without names", "server", "", nameless, "no subject alternative name"},
		{"a host without names, by default", "", "server", nameless, "no subject alternative name"},
		{"a host without names, as requested", "", "", nameless, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			cfg.row.Profile = c.usual
			a := w.open(cfg)
			made, err := w.submit(a, c.csr(t, newKey(t)), c.profile)
			pending, _ := a.Pending(w.ctx)
			counted, audited := w.counter(a, store.CounterReceivedCSR), w.audited(audit.Submit)
			if c.why == "" {
				if err != nil || made.Issued != nil || len(pending) != 1 || counted != 1 || len(audited) != 1 {
					t.Errorf("%v; %d pending, %d received, audit log: %v", err, len(pending), counted, audited)
				}
				return
			}
			if wantError(t, err, ErrInvalid); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("refused as %v", err)
			}
			if len(pending) != 0 || counted != 0 || len(audited) != 0 {
				t.Errorf("%d pending, %d received, audit log: %v", len(pending), counted, audited)
			}
		})
	}
}

// What a request names goes all the way: into the list of what waits, the certificate, its record and the
// audit log.
func TestRequestsNameProfiles(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	csr := csrNamed(t, newKey(t), "www")
	made := w.submitted(a, csr, "server")
	if again, err := w.submit(a, csr, "client"); err != nil || again.ID != made.ID {
		t.Errorf("the same request with another profile: %+v, %v", again, err)
	}
	w.clock.Advance(time.Second)
	plain := w.submitted(a, csrNamed(t, newKey(t), "plain"), "as-requested")
	pending, err := a.Pending(w.ctx)
	if err != nil || len(pending) != 2 || pending[0].Profile != "server" || pending[1].Profile != "" {
		t.Errorf("pending: %+v, %v", pending, err)
	}
	issued, err := a.Approve(w.ctx, alice, made.ID, Approval{})
	if err != nil {
		t.Fatal(err)
	}
	if got := issued.Certificate.ExtKeyUsage; !slices.Equal(got, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("is good for %v", got)
	}
	if row := w.recorded(a, issued.Certificate); row.Profile != "server" || row.Validity != 0 {
		t.Errorf("recorded: profile %q, validity %v", row.Profile, row.Validity)
	}
	issued, err = a.Approve(w.ctx, alice, plain.ID, Approval{Profile: "client", Validity: day})
	if err != nil {
		t.Fatal(err)
	}
	if got := issued.Certificate.ExtKeyUsage; !slices.Equal(got, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("is good for %v", got)
	}
	if row := w.recorded(a, issued.Certificate); row.Profile != "client" || row.Validity != day {
		t.Errorf("recorded: profile %q, validity %v", row.Profile, row.Validity)
	}
	var log []string
	for _, e := range w.audited(audit.Submit, audit.Sign) {
		what, _, _ := strings.Cut(e.Detail, " lineage=")
		log = append(log, what)
	}
	want := "CN=www [DNS:www.example.org] profile=server|CN=plain [DNS:plain.example.org] profile=as-requested|" +
		"CN=www [DNS:www.example.org] profile=server|CN=plain [DNS:plain.example.org] profile=client validity=1d"
	if got := strings.Join(log, "|"); got != want {
		t.Errorf("audit log\n%s\nwant\n%s", got, want)
	}
}

// A profile that needs a user waits for one, and automatic approvals go on beside it.
func TestProfilesThatNeedAUser(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.AutoApprove, cfg.row.Profiles = 2, []string{"ocsp", "server"}
	a := w.open(cfg)
	responder := w.submitted(a, csrFor(t, newKey(t), x509.CertificateRequest{Subject: pkix.Name{CommonName: "responder"}}), "ocsp")
	if responder.Issued != nil {
		t.Fatal("an OCSP responder that no user has approved")
	}
	www := w.submitted(a, csrNamed(t, newKey(t), "www"), "server")
	if www.Issued == nil {
		t.Fatal("not approved automatically")
	}
	crt := www.Issued.Certificate
	if row := w.recorded(a, crt); row.Profile != "server" || row.Method != store.AutoSigned {
		t.Errorf("recorded: %s with the profile %q", row.Method, row.Profile)
	}
	if !slices.Equal(crt.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || len(crt.PolicyIdentifiers) != 1 {
		t.Errorf("is good for %v, with the policies %v", crt.ExtKeyUsage, crt.PolicyIdentifiers)
	}
	if late := w.submitted(a, csrNamed(t, newKey(t), "late"), "server"); late.Issued != nil {
		t.Error("a third request was approved automatically")
	}
	issued, err := a.Approve(w.ctx, alice, responder.ID, Approval{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(issued.Certificate.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}) {
		t.Errorf("is good for %v", issued.Certificate.ExtKeyUsage)
	}
}

func TestRenewalsKeepProfileAndValidity(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile string
		listed  []string
		how     Approval
		// What happens between issuance and renewal.
		later func(w *world, cfg *setup)
		want  time.Duration
		// Of the record.
		kept     string
		validity time.Duration
		usage    []x509.ExtKeyUsage
	}{
		{name: "as requested", want: 93 * day, kept: "as-requested"},
		{
			name: "as requested, the span has become longer", later: func(_ *world, cfg *setup) { cfg.row.Span = 100 * day },
			want: 100 * day, kept: "as-requested",
		},
		{name: "a validity of its own", how: Approval{Validity: 2 * day}, want: 2 * day, kept: "as-requested", validity: 2 * day},
		{
			name: "a validity that is the span", how: Approval{Validity: 93 * day}, later: func(_ *world, cfg *setup) { cfg.row.Span = 100 * day },
			want: 93 * day, kept: "as-requested", validity: 93 * day,
		},
		{
			name: "a validity that has become too long", how: Approval{Validity: 80 * day}, later: func(_ *world, cfg *setup) { cfg.row.Span = 50 * day },
			want: 50 * day, kept: "as-requested", validity: 50 * day,
		},
		{name: "a profile", profile: "server", want: 93 * day, kept: "server", usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		{
			name: "the profile that was approved", profile: "server", how: Approval{Profile: "client"}, want: 93 * day,
			kept: "client", usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		},
		{
			name: "the profile's validity", profile: "short", want: day, kept: "short", validity: day,
			usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		{
			name: "a profile that is gone", profile: "short", later: func(w *world, cfg *setup) { cfg.Profiles = nil }, want: day,
			kept: "short", validity: day, usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		{
			name: "a profile that is not offered any more", profile: "server", later: func(w *world, cfg *setup) { cfg.row.Profiles = []string{"client"} },
			want: 93 * day, kept: "server", usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		{
			name: "an extension of the profile", profile: "marked", listed: []string{"marked"}, want: 93 * day, kept: "marked",
			usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		{
			name: "an OCSP responder", profile: "ocsp", listed: []string{"ocsp"}, want: 93 * day, kept: "ocsp",
			usage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		},
		{
			name: "without a record: it may be anything", profile: "ocsp", listed: []string{"ocsp"}, how: Approval{Validity: 2 * day},
			later: func(w *world, _ *setup) {
				err := w.store.Update(w.ctx, func(tx store.Tx) error {
					_, err := tx.PruneCertificates(w.ctx, store.Services, w.clock.Now().Add(1000*day), 10)
					return err
				})
				if err != nil {
					w.t.Fatal(err)
				}
			},
			want: 93 * day, kept: "as-requested",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			cfg.Profiles, cfg.row.Profiles = profiles(t), c.listed
			a := w.open(cfg)
			key := newKey(t)
			csr := csrNamed(t, key, "host")
			if c.profile == "ocsp" {
				csr = csrFor(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "responder"}})
			}
			issued, err := a.Approve(w.ctx, alice, w.submitted(a, csr, c.profile).ID, c.how)
			if err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Hour)
			if c.later != nil {
				c.later(w, &cfg)
				a = w.open(cfg)
			}
			crt := issued.Certificate
			// Whatever it is renewed with, and however often.
			for _, way := range []string{"Renew", "Renew again", "Replace"} {
				before := crt
				if way == "Replace" {
					next, err := a.Replace(w.ctx, alice, crt, request(t, csrNamed(t, newKey(t), "ignored")))
					if err != nil {
						t.Fatal(err)
					}
					crt = next.Certificate
				} else {
					crt, key = w.renewed(a, crt, key)
				}
				row := w.recorded(a, crt)
				if got := crt.NotAfter.Sub(w.clock.Now()); got != c.want || row.Profile != c.kept || row.Validity != c.validity {
					t.Errorf("%s: valid for %v, want %v; recorded: profile %q, validity %v, want %q, %v",
						way, got, c.want, row.Profile, row.Validity, c.kept, c.validity)
				}
				if !slices.Equal(crt.ExtKeyUsage, c.usage) {
					t.Errorf("%s: is good for %v, want %v", way, crt.ExtKeyUsage, c.usage)
				}
				if c.kept == c.profile && len(crt.Extensions) != len(before.Extensions) {
					t.Errorf("%s: %d extensions, had %d", way, len(crt.Extensions), len(before.Extensions))
				}
				w.clock.Advance(time.Minute)
			}
		})
	}
}

func TestDaemonsOwnProfile(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.HTTPS)
	cfg.Linter = linterFunc(func() error { return &lint.Error{Findings: []lint.Finding{{Lint: "test"}}} })
	a := w.open(cfg)
	crt, _, err := a.IssueServer(w.ctx, newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	if row := w.recorded(a, crt); row.Profile != profile.NameDaemonServer || row.Validity != 0 {
		t.Errorf("recorded: profile %q, validity %v", row.Profile, row.Validity)
	}
}

// The certificates of an authority under a root say where its own is.
func TestIssuersPointer(t *testing.T) {
	w := newWorld(t)
	f := family{}
	w.join(f, rootSetup(t))
	lab := w.issue(w.join(f, below(f, "lab")), "host").Certificate
	want := fmt.Sprintf("http://ca.example.org:8009/lab/crt/%s.crt", decimal(lab.AuthorityKeyId))
	if got := lab.IssuingCertificateURL; !slices.Equal(got, []string{want}) {
		t.Errorf("%v, want %s", got, want)
	}
	if got := w.issue(w.join(f, config(store.Services)), "host").Certificate.IssuingCertificateURL; got != nil {
		t.Errorf("of a self-signed CA, which every verifier must have anyway: %v", got)
	}
}
