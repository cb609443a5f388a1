package cluster

import (
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/pgtest"
)

// manyRequests lets loads be limited by nothing but the machine.
var manyRequests = []string{"--service-max-csr", "100000"}

// TestFailover kills the primary under load and promotes its standby: everything that was
// acknowledged is there, and nothing twice.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	dsn := primary.NewDatabase(t)
	standby := primary.Standby(t)
	s := newSite(t, bothHosts(t, dsn, standby), 3, manyRequests...)
	user, _ := becomeUser(t, s.daemons[0])
	l := startLoad(t, s, user, 6)
	l.until(200 * int64(soak()))

	begun := time.Now()
	primary.Kill(t)
	for _, d := range s.daemons {
		d.awaitReady(http.StatusServiceUnavailable)
	}
	t.Logf("not ready after %v", time.Since(begun).Round(time.Millisecond))
	promoted := time.Now()
	standby.Promote(t)
	for _, d := range s.daemons {
		d.awaitReady(http.StatusOK)
	}
	t.Logf("ready again %v after the promotion began", time.Since(promoted).Round(time.Millisecond))
	l.until(200 * int64(soak()))
	l.stop()
	l.verify(standby, databaseOf(t, dsn))
	if l.away.Load() == 0 {
		t.Error("nobody has noticed")
	}
}

// bothHosts is the address of a database that is on two servers.
func bothHosts(t *testing.T, dsn string, standby *pgtest.Cluster) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	u.Host += "," + standby.Address()
	return u.String()
}

// TestDatabaseAway stops the database under load, in the ways in which that happens, and starts it
// again: meanwhile daemons say so, serve what they have, and recover by themselves.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	dsn := c.NewDatabase(t)
	s := newSite(t, dsn, 3, manyRequests...)
	user, userCrt := becomeUser(t, s.daemons[0])
	l := startLoad(t, s, user, 4)
	for _, way := range []struct {
		name string
		stop func(testing.TB)
	}{{"stopped", c.Stop}, {"killed", c.Kill}} {
		l.until(100 * int64(soak()))
		way.stop(t)
		for _, d := range s.daemons {
			d.awaitReady(http.StatusServiceUnavailable)
		}
		s.checkAway(t, user)
		c.Restart(t)
		for _, d := range s.daemons {
			d.awaitReady(http.StatusOK)
		}
	}
	l.until(100 * int64(soak()))
	l.stop()
	l.verify(c, databaseOf(t, dsn))
	user.must(http.StatusNoContent, "PUT", s.daemons[1].https()+"/cau/crt/revoke", "application/json", revokeSerial(userCrt.SerialNumber))
	wantStatuses(t, "the revoked user", s.statuses(user, "GET", "/cas/csr", "", nil), map[int]int{401: 3})

	// Without its database a daemon ends as soon as with it, and does not start.
	c.Kill(t)
	begun := time.Now()
	d := s.daemons[2]
	d.stop(syscall.SIGTERM)
	if took := time.Since(begun); took > hung {
		t.Errorf("a daemon has ended after %v", took)
	}
	d.start()
	if err := <-d.exited; err == nil || !strings.Contains(d.log.String(), "cauased: error: --db: ") {
		t.Errorf("it starts without its database: %v\n%s", err, d.log)
	}
	d.exited = nil
}

// checkAway asks every daemon for everything while the database is away.
func (s *site) checkAway(t *testing.T, user *client) {
	for _, tt := range []struct {
		method, path, contentType string
		body                      []byte
		want                      int
	}{
		{"GET", "/cas/crl", "", nil, 200},
		{"GET", "/cau/crl", "", nil, 200},
		{"GET", "/cas/crt/ca.crt.pem", "", nil, 200},
		{"GET", "/cas/crt/ca.crt.json", "", nil, 200},
		{"GET", "/", "", nil, 200},
		{"GET", "/healthz", "", nil, 200},
		{"GET", "/readyz", "", nil, 503},
		{"GET", "/cas/csr", "", nil, 503}, // not 401: nobody knows
		{"GET", "/cas/csr/7", "", nil, 503},
		{"GET", "/cas/crt/7", "", nil, 503},
		{"PUT", "/cas/csr", "application/pkcs10", newCSR(t, newKey(t), "away"), 503},
		{"PUT", "/cas/crt/7", "", nil, 503},
		{"DELETE", "/cas/csr/7", "", nil, 503},
		{"PUT", "/cas/crt/revoke", "application/json", []byte(`{"payload": "{\"revoke_serial\": 7}", "digest": null}`), 503},
	} {
		for _, d := range s.daemons {
			begun := time.Now()
			a, err := user.do(tt.method, d.https()+tt.path, tt.contentType, tt.body)
			if err != nil {
				t.Errorf("%s %s: %v", tt.method, tt.path, err)
				continue
			}
			if a.status != tt.want || a.status == 503 && a.header.Get("Retry-After") == "" {
				t.Errorf("%s %s: %d %v %s, want %d", tt.method, tt.path, a.status, a.header, a.body, tt.want)
			}
			if took := time.Since(begun); took > hung {
				t.Errorf("%s %s: took %v", tt.method, tt.path, took)
			}
		}
	}
}
