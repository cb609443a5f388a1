// Package metrics shows the state of a daemon to Prometheus. Alert rules that go with it are in
// deploy/prometheus/cauase.rules.yml.
//
// What changes with requests is counted as it happens. What follows from the state of an
// authority, such as how long its CA certificates live, is asked for at each scrape, so that it
// cannot be out of date.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Generation is a CA certificate that has not expired.
type Generation struct {
	KeyID    string // hex
	Phase    string
	NotAfter time.Time
}

// A Rotation is how many hosts have the newest CA certificate, by what is known of them: see ca.Adoption.
type Rotation struct {
	KeyID                              string // hex; empty: nobody needs to know
	Confirmed, Renewed, Behind, Silent int
}

// A State is what an authority is asked for at each scrape.
type State struct {
	Authority   string
	Generations []Generation
	Rotation    Rotation
	CRLNumber   int64
	ThisUpdate  time.Time
	NextUpdate  time.Time
	Revoked     int
	Pending     int

	Users  int // lineages of users, of an authority of theirs
	Forked int // lineages with a certificate that was renewed more than once

	// Span is the validity of what it issues, by which the times of its renewals go; zero where it does not
	// renew itself any more, or people do that.
	Span          time.Duration
	External      bool      // its keys are elsewhere: certificates and lists are imported by operators
	SignoffNeeded bool      // a CA certificate of its has to be signed off by the parent
	Locked        bool      // its private keys are, so that it signs nothing
	UsableUntil   time.Time // when the last CA certificate ends that is valid now; zero when there is none
}

// A Source returns the state of an authority. It must answer within the context's time.
type Source func(context.Context) (State, error)

// scrapeTimeout bounds how long the sources are waited for, shorter than Prometheus waits.
const scrapeTimeout = 5 * time.Second

// Metrics are the metrics of one daemon.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger

	operations *prometheus.CounterVec
	refused    *prometheus.CounterVec
	forks      *prometheus.CounterVec
	requests   *prometheus.HistogramVec
	limited    *prometheus.CounterVec
	awaited    *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	disputes   prometheus.Counter
}

// New returns metrics that ask, at each scrape, those sources for the state of the authorities that there
// are then, and httpsNotAfter for the end of the daemon's own HTTPS certificate, zero when there is none.
func New(log *slog.Logger, version string, httpsNotAfter func() time.Time, sources func() []Source) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		log:      log,
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cauase_operations_total",
			Help: "Operations that succeeded: requests submitted and rejected, certificates signed, renewed and revoked.",
		}, []string{"authority", "operation"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cauase_refused_total",
			Help: "Operations that did not succeed, by reason.",
		}, []string{"authority", "operation", "reason"}),
		forks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cauase_forks_total",
			Help: "Renewals of certificates that had been renewed before: by a restored host, or with a copied key.",
		}, []string{"authority"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "cauase_http_request_duration_seconds",
			Help:    "Time to answer HTTP requests, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
	}
	m.limited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cauase_limited_total",
		Help: "Connections and requests refused, or ended to make room for others, by the limit that was reached.",
	}, []string{"limit"})
	m.awaited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cauase_waits_total",
		Help: "Answers to requests that asked to wait for newer revocation lists, by what ended the wait.",
	}, []string{"outcome"})
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cauase_deliveries_total",
		Help: "Attempts to tell hooks of certificates, by recipient and outcome.",
	}, []string{"recipient", "outcome"})
	m.disputes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "cauase_log_disputes_total",
		Help: "Requests with evidence that the log was rewritten: a checkpoint signed by the daemon's key that its log does not continue.",
	})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cauase_build_info",
		Help: "1, with the version of cauased.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, m.operations, m.refused, m.forks, m.requests, m.limited, m.awaited, m.deliveries, m.disputes,
		&stateCollector{log: log, sources: sources, httpsNotAfter: httpsNotAfter},
	)
	return m
}

// Operation counts an operation of an authority: under its reason if it was refused.
func (m *Metrics) Operation(authority, operation, refusedReason string) {
	if refusedReason == "" {
		m.operations.WithLabelValues(authority, operation).Inc()
		return
	}
	m.refused.WithLabelValues(authority, operation, refusedReason).Inc()
}

// Fork counts a renewal of a certificate that had been renewed before.
func (m *Metrics) Fork(authority string) { m.forks.WithLabelValues(authority).Inc() }

// Disputed counts evidence that the log was rewritten.
func (m *Metrics) Disputed() { m.disputes.Inc() }

// Request counts an HTTP request. The route is the pattern that has matched, never the path: a
// stranger must not be able to fill the memory with label values.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Connections asks, at each scrape, how many connections there are.
func (m *Metrics) Connections(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cauase_connections",
		Help: "Connections to the ports of the protocol.",
	}, func() float64 { return float64(count()) }))
}

// Waiting asks, at each scrape, how many wait for news of revocations.
func (m *Metrics) Waiting(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cauase_waiting",
		Help: "Requests that wait for newer revocation lists, beside cauase_connections.",
	}, func() float64 { return float64(count()) }))
}

// Limited counts what a limit has refused or ended.
func (m *Metrics) Limited(limit string) { m.limited.WithLabelValues(limit).Inc() }

// Awaited counts an answer to a request that asked to wait, by what ended the wait.
func (m *Metrics) Awaited(outcome string) { m.awaited.WithLabelValues(outcome).Inc() }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slogErrors{m.log},
		ErrorHandling: promhttp.ContinueOnError,
	})
}

type slogErrors struct{ log *slog.Logger }

func (l slogErrors) Println(v ...any) { l.log.Error("metrics", "error", v) }

// A stateCollector turns the states of authorities into gauges.
type stateCollector struct {
	log           *slog.Logger
	sources       func() []Source
	httpsNotAfter func() time.Time
}

var (
	caNotAfter    = desc("cauase_ca_not_after_timestamp_seconds", "Expiry of a CA certificate.", "authority", "key_id", "phase")
	crlNumber     = desc("cauase_crl_number", "Number of the revocation lists.", "authority")
	crlThisUpdate = desc("cauase_crl_this_update_timestamp_seconds", "When the revocation lists were made.", "authority")
	crlNextUpdate = desc("cauase_crl_next_update_timestamp_seconds", "When the revocation lists expire.", "authority")
	revoked       = desc("cauase_revocations", "Revocations that are listed.", "authority")
	pending       = desc("cauase_pending_requests", "Requests that wait for a user.", "authority")
	users         = desc("cauase_users", "Users: certificates that are valid, each counted once with its renewals.", "authority")
	forked        = desc("cauase_lineages_forked", "Certificates, counted with their renewals, of which one was renewed more than once.", "authority")
	httpsNotAfter = desc("cauase_https_not_after_timestamp_seconds", "Expiry of the daemon's own HTTPS certificate.")
	span          = desc("cauase_authority_span_seconds", "Validity of issued certificates, of authorities that renew themselves.", "authority")
	external      = desc("cauase_authority_external", "1 when people bring the CA certificates and lists of the authority, whose keys are elsewhere.", "authority")
	locked        = desc("cauase_keys_locked", "1 while the private keys of the authority are locked, so that it signs nothing.", "authority")
	signoffNeeded = desc("cauase_signoff_needed", "1 when a CA certificate has to be signed off by the parent.", "authority")
	usableUntil   = desc("cauase_ca_usable_until_timestamp_seconds", "Expiry of the last CA certificate that can be used; not there when none can.", "authority")
	hosts         = desc("cauase_ca_hosts", "Lineages with a valid certificate, by what is known of their hosts having the newest CA certificate, while not all have renewed since it was made.", "authority", "key_id", "state")
	up            = desc("cauase_authority_up", "1 when the state of the authority could be read.", "authority")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe sends what Collect may send.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{caNotAfter, crlNumber, crlThisUpdate, crlNextUpdate, revoked, pending, users, forked, httpsNotAfter, up,
		span, external, signoffNeeded, locked, usableUntil, hosts} {
		ch <- d
	}
}

// Collect asks every source. One that fails is reported as down, and hides no other.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	truth := map[bool]float64{true: 1}
	for _, source := range c.sources() {
		s, err := source(ctx)
		gauge(up, truth[err == nil], s.Authority)
		// What is known nevertheless explains it.
		gauge(signoffNeeded, truth[s.SignoffNeeded], s.Authority)
		gauge(locked, truth[s.Locked], s.Authority)
		if !s.UsableUntil.IsZero() {
			gauge(usableUntil, float64(s.UsableUntil.Unix()), s.Authority)
		}
		if err != nil {
			c.log.Error("the state of an authority could not be read for metrics", "authority", s.Authority, "error", err)
			continue
		}
		for _, g := range s.Generations {
			gauge(caNotAfter, float64(g.NotAfter.Unix()), s.Authority, g.KeyID, g.Phase)
		}
		if !s.NextUpdate.IsZero() {
			gauge(crlNumber, float64(s.CRLNumber), s.Authority)
			gauge(crlThisUpdate, float64(s.ThisUpdate.Unix()), s.Authority)
			gauge(crlNextUpdate, float64(s.NextUpdate.Unix()), s.Authority)
		}
		if r := s.Rotation; r.KeyID != "" {
			for state, n := range map[string]int{"confirmed": r.Confirmed, "renewed": r.Renewed, "behind": r.Behind, "silent": r.Silent} {
				gauge(hosts, float64(n), s.Authority, r.KeyID, state)
			}
		}
		gauge(revoked, float64(s.Revoked), s.Authority)
		gauge(pending, float64(s.Pending), s.Authority)
		if s.Users > 0 {
			gauge(users, float64(s.Users), s.Authority)
		}
		gauge(forked, float64(s.Forked), s.Authority)
		gauge(external, truth[s.External], s.Authority)
		if s.Span > 0 {
			gauge(span, s.Span.Seconds(), s.Authority)
		}
	}
	if t := c.httpsNotAfter(); !t.IsZero() {
		gauge(httpsNotAfter, float64(t.Unix()))
	}
}
