package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// lines counts what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// TestManyComeBack: many hosts exchange their certificates at the same moment as the CA is withdrawn. Each gets one that counts, in its lineage, and
// the log does not grow with them.
func TestManyComeBack(t *testing.T) {
	const hosts, atOnce = 300, 16
	w := newWorld(t)
	log := &lines{}
	cfg := config(store.Services)
	cfg.row.MaxPending, cfg.row.AutoApprove = hosts, hosts
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	a := w.open(cfg)
	type host struct {
		crt *x509.Certificate
		key crypto.Signer
	}
	all := make([]host, hosts)
	for i := range all {
		key := newKey(t)
		done, err := a.Submit(w.ctx, anonymous, w.request(key, "host"), Asked{})
		if err != nil || done.Issued == nil {
			t.Fatalf("%v", err)
		}
		all[i] = host{done.Issued.Certificate, key}
	}
	before := strings.Count(log.text.String(), "\n")
	w.clock.Advance(time.Hour)
	var id []byte
	var rotated sync.WaitGroup
	rotated.Go(func() { id = w.rotate(a, stolen) })
	work := make(chan host)
	made := make(chan *x509.Certificate, hosts)
	var working sync.WaitGroup
	for range atOnce {
		working.Go(func() {
			for one := range work {
				h, err := w.holderOf(a, one.crt, one.key)
				if err == nil {
					var issued Issued
					if issued, err = a.Renew(w.ctx, h, w.request(newKey(t), "host")); err == nil {
						made <- issued.Certificate
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	rotated.Wait()
	for _, one := range all {
		work <- one
	}
	close(work)
	working.Wait()
	close(made)
	n := 0
	for crt := range made {
		if n++; !bytes.Equal(crt.AuthorityKeyId, id) {
			t.Error("by the CA that was withdrawn")
		}
	}
	if n != hosts {
		t.Errorf("%d of %d", n, hosts)
	}
	if forked := w.lineage(a, all[0].crt).Forks; forked != 0 {
		t.Errorf("%d forks", forked)
	}
	if grown := strings.Count(log.text.String(), "\n") - before; grown > 20 {
		t.Errorf("%d lines in the log", grown)
	}
}

// TestClockJumpsWhileWaiting: the clock is set back, and far ahead, while a CA certificate waits for hosts to have it. Set back it changes nothing, and
// ahead it is time; nothing is withdrawn twice, and no other CA certificate is made.
func TestClockJumpsWhileWaiting(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	w.enrol(a, "silent")
	w.clock.Advance(time.Hour)
	id := w.rotate(a, Rotation{Begin: store.WhenAdopted, Compromised: true, Latest: 2 * day})
	made := w.clock.Now()
	rows := func() (n int) {
		w.eachCA(store.Services, func(store.CA) { n++ })
		return n
	}
	for name, at := range map[string]time.Time{"a moment back": made.Add(-30 * time.Second), "an hour back": made.Add(-time.Hour + time.Second), "as before": made} {
		w.clock.Set(at)
		w.maintain(a)
		if got := w.phases(a); got[0] != rollover.Active || rows() != 2 {
			t.Errorf("%s: %v, %d on record", name, got, rows())
		}
		if issued := w.issue(a, "host"); bytes.Equal(issued.Certificate.AuthorityKeyId, id) {
			t.Errorf("%s: signed by the one that waits", name)
		}
	}
	for _, at := range []time.Time{made.Add(3 * day), made.Add(time.Minute), made.Add(3 * day)} {
		w.clock.Set(at)
		w.maintain(a)
		if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active}) || rows() != 2 {
			t.Errorf("at %v: %v, %d on record", at, got, rows())
		}
		if issued := w.issue(a, "host"); !bytes.Equal(issued.Certificate.AuthorityKeyId, id) {
			t.Errorf("at %v: signed by the one that was withdrawn", at)
		}
	}
}
