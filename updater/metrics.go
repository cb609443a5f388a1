package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cauase/pkg/cli"
	"cauase/pkg/updater"
)

// An exporter serves metrics. A nil one does nothing.
type exporter struct {
	listener net.Listener
	server   *http.Server
}

func listen(ctx context.Context, address string, s *service) (*exporter, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, cli.WithHint(err, "--%s says where metrics are served", flagMetrics)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &exporter{listener: listener, server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
	}}, nil
}

func (e *exporter) serve(log *slog.Logger) {
	if e == nil {
		return
	}
	log.Info("metrics are served", "address", e.listener.Addr().String())
	go func() {
		if err := e.server.Serve(e.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err.Error())
		}
	}()
}

func (e *exporter) close() {
	if e == nil {
		return
	}
	_ = e.server.Close()
	_ = e.listener.Close()
}

// A collector reads the state of the agent at each scrape.
type collector struct{ service *service }

var (
	mNotAfter = metric("not_after_timestamp_seconds", "When a file's content expires: certificate, CA certificate or revocation list.", "kind", "file", "key_id")
	mBudget   = metric("outage_budget_seconds", "For how long the CA may be out of reach before something here expires.")
	mState    = metric("state", "1 for the state the job is in.", "state")
	mRenewals = metric("renewals_total", "Certificates renewed.")
	mEnrolled = metric("enrolments_total", "Certificates got for a request.")
	mMended   = metric("mended_total", "Files that were missing or damaged and put back.")
	mFailures = metric("failures_total", "Tries that failed.", "task")
	mHooks    = metric("hook_runs_total", "Runs of the hook, by result.", "result")
	mPending  = metric("hook_pending", "1 while the hook has yet to hear of a change.")
	mLogSize  = metric("log_size", "Entries that the CA's log had when it was last seen.")
	mForked   = metric("log_forked", "1 while the CA's log is not what was seen of it: nothing is taken from the daemon.")
	mForks    = metric("log_forks_total", "How often the CA's log was found not to be what was seen of it.")
	mRestores = metric("log_restores_total", "Restores of the CA from backups, as it has declared them.")
	mContact  = metric("last_contact_timestamp_seconds", "When CA certificates and revocation lists were last fetched.")
)

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("cauase_updater_"+name, help, append([]string{"name"}, labels...), nil)
}

// Describe sends what Collect may send.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{mNotAfter, mBudget, mState, mRenewals, mEnrolled, mMended, mFailures, mHooks, mPending, mLogSize, mForked, mForks, mRestores, mContact} {
		ch <- d
	}
}

// Collect sends the state of every job.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.service.agent.Statuses() {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.Name}, labels...)...)
		}
		count := func(d *prometheus.Desc, n int, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{s.Name}, labels...)...)
		}
		if crt := s.Certificate; crt != nil {
			gauge(mNotAfter, float64(crt.NotAfter.Unix()), "certificate", crt.File, "")
		}
		for _, e := range s.CAs {
			gauge(mNotAfter, float64(e.End.Unix()), "ca", e.File, e.KeyID)
		}
		for _, e := range s.CRLs {
			gauge(mNotAfter, float64(e.End.Unix()), "crl", e.File, e.KeyID)
		}
		gauge(mBudget, s.BudgetAt(c.service.clock.Now()))
		gauge(mState, 1, s.State)
		count(mRenewals, s.Counts.Renewals)
		count(mEnrolled, s.Counts.Enrolments)
		count(mMended, s.Counts.Mended)
		for task, n := range s.Counts.Failures {
			count(mFailures, n, string(task))
		}
		count(mHooks, s.Counts.Hooks, "ok")
		count(mHooks, s.Counts.HookFailures, "failed")
		if s.Log != nil {
			gauge(mLogSize, float64(s.Log.Size))
		}
		forked := 0.0
		if s.State == updater.StateForked {
			forked = 1
		}
		gauge(mForked, forked)
		count(mForks, s.Counts.LogForks)
		count(mRestores, s.Counts.LogRestores)
		pending := 0.0
		if len(s.Hook.Pending) > 0 {
			pending = 1
		}
		gauge(mPending, pending)
		if !s.Contact.IsZero() {
			gauge(mContact, float64(s.Contact.Unix()))
		}
	}
}
