package cluster

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"cauase/pkg/pki"
)

// each calls f for every daemon at once.
func (s *site) each(f func(i int, d *daemon)) {
	var running sync.WaitGroup
	for i, d := range s.daemons {
		running.Go(func() { f(i, d) })
	}
	running.Wait()
}

// statuses sends one request to every daemon at once and counts the answers by status.
func (s *site) statuses(c *client, method, path, contentType string, body []byte) map[int]int {
	s.t.Helper()
	var mu sync.Mutex
	count := map[int]int{}
	s.each(func(_ int, d *daemon) {
		a, err := c.do(method, d.https()+path, contentType, body)
		if err != nil {
			s.t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		count[a.status]++
	})
	return count
}

func wantStatuses(t *testing.T, what string, got map[int]int, want map[int]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: answers %v, want %v", what, got, want)
	}
}

// TestTenDaemons: whatever ten daemons are asked at once has the outcome that it has with one. They
// start at once, too, on an empty database.
func TestTenDaemons(t *testing.T) {
	c := postgres(t)
	dsn := c.NewDatabase(t)
	ask := func(sql string) string { return c.Query(t, databaseOf(t, dsn), sql) }
	s := newSite(t, dsn, 10, "--user-auto-approve-count", "3", "--service-max-csr", "5", "--lock-auto-approve-count")

	t.Run("one CA for each authority", func(t *testing.T) {
		if got := ask("SELECT string_agg(authority || ' ' || n, ', ' ORDER BY authority) FROM (SELECT authority, count(*) n FROM ca_certificate GROUP BY 1) x"); got != "cas 1, cau 1, https 1" {
			t.Errorf("CA certificates: %s", got)
		}
	})
	t.Run("one HTTPS CA, a key each", func(t *testing.T) { s.checkIdentities(t) })

	user, userCrt := becomeUser(t, s.daemons[0])
	t.Run("exactly N approvals", func(t *testing.T) {
		anonymous := newClient(t, nil)
		var mu sync.Mutex
		approved := 0
		s.each(func(i int, d *daemon) {
			csr := newCSR(t, newKey(t), fmt.Sprint("user", i))
			id := anonymous.must(http.StatusCreated, "PUT", d.http()+"/cau/csr", "", csr).header.Get("Location")
			a, err := anonymous.do("GET", d.http()+"/cau/crt/"+id, "", nil)
			if err == nil && a.status == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				approved++
			}
		})
		if approved != 2 { // and one before
			t.Errorf("%d approvals, want 2", approved)
		}
	})
	var id string
	t.Run("one id for one request", func(t *testing.T) {
		csr := newCSR(t, newKey(t), "host")
		ids := make([]string, len(s.daemons))
		s.each(func(i int, d *daemon) {
			ids[i] = user.must(http.StatusCreated, "PUT", d.http()+"/cas/csr", "", csr).header.Get("Location")
		})
		for _, one := range ids {
			if id = ids[0]; one != id {
				t.Fatalf("ids %v", ids)
			}
		}
	})
	t.Run("one signature for one request", func(t *testing.T) {
		wantStatuses(t, "sign", s.statuses(user, "PUT", "/cas/crt/"+id, "", nil), map[int]int{204: 1, 404: 9})
		if got := ask("SELECT count(*) FROM certificate WHERE id = " + id); got != "1" {
			t.Errorf("%s certificates", got)
		}
	})
	t.Run("no more than so many wait", func(t *testing.T) {
		var mu sync.Mutex
		count := map[int]int{}
		s.each(func(i int, d *daemon) {
			a, err := user.do("PUT", d.http()+"/cas/csr", "", newCSR(t, newKey(t), fmt.Sprint("waits", i)))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			count[a.status]++
		})
		wantStatuses(t, "submit", count, map[int]int{201: 5, 507: 5})
	})
	t.Run("one revocation of one serial", func(t *testing.T) {
		crt := parse(t, user.must(http.StatusOK, "GET", s.daemons[3].http()+"/cas/crt/"+id, "", nil).body)
		wantStatuses(t, "revoke", s.statuses(user, "PUT", "/cas/crt/revoke", "application/json", revokeSerial(crt.SerialNumber)),
			map[int]int{204: 1, 409: 9})
	})
	t.Run("one list for one number", func(t *testing.T) { s.checkLists(t, user) })
	t.Run("lists without being asked", func(t *testing.T) {
		user.must(http.StatusNoContent, "PUT", s.daemons[4].https()+"/cas/crt/revoke", "application/json", []byte(`{"payload": "{\"revoke_serial\": 4711}", "digest": null}`))
		until(t, "a list with the last number is stored", func() error {
			if got := ask("SELECT (SELECT value FROM counter WHERE authority = 'cas' AND name = 'crl_number') - max(number) FROM crl WHERE authority = 'cas'"); got != "0" {
				return fmt.Errorf("the newest list is %s behind", got)
			}
			return nil
		})
	})
	t.Run("consent counts everywhere", func(t *testing.T) { s.checkConsent(t, user) })
	t.Run("idle daemons leave the database alone", func(t *testing.T) {
		count := func() int {
			n, err := strconv.Atoi(ask("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		ask("SELECT pg_stat_clear_snapshot()")
		before, begun := count(), time.Now()
		<-time.After(3 * time.Second) // a rate takes time to measure
		rate := float64(count()-before) / time.Since(begun).Seconds()
		t.Logf("ten idle daemons make %.0f transactions a second", rate)
		if rate > 100 {
			t.Error("that is too many")
		}
	})
	t.Run("a revoked user is out everywhere at once", func(t *testing.T) {
		wantStatuses(t, "before", s.statuses(user, "GET", "/cas/csr", "", nil), map[int]int{200: 10})
		user.must(http.StatusNoContent, "PUT", s.daemons[7].https()+"/cau/crt/revoke", "application/json", revokeSerial(userCrt.SerialNumber))
		wantStatuses(t, "after", s.statuses(user, "GET", "/cas/csr", "", nil), map[int]int{401: 10})
	})
}

// checkIdentities looks at what the daemons show: certificates of one CA for keys of their own.
func (s *site) checkIdentities(t *testing.T) {
	keys := map[string]bool{}
	roots := x509.NewCertPool()
	var issuer []byte
	for _, d := range s.daemons {
		chain := d.certificate().PeerCertificates
		if len(chain) != 2 {
			t.Fatalf("%d certificates are shown", len(chain))
		}
		if issuer == nil {
			issuer = chain[1].Raw
			roots.AddCert(chain[1])
		}
		keys[string(chain[0].RawSubjectPublicKeyInfo)] = true
		if !bytes.Equal(issuer, chain[1].Raw) {
			t.Error("the HTTPS CAs differ")
		}
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"}); err != nil {
			t.Error(err)
		}
	}
	if len(keys) != len(s.daemons) {
		t.Errorf("%d keys of %d daemons", len(keys), len(s.daemons))
	}
}

// checkLists revokes one serial after the other, each at another daemon, and asks all for their
// lists right after: all have it, with a new number, in the same bytes.
func (s *site) checkLists(t *testing.T, user *client) {
	var last *x509.RevocationList
	for i, d := range s.daemons {
		serial := fmt.Sprint(1000 + i)
		user.must(http.StatusNoContent, "PUT", d.https()+"/cas/crt/revoke", "application/json", []byte(`{"payload": "{\"revoke_serial\": `+serial+`}", "digest": null}`))
		lists := make([][]byte, len(s.daemons))
		s.each(func(i int, d *daemon) {
			lists[i] = user.must(http.StatusOK, "GET", d.http()+"/cas/crl", "", nil).body
		})
		crl, err := pki.ParseCRLPEM(lists[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range lists {
			if !bytes.Equal(list, lists[0]) {
				t.Fatal("the daemons serve different lists")
			}
		}
		found := false
		for _, e := range crl.RevokedCertificateEntries {
			found = found || e.SerialNumber.String() == serial
		}
		if !found {
			t.Errorf("serial %s is not in the list", serial)
		}
		if last != nil && crl.Number.Cmp(last.Number) <= 0 {
			t.Errorf("number %v after %v", crl.Number, last.Number)
		}
		last = crl
	}
}

// checkConsent lets a user consent to an origin at one daemon and use it at the others.
func (s *site) checkConsent(t *testing.T, user *client) {
	const origin = "https://console.example"
	form := []byte("origin=https%3A%2F%2Fconsole.example&return_to=https%3A%2F%2Fconsole.example%2F&grant=1")
	cookie := user.must(http.StatusFound, "POST", s.daemons[0].https()+"/cors", "application/x-www-form-urlencoded", form).header.Get("Set-Cookie")
	for _, d := range s.daemons {
		req, err := http.NewRequestWithContext(t.Context(), "GET", d.https()+"/cas/csr", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Cookie", cookie)
		resp, err := user.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("the daemon on port %d does not know of the consent: %s", d.port, resp.Status)
		}
	}
}
