package cluster

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
)

// A load is workers that submit, sign, renew and revoke, at any of the daemons, and remember what
// was acknowledged.
type load struct {
	t      testing.TB
	site   *site
	user   *client
	end    context.CancelFunc
	wait   func()
	pace   time.Duration // how long a worker rests between two hosts
	spared int           // of so many hosts all but one are not revoked, if given
	stored atomic.Int64  // acknowledged operations
	away   atomic.Int64  // answers that the database is away
	silent atomic.Int64  // requests without an answer

	mu        sync.Mutex
	submitted []string // ids
	signed    []string // ids
	renewed   []string // serials of successors, hex
	revoked   []string // serials, hex
	slowest   time.Duration
	lists     int
	listsGone int
}

// startLoad lets so many workers loose until stop.
func startLoad(t testing.TB, s *site, user *client, workers int) *load {
	return startGentleLoad(t, s, user, workers, 0, 0)
}

// startGentleLoad does so with workers that rest, and revoke only one of so many certificates.
func startGentleLoad(t testing.TB, s *site, user *client, workers int, pace time.Duration, spared int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, site: s, user: user, end: cancel, pace: pace, spared: spared}
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() { l.work(ctx, i) })
	}
	running.Go(func() { l.fetch(ctx) })
	l.wait = running.Wait
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() { l.end(); l.wait() }

// until waits until so many more operations have been acknowledged.
func (l *load) until(more int64) {
	l.t.Helper()
	goal := l.stored.Load() + more
	until(l.t, fmt.Sprintf("%d more operations", more), func() error {
		if n := l.stored.Load(); n < goal {
			return fmt.Errorf("%d are missing", goal-n)
		}
		return nil
	})
}

// try asks daemons, again and again, until one answers for good. An answer that the database is away must
// say when to come back.
func (l *load) try(ctx context.Context, method, path, contentType string, body []byte) (answer, bool) {
	for {
		d := l.site.daemons[rand.IntN(len(l.site.daemons))]
		begun := time.Now()
		a, err := l.user.do(method, d.https()+path, contentType, body)
		l.note(time.Since(begun))
		switch {
		case err != nil:
			l.silent.Add(1)
		case a.status != http.StatusServiceUnavailable:
			return a, true
		default:
			l.away.Add(1)
			if a.header.Get("Retry-After") == "" {
				l.t.Errorf("%s %s: 503 without Retry-After", method, path)
			}
		}
		select {
		case <-ctx.Done():
			return answer{}, false
		case <-time.After(100 * time.Millisecond): // as a client does that is told to come back
		}
	}
}

func (l *load) note(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
}

func (l *load) acknowledged(list *[]string, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = append(*list, what)
	l.stored.Add(1)
}

// work does one host's life after the other.
func (l *load) work(ctx context.Context, worker int) {
	for n := 0; ctx.Err() == nil; n++ {
		l.host(ctx, fmt.Sprintf("host-%d-%d", worker, n), l.spared == 0 || n%l.spared == 0)
		if l.pace > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(l.pace):
			}
		}
	}
}

func (l *load) host(ctx context.Context, name string, revoked bool) {
	key := newKey(l.t)
	a, ok := l.try(ctx, "PUT", "/cas/csr", "application/pkcs10", newCSR(l.t, key, name))
	if !ok || !l.expect(a, "submit", http.StatusCreated) {
		return
	}
	id := a.header.Get("Location")
	l.acknowledged(&l.submitted, id)
	a, ok = l.try(ctx, "PUT", "/cas/crt/"+id, "", nil)
	switch {
	case !ok:
		return
	case a.status == http.StatusNoContent:
		l.acknowledged(&l.signed, id)
	case !l.expect(a, "sign", http.StatusNotFound): // it was signed when an answer was lost
		return
	}
	a, ok = l.try(ctx, "GET", "/cas/crt/"+id, "", nil)
	if !ok || !l.expect(a, "fetch", http.StatusOK) {
		return
	}
	crt := l.parse(a.body)
	if crt == nil {
		return
	}
	next := newKey(l.t)
	a, ok = l.try(ctx, "PUT", "/cas/crt/renew", "application/json", renewal(l.t, crt, key, newCSR(l.t, next, name)))
	if !ok || !l.expect(a, "renew", http.StatusOK) {
		return
	}
	successor := l.parse(a.body)
	if successor == nil {
		return
	}
	l.acknowledged(&l.renewed, serialHex(successor))
	if revoked {
		l.revoke(ctx, crt, key)
	}
}

func (l *load) revoke(ctx context.Context, crt *x509.Certificate, key crypto.Signer) {
	a, ok := l.try(ctx, "PUT", "/cas/crt/revoke", "application/json", revocation(l.t, crt, key))
	switch {
	case !ok:
	case a.status == http.StatusNoContent:
		l.acknowledged(&l.revoked, serialHex(crt))
	default:
		l.expect(a, "revoke", http.StatusConflict) // it was revoked when an answer was lost
	}
}

func (l *load) parse(data []byte) *x509.Certificate {
	crt, err := pki.ParseCertificatePEM(data)
	if err != nil {
		l.t.Error(err)
	}
	return crt
}

func (l *load) expect(a answer, what string, status int) bool {
	if a.status != status {
		l.t.Errorf("%s: %d %s", what, a.status, a.body)
	}
	return a.status == status
}

// fetch asks for lists all the time: they are there whether the database is or not, and their
// numbers never go back.
func (l *load) fetch(ctx context.Context) {
	c := newClient(l.t, nil)
	newest := make([]int64, len(l.site.daemons))
	for ctx.Err() == nil {
		for i, d := range l.site.daemons {
			_, list, err := c.crl(d, "cas")
			l.mu.Lock()
			l.lists++
			if err != nil {
				l.listsGone++
				l.t.Logf("list of daemon %d: %v", i, err)
			} else if n := list.Number.Int64(); n < newest[i] {
				l.t.Errorf("daemon %d serves list %d after %d", i, n, newest[i])
			} else {
				newest[i] = n
			}
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func serialHex(crt *x509.Certificate) string { return hex.EncodeToString(crt.SerialNumber.Bytes()) }

// verify looks into a database for everything that was acknowledged.
func (l *load) verify(c *pgtest.Cluster, database string) {
	l.t.Helper()
	l.verifyBy(func(sql string) map[string]int {
		found := map[string]int{}
		for _, one := range strings.Fields(c.Query(l.t, database, "SELECT string_agg(x::text, ' ') FROM ("+sql+") AS found(x)")) {
			found[one]++
		}
		return found
	}, "encode(serial, 'hex')")
}

// verifyBy does so with a function that returns what a query finds, and the expression for serial numbers.
func (l *load) verifyBy(set func(sql string) map[string]int, serial string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	certificates := set("SELECT CAST(id AS text) FROM certificate WHERE authority = 'cas'")
	requests := set("SELECT CAST(id AS text) FROM request WHERE authority = 'cas'")
	serials := set("SELECT " + serial + " FROM certificate WHERE authority = 'cas'")
	revoked := set("SELECT " + serial + " FROM revocation WHERE authority = 'cas'")
	missing := func(what string, list []string, in ...map[string]int) {
		lost := 0
		for _, one := range list {
			n := 0
			for _, m := range in {
				n += m[one]
			}
			if n != 1 {
				lost++
			}
		}
		l.t.Logf("%s: %d acknowledged, %d of them not there or there twice", what, len(list), lost)
		if lost > 0 {
			l.t.Errorf("%s: %d are not there exactly once", what, lost)
		}
	}
	missing("submit", l.submitted, certificates, requests)
	missing("sign", l.signed, certificates)
	missing("renew", l.renewed, serials)
	missing("revoke", l.revoked, revoked)
	for what, sql := range map[string]string{
		"certificates for one request":      "SELECT csr_digest FROM certificate WHERE authority = 'cas' GROUP BY 1 HAVING count(*) > 1",
		"successors of one certificate":     "SELECT renews FROM certificate WHERE renews IS NOT NULL GROUP BY 1 HAVING count(*) > 1",
		"requests that wait and are signed": "SELECT id FROM request JOIN certificate USING (authority, id)",
	} {
		if got := set("SELECT count(*) FROM (" + sql + ") x"); got["0"] != 1 {
			l.t.Errorf("%v %s", got, what)
		}
	}
	l.t.Logf("%d answers that the database is away, %d requests without an answer, the slowest took %v; %d of %d lists were not there",
		l.away.Load(), l.silent.Load(), l.slowest.Round(time.Millisecond), l.listsGone, l.lists)
	if l.listsGone > 0 {
		l.t.Error("lists were not served")
	}
}
