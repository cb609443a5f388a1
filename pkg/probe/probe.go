package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// Limits are how long before a certificate expires that is a warning, or critical.
type Limits struct {
	Warning  time.Duration
	Critical time.Duration

	// Exact applies the limits to certificates of any life. Otherwise they are at most a
	// fourth and a tenth of it, so that those of daemons with short spans do not always exceed them.
	Exact bool
}

func (l Limits) status(left, life time.Duration) Status {
	warning, critical := l.Warning, l.Critical
	if !l.Exact {
		warning, critical = min(warning, life/4), min(critical, life/10)
	}
	switch {
	case left <= critical:
		return Critical
	case left <= warning:
		return Warning
	}
	return OK
}

// Options say what to look at.
type Options struct {
	URL       string // http://HOST[:PORT]
	Clock     clock.Clock
	Limits    Limits
	Timeout   time.Duration // of everything together
	UserAgent string

	// Caucase says that it is a reference caucased, which cannot vouch for its HTTPS certificate.
	Caucase bool

	// Pins are fingerprints of CAs that the daemon has to have, or successors of them. An authority that has none of
	// these is taken for what it says it is.
	Pins []client.Pin

	// Trusted are the CA certificates that somebody here trusts already. Of these authorities the daemon has to have them, or
	// successors; where there are pins, they say it instead.
	Trusted map[client.AuthorityName][]*x509.Certificate

	// Authorities to look at; all that the daemon says it has if there are none.
	Authorities []client.AuthorityName
}

// How far the daemon's clock may be off before it matters. Certificates are backdated by a
// minute at most, and by 10 seconds by a reference daemon.
const (
	maxSkew      = 30 * time.Second
	criticalSkew = 5 * time.Minute
)

// A prober is a probe in progress.
type prober struct {
	options Options
	now     time.Time
	record  *recorder
	report  *Report
	met     map[client.Pin]bool // those pins of which some authority had the CA
}

// Run looks at a daemon. What is wrong with it is in the report; an error is a mistake in the
// options.
func Run(ctx context.Context, options Options) (*Report, error) {
	p := &prober{options: options, now: options.Clock.Now(), record: &recorder{clock: options.Clock}, met: make(map[client.Pin]bool)}
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p.report = &Report{URL: c.URL(), Time: p.now.UTC()}

	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	if err := p.check(ctx, c); err != nil {
		return nil, err
	}
	p.report.finish()
	return p.report, nil
}

// client returns one of the first authority to look at.
func (p *prober) client() (*client.Client, error) {
	first := client.CAS
	if len(p.options.Authorities) > 0 {
		first = p.options.Authorities[0]
	}
	return client.New(client.Options{
		URL: p.options.URL, Authority: first, Clock: p.options.Clock,
		UserAgent: p.options.UserAgent, Timeout: p.options.Timeout, Transport: p.record.transport,
	})
}

func (p *prober) check(ctx context.Context, c *client.Client) error {
	first, err := c.CACertificate(ctx)
	if err != nil {
		// No daemon answers, or a stranger does: the other checks would only repeat that.
		p.report.add("HTTP", Critical, "%v", err)
		return nil
	}
	var trusted []*x509.Certificate
	for _, name := range p.authorities(ctx, c) {
		of, err := c.For(name)
		if err != nil {
			return err
		}
		cas := p.authority(ctx, label(name), of)
		if name == c.Authority() {
			trusted = cas
		}
	}
	p.pins()
	p.https(ctx, c, first, trusted)
	p.clockSkew()
	return nil
}

// authorities returns those to look at: those asked for, or those the daemon says it has, and in
// any case the one that c is for.
func (p *prober) authorities(ctx context.Context, c *client.Client) []client.AuthorityName {
	if len(p.options.Authorities) > 0 {
		return p.options.Authorities
	}
	all := []client.AuthorityName{client.CAS, client.CAU}
	listed, err := c.Authorities(ctx)
	switch {
	case client.IsStatus(err, http.StatusNotFound):
	case err != nil:
		p.report.add("authorities", Critical, "%v", err)
	}
	for _, name := range listed {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// label is what findings call an authority: the two that every daemon has by whom they are for.
func label(name client.AuthorityName) string {
	switch name {
	case client.CAS:
		return "service"
	case client.CAU:
		return "user"
	}
	return string(name)
}

// authority looks at the CA certificates and revocation lists, and returns the former.
func (p *prober) authority(ctx context.Context, name string, c *client.Client) []*x509.Certificate {
	timeline, err := c.Timeline(ctx)
	said := err == nil
	if said && !timeline.RetiredAt.IsZero() && len(timeline.ActiveFrom) == 0 {
		p.report.add(name+" CA", OK, "retired, and nothing that it has issued is valid any more")
		return nil
	}
	trust, err := p.trust(ctx, c)
	if err != nil {
		p.report.add(name+" CA", Critical, "%v", err)
		return nil
	}
	switch {
	case !said:
		p.ca(name, trust.CAs, client.EstimateSpan(trust.CAs))
	case !timeline.RetiredAt.IsZero():
		p.report.add(name+" CA", OK, "retired, its last certificates end in %s at the latest", span(newest(trust.CAs).NotAfter.Sub(p.now)))
	case timeline.NextCA.IsZero():
		p.ca(name, trust.CAs, 0) // people bring its successor when they like
	default:
		p.ca(name, trust.CAs, timeline.Span)
	}
	p.crls(ctx, name, c, trust.CAs)
	if timeline.Parent != "" {
		p.roots(ctx, name, c, trust)
	}
	return trust.CAs
}

// trust returns the CAs that whoever knows the pins trusts, of an authority that has none of them those of whoever
// trusts what is given, or asks for the first time.
func (p *prober) trust(ctx context.Context, c *client.Client) (found client.Trust, err error) {
	pinned := false
	for _, pin := range p.options.Pins {
		trust, err := c.UpdateTrust(ctx, nil, []client.Pin{pin})
		switch {
		case err == nil:
			p.met[pin], pinned, found = true, true, trust
		case !errors.Is(err, client.ErrPin):
			return found, err
		}
	}
	if pinned {
		return found, nil
	}
	// Without any it is the first contact.
	return c.UpdateTrust(ctx, p.options.Trusted[c.Authority()], nil)
}

// pins reports CAs that the daemon was expected to have.
func (p *prober) pins() {
	for _, pin := range p.options.Pins {
		if !p.met[pin] {
			p.report.add("CA fingerprint", Critical, "no authority here has the CA %s or a successor of it: another daemon, or somebody between", pin)
		}
	}
}

func newest(cas []*x509.Certificate) *x509.Certificate { return cas[len(cas)-1] }

// ca checks the newest CA certificate: if its end is near, no successor has appeared. unit is the validity
// of issued certificates, by which the daemon makes successors; 0 if it makes none.
func (p *prober) ca(name string, cas []*x509.Certificate, unit time.Duration) {
	newest := newest(cas)
	left := newest.NotAfter.Sub(p.now)
	status, why := p.options.Limits.status(left, newest.NotAfter.Sub(newest.NotBefore)), ""
	// A successor is due when two spans are left, and has to be known for one of them before
	// it can sign.
	switch slack := unit / 20; {
	case left < unit-slack:
		status, why = Critical, ", and hosts have not met its successor"
	case left < 2*unit-slack:
		status, why = max(status, Warning), ", and its successor is overdue"
	}
	p.report.add(name+" CA", status, "%s left%s", span(left), why).measure(name+"_ca_days", days(left))
}

// roots checks that whoever trusts the roots can verify what an authority below one issues.
func (p *prober) roots(ctx context.Context, name string, c *client.Client, trust client.Trust) {
	roots, err := c.UpdateRoots(ctx, trust, nil, nil)
	if err != nil {
		p.report.add(name+" root", Critical, "%v", err)
		return
	}
	newest := newest(roots.CAs)
	left := newest.NotAfter.Sub(p.now)
	p.report.add(name+" root", p.options.Limits.status(left, newest.NotAfter.Sub(newest.NotBefore)), "%s left", span(left)).measure(name+"_root_days", days(left))
}

// crls checks the revocation lists. The client has checked whose they are and that they are
// valid.
func (p *prober) crls(ctx context.Context, name string, c *client.Client, cas []*x509.Certificate) {
	check := name + " CRL"
	crls, err := c.UpdateCRLs(ctx, cas, nil)
	if err != nil {
		p.report.add(check, Critical, "%v", err)
		return
	}
	if missing := len(cas) - len(crls); missing > 0 {
		p.report.add(check, Critical, "%d of %d CAs have no list, and verifiers may refuse what they signed", missing, len(cas))
		return
	}
	oldest := slices.MinFunc(crls, func(a, b *x509.RevocationList) int { return a.NextUpdate.Compare(b.NextUpdate) })
	left, life := oldest.NextUpdate.Sub(p.now), oldest.NextUpdate.Sub(oldest.ThisUpdate)
	status, why := OK, ""
	switch {
	// A daemon makes a new list when half the life of the old one has passed.
	case left < life/3:
		status, why = Warning, fmt.Sprintf(" of %s: the daemon should have made a new list", span(life))
	case oldest.ThisUpdate.After(p.now.Add(maxSkew)):
		status, why = Warning, fmt.Sprintf(": it begins in the future, in %s", span(oldest.ThisUpdate.Sub(p.now)))
	}
	p.report.add(check, status, "valid for %s%s", span(left), why).measure(name+"_crl_days", days(left))
}

// https checks that both ports serve the same CA, and checks the certificate of the second.
func (p *prober) https(ctx context.Context, c *client.Client, first *x509.Certificate, trusted []*x509.Certificate) {
	if trusted == nil {
		return // reported already
	}
	session, err := c.Connect(ctx, tls.Certificate{}, trusted, client.Caucase{Allowed: p.options.Caucase})
	if err != nil {
		p.report.add("HTTPS", Critical, "%v", err)
		return
	}
	defer session.Close()
	second, err := session.CACertificate(ctx)
	if err != nil {
		p.report.add("HTTPS", Critical, "%v", explain(err))
		return
	}
	if !second.Equal(first) {
		// The CA found first may have expired meanwhile.
		if again, err := c.CACertificate(ctx); err != nil || !second.Equal(again) {
			p.report.add("HTTPS", Critical, "serves another CA than HTTP: %s, not %s", client.PinOf(second), client.PinOf(first))
			return
		}
	}
	how := "verified"
	if !session.Verified() {
		how = "not verified, as nothing of a reference caucased can be"
	}
	p.report.add("HTTPS", OK, "same CA as over HTTP")
	leaf := p.record.certificate()
	if leaf == nil {
		return
	}
	left := leaf.NotAfter.Sub(p.now)
	status := p.options.Limits.status(left, leaf.NotAfter.Sub(leaf.NotBefore))
	if err := pki.CheckValidity(leaf, p.now); err != nil {
		status, how = Critical, err.Error()
	}
	p.report.add("HTTPS certificate", status, "%s left, %s", span(left), how).measure("https_days", days(left))
}

// explain names the reason for which the daemon's certificate was refused.
func explain(err error) error {
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) && len(bad.UnverifiedCertificates) > 0 {
		return fmt.Errorf("its certificate, which ends on %s, does not verify: %w",
			bad.UnverifiedCertificates[0].NotAfter.UTC().Format(time.RFC3339), bad.Err)
	}
	return err
}

func (p *prober) clockSkew() {
	skew, known := p.record.skew()
	if !known {
		p.report.add("clock", Warning, "the daemon does not say what time it is")
		return
	}
	status := OK
	switch {
	case skew.Abs() > criticalSkew:
		status = Critical
	case skew.Abs() > maxSkew:
		status = Warning
	}
	where := "ahead of"
	if skew < 0 {
		where = "behind"
	}
	text := fmt.Sprintf("the daemon's is %s %s ours", span(skew.Abs()), where)
	if skew.Abs() < 2*time.Second {
		text = "the same as ours" // no more than the resolution of a Date
	}
	p.report.add("clock", status, "%s", text).measure("clock_skew_seconds", skew.Seconds())
}
