package client_test

import (
	"context"
	"crypto/x509"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
)

func catchUp(t *testing.T, d *clienttest.Daemon, spans float64) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: d.URL, Authority: client.CAS, Clock: d.Clock, CatchUp: spans, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCatchUp(t *testing.T) {
	d, _ := start(t)
	all := []*x509.Certificate{d.CAS.Newest().Crt}
	for range 6 {
		d.Clock.Advance(2 * span)
		all = append(all, d.CAS.Rollover().Crt)
	}
	// Of seven generations, two spans apart and four spans long, the first four have
	// expired: the last of them 2 spans and the first 8 spans ago.
	d.Clock.Advance(span)
	late := func(i int, more time.Duration) { d.Clock.Set(all[i].NotAfter.Add(more)) }
	someone := d.CAU.Newest().Crt
	tests := []struct {
		name  string
		spans float64
		now   func()
		local []*x509.Certificate
		pins  []client.Pin
		want  []*x509.Certificate
		err   error
	}{
		{"just expired", 0.5, func() { late(3, time.Second) }, all[3:4], nil, all[4:], nil},
		{"the last second of the window", 0.5, func() { late(3, span/2) }, all[3:4], nil, all[4:], nil},
		{"the second after it", 0.5, func() { late(3, span/2+time.Second) }, all[3:4], nil, nil, client.ErrNoAnchor},
		{"several generations away", 7, func() { late(0, 7*span) }, all[:1], nil, all[4:], nil},
		{"several generations away, a second late", 7, func() { late(0, 7*span+time.Second) }, all[:1], nil, nil, client.ErrNoAnchor},
		{"the newest of several counts", 1, func() { late(3, span) }, all[:4], nil, all[4:], nil},
		{"not needed", 0.1, func() { late(3, span) }, all[3:5], nil, all[4:], nil},
		{"off", 0, func() { late(3, time.Second) }, all[3:4], nil, nil, client.ErrNoAnchor},
		{"another authority's", 100, func() { late(3, span) }, []*x509.Certificate{someone}, nil, nil, client.ErrNoAnchor},
		{"the daemon has nothing later", 100, func() { late(6, time.Second) }, all[6:], nil, nil, client.ErrNoAnchor},
		{"the daemon has nothing valid", 100, func() { late(6, time.Second) }, all[3:4], nil, nil, client.ErrChain},
		{"the clock is behind", 100, func() { d.Clock.Set(all[0].NotBefore.Add(-time.Hour)) }, all[:2], nil, nil, client.ErrNoAnchor},
		{"the clock is behind for one", 100, func() { d.Clock.Set(all[0].NotAfter.Add(time.Hour)) }, []*x509.Certificate{all[0], all[5]}, nil, nil, client.ErrNoAnchor},
		{"a pin comes first", 1, func() { late(3, span) }, all[3:4], []client.Pin{client.PinOf(all[5])}, all[5:], nil},
		{"the pin of the first contact", 1, func() { late(3, span) }, all[3:4], []client.Pin{client.PinOf(all[0])}, all[4:], nil},
		{"a pin of nothing", 1, func() { late(3, span) }, all[3:4], []client.Pin{{7}}, all[4:], nil},
		{"an expired pin is no anchor", 7, func() { late(3, span) }, nil, []client.Pin{client.PinOf(all[3])}, nil, client.ErrNoAnchor},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.now()
			trust, err := catchUp(t, d, tt.spans).UpdateTrust(context.Background(), tt.local, tt.pins)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if !same(trust.CAs, tt.want) || trust.FirstUse {
				t.Errorf("trust %s, want %s; first use %v", names(trust.CAs), names(tt.want), trust.FirstUse)
			}
		})
	}
	t.Run("says how long ago", func(t *testing.T) {
		late(3, 3*span/2+time.Hour)
		for _, spans := range []float64{0, 1} {
			if _, err := catchUp(t, d, spans).UpdateTrust(context.Background(), all[3:4], nil); err == nil || !strings.Contains(err.Error(), "about 1.6 spans ago") {
				t.Errorf("with %v: %v", spans, err)
			}
		}
	})
}

// Chains that a host must not follow from an anchor that has expired, even though it may
// catch up.
func TestCatchUpBadChain(t *testing.T) {
	d, _ := start(t)
	for range 3 {
		d.Clock.Advance(2 * span)
		d.CAS.Rollover()
	}
	a, g := d.CAS, d.CAS.Generations()
	rogue := a.NewCA("CAS")
	forged := a.Link(clienttest.CA{Crt: g[0].Crt, Key: rogue.Key}, rogue)
	d.Clock.Set(g[0].Crt.NotAfter.Add(span))
	c := catchUp(t, d, 2)
	early := a.NewCA("CAS", func(c *x509.Certificate) { c.NotBefore = g[0].Crt.NotBefore })
	tests := []struct {
		name  string
		chain []byte
		err   error
	}{
		{"forged", list(t, forged), client.ErrChain},
		{"forged later", list(t, a.Link(g[0], g[1]), a.Link(clienttest.CA{Crt: g[1].Crt, Key: rogue.Key}, rogue)), client.ErrChain},
		{"reordered", list(t, a.Link(g[0], g[1]), a.Link(g[2], g[3]), a.Link(g[1], g[2])), client.ErrChain},
		{"a gap", list(t, a.Link(g[0], g[1]), a.Link(g[2], g[3])), client.ErrChain},
		{"cut at its start", list(t, a.Link(g[1], g[2]), a.Link(g[2], g[3])), client.ErrNoAnchor},
		{"empty", list(t), client.ErrNoAnchor},
		{"rolled back to the anchor", list(t, a.Link(clienttest.CA{Crt: rogue.Crt, Key: rogue.Key}, g[0])), client.ErrNoAnchor},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			serve(d, "/cas/crt/ca.crt.json", tt.chain)
			trust, err := c.UpdateTrust(context.Background(), []*x509.Certificate{g[0].Crt}, nil)
			if !errors.Is(err, tt.err) || trust.CAs != nil {
				t.Errorf("error %v, want %v; trust %s", err, tt.err, names(trust.CAs))
			}
		})
	}
	t.Run("the end cut off", func(t *testing.T) {
		serve(d, "/cas/crt/ca.crt.json", list(t, a.Link(g[0], g[1])))
		d.Clock.Set(g[1].Crt.NotAfter.Add(time.Second))
		if _, err := catchUp(t, d, 10).UpdateTrust(context.Background(), []*x509.Certificate{g[0].Crt}, nil); !errors.Is(err, client.ErrChain) {
			t.Errorf("a chain that ends in the past: %v", err)
		}
	})
	t.Run("dates do not widen the window", func(t *testing.T) {
		// With the anchor's key, dates can be chosen: a span is a third of its life at most.
		serve(d, "/cas/crt/ca.crt.json", list(t, a.Link(g[0], early)))
		d.Clock.Set(g[0].Crt.NotAfter.Add(2*clienttest.CALife/3 + time.Minute))
		if _, err := c.UpdateTrust(context.Background(), []*x509.Certificate{g[0].Crt}, nil); !errors.Is(err, client.ErrNoAnchor) {
			t.Errorf("error %v", err)
		}
	})
}

func TestCatchUpOption(t *testing.T) {
	d, _ := start(t)
	for _, spans := range []float64{-1, math.NaN()} {
		if _, err := client.New(client.Options{URL: d.URL, Authority: client.CAS, Clock: d.Clock, CatchUp: spans}); err == nil {
			t.Errorf("%v was taken", spans)
		}
	}
}

func TestEstimateSpan(t *testing.T) {
	d, _ := start(t)
	at := d.Clock.Now()
	ca := func(from, life time.Duration) *x509.Certificate {
		return d.CAS.NewCA("CAS", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = at.Add(from), at.Add(from+life) }).Crt
	}
	tests := []struct {
		name string
		cas  []*x509.Certificate
		want time.Duration
	}{
		{"none", nil, 0},
		{"one", []*x509.Certificate{ca(0, 4*span)}, span},
		{"two, as made by the rule", []*x509.Certificate{ca(0, 4*span), ca(2*span, 4*span)}, span},
		{"of a longer life", []*x509.Certificate{ca(38*span, 40*span), ca(0, 40*span)}, span},
		{"of the shortest life", []*x509.Certificate{ca(0, 3*span), ca(span, 3*span)}, span},
		{"the last two count", []*x509.Certificate{ca(0, 4*span), ca(2*span, 2*span), ca(3*span, 2*span)}, span / 2},
		{"made late", []*x509.Certificate{ca(0, 4*span), ca(3*span, 4*span)}, span / 2},
		{"made after all was over", []*x509.Certificate{ca(0, 4*span), ca(5*span, 4*span)}, span},
		{"made too early", []*x509.Certificate{ca(0, 3*span), ca(time.Hour, 3*span)}, span},
		{"minutes", []*x509.Certificate{ca(0, 4*time.Minute), ca(2*time.Minute, 4*time.Minute)}, time.Minute},
	}
	for _, tt := range tests {
		if got := client.EstimateSpan(tt.cas); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
