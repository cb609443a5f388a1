package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/keys"
	"cauase/pkg/metrics"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// A metricsServer has a socket of its own: who may see metrics is another question than who
// may ask for certificates. A nil one does nothing.
type metricsServer struct {
	listener net.Listener
	metrics  *metrics.Metrics
	server   *http.Server
	daemon   *Daemon
}

func listenMetrics(ctx context.Context, cfg Config, log *slog.Logger) (*metricsServer, error) {
	if cfg.Metrics == "" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Metrics)
	if err != nil {
		return nil, err
	}
	m := &metricsServer{listener: listener}
	m.metrics = metrics.New(log, cfg.Version, m.httpsNotAfter, m.sources)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.metrics.Handler())
	m.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return m, nil
}

// serve answers from now on, with the state of d.
func (m *metricsServer) serve(d *Daemon) {
	if m == nil {
		return
	}
	m.daemon = d
	m.metrics.Connections(d.server.Connections)
	m.metrics.Waiting(d.server.Waiting)
	m.metrics.Outbox(d.outbox.Pending, d.outbox.Dropped)
	if d.archive != nil {
		m.metrics.Backups(d.backupMetrics)
	}
	go func() {
		if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("metrics are no longer served", "error", err)
		}
	}()
}

// Close ends it at once: a scrape that is cut off is tried again.
func (m *metricsServer) Close() {
	if m == nil {
		return
	}
	_ = m.server.Close()
	_ = m.listener.Close() // which the server does not know before serve
}

func (m *metricsServer) httpsNotAfter() time.Time {
	if crt := m.daemon.keyPair.Certificate(); crt != nil && crt.Leaf != nil {
		return crt.Leaf.NotAfter
	}
	return time.Time{}
}

// sources are the authorities that there are at a scrape, those that could not be opened included.
func (m *metricsServer) sources() (list []metrics.Source) {
	for _, a := range m.daemon.listed() {
		list = append(list, m.daemon.source(a))
	}
	for name, err := range m.daemon.authorities.Failed() {
		list = append(list, func(context.Context) (metrics.State, error) {
			return metrics.State{Authority: string(name)}, err
		})
	}
	return list
}

// source is what an authority tells of itself.
func (d *Daemon) source(a *ca.Authority) metrics.Source {
	return func(ctx context.Context) (s metrics.State, err error) {
		s = metrics.State{Authority: string(a.Name()), External: a.External()}
		if why := a.Locked(); why != nil && !errors.Is(why, keys.ErrOwn) {
			s.Locked = true
		}
		awaited, waiting, err := a.Awaited(ctx)
		if err != nil {
			return s, err
		}
		s.SignoffNeeded, s.UsableUntil = waiting && !d.retired(a), awaited.Until
		if s.Pending, err = a.CountPending(ctx); err != nil {
			return s, err
		}
		if s.Users, s.Forked, err = a.CountLineages(ctx); err != nil {
			return s, err
		}
		t, err := a.Timeline(ctx)
		if err != nil {
			return s, err
		}
		s.CRLNumber, s.ThisUpdate, s.NextUpdate, s.Revoked = t.CRLNumber, t.ThisUpdate, t.NextUpdate, t.Revoked
		if !s.External && !d.retired(a) {
			s.Span = t.Span
		}
		if r := t.Adoption; r != nil {
			h := r.Holders
			s.Rotation = metrics.Rotation{KeyID: hex.EncodeToString(r.KeyID), Confirmed: h.Confirmed, Renewed: h.Renewed, Behind: h.Behind, Silent: h.Silent}
		}
		for _, g := range t.Generations {
			s.Generations = append(s.Generations, metrics.Generation{
				KeyID: hex.EncodeToString(g.Certificate.SubjectKeyId), Phase: string(g.Phase), NotAfter: g.Certificate.NotAfter,
			})
			if pki.CheckValidity(g.Certificate, t.Now) == nil && g.Certificate.NotAfter.After(s.UsableUntil) {
				s.UsableUntil = g.Certificate.NotAfter
			}
		}
		return s, nil
	}
}

func (m *metricsServer) observeRequest() func(method, route string, status int, took time.Duration) {
	if m == nil {
		return nil
	}
	return m.metrics.Request
}

func (m *metricsServer) observeWaits() func(server.Outcome) {
	if m == nil {
		return nil
	}
	return func(o server.Outcome) { m.metrics.Awaited(o.String()) }
}

func (m *metricsServer) observeLimits() func(reason string) {
	if m == nil {
		return nil
	}
	return m.metrics.Limited
}

func (m *metricsServer) observeDisputes() func() {
	if m == nil {
		return nil
	}
	return m.metrics.Disputed
}

// observeDeliveries counts what recipients of events were told.
func (m *metricsServer) observeDeliveries() func(recipient string, err error) {
	if m == nil {
		return nil
	}
	return func(recipient string, err error) { m.metrics.Delivered(recipient, err == nil) }
}

func (m *metricsServer) observeOperation() func(store.AuthorityName, audit.Action, error) {
	if m == nil {
		return nil
	}
	return func(name store.AuthorityName, action audit.Action, err error) {
		if action == audit.Fork {
			m.metrics.Fork(string(name))
			return
		}
		m.metrics.Operation(string(name), string(action), reasonOf(err))
	}
}

// reasons name what operations are refused for, the first match counts.
var reasons = [...]struct {
	sentinel error
	reason   string
}{
	{ca.ErrNotFound, "not found"},
	{ca.ErrUninvited, "uninvited"},
	{ca.ErrRetired, "retired"}, // before ErrInvalid, which it is, too
	{ca.ErrTooManyPending, "too many pending"},
	{ca.ErrBudget, "too many requests"},
	{ca.ErrConflict, "conflict"},
	{ca.ErrUnauthorized, "unauthorized"},
	{ca.ErrInvalid, "invalid"},
	{store.ErrUnavailable, "database unavailable"},
	{store.ErrUncertain, "database lost"},
	{ca.ErrLocked, "locked"},
	{ca.ErrNoSigner, "no CA certificate"},
	{ca.ErrSignoff, "waiting for a sign-off"},
	{context.Canceled, "cancelled"},
	{context.DeadlineExceeded, "timeout"},
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	for _, r := range reasons {
		if errors.Is(err, r.sentinel) {
			return r.reason
		}
	}
	return "internal"
}
