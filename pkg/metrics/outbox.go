package metrics

import "github.com/prometheus/client_golang/prometheus"

var (
	outboxPending = prometheus.NewDesc("cauase_outbox_pending",
		"Events that a recipient has yet to be told of, when they were last counted.", []string{"recipient"}, nil)
	outboxLost = prometheus.NewDesc("cauase_outbox_lost_total",
		"Events that a recipient was not told of: it was away for too long, or too many were waiting.", nil, nil)
)

// Delivered counts an attempt to tell a recipient of an event.
func (m *Metrics) Delivered(recipient string, ok bool) {
	outcome := "delivered"
	if !ok {
		outcome = "failed"
	}
	m.deliveries.WithLabelValues(recipient, outcome).Inc()
}

// Outbox asks, at each scrape, how many events wait for each recipient, and how many were lost.
func (m *Metrics) Outbox(pending func() map[string]int, lost func() int64) {
	m.registry.MustRegister(&outboxCollector{pending, lost})
}

type outboxCollector struct {
	pending func() map[string]int
	lost    func() int64
}

func (c *outboxCollector) Describe(out chan<- *prometheus.Desc) {
	out <- outboxPending
	out <- outboxLost
}

func (c *outboxCollector) Collect(out chan<- prometheus.Metric) {
	for recipient, n := range c.pending() {
		out <- prometheus.MustNewConstMetric(outboxPending, prometheus.GaugeValue, float64(n), recipient)
	}
	out <- prometheus.MustNewConstMetric(outboxLost, prometheus.CounterValue, float64(c.lost()))
}
