package cluster

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// TestMillions measures what docs/scaling.md says about size, with as many certificates as
// CAUASE_MILLIONS says (3). It takes half an hour, and is for make soak.
func TestMillions(t *testing.T) {
	if os.Getenv("CAUASE_SOAK") == "" {
		t.Skip("a measurement for make soak")
	}
	millions := 3
	if text := os.Getenv("CAUASE_MILLIONS"); text != "" {
		if _, err := fmt.Sscan(text, &millions); err != nil {
			t.Fatal(err)
		}
	}
	c := pgtest.Start(t, pgtest.Options{Durable: true, Config: []string{"shared_buffers = 1GB", "max_wal_size = 8GB", "checkpoint_timeout = 15min"}})
	dsn := c.NewDatabase(t)
	database := databaseOf(t, dsn)
	s := newSite(t, dsn, 3, "--service-max-csr", "100000", "--service-auto-approve-count", "1000000", "--log-level", "warn")
	user, _ := becomeUser(t, s.daemons[0])

	s.measureRenewals(t, "empty")
	began := time.Now()
	const batch = 100_000
	for from := 0; from < millions*1_000_000; from += batch {
		c.ExecIn(t, database, fmt.Sprintf(fillCertificates, from+1, from+batch))
	}
	c.ExecIn(t, database, "VACUUM (ANALYZE) certificate")
	t.Logf("%d million certificates were made in %v", millions, time.Since(began).Round(time.Second))
	sizes(t, c, database, "certificate")
	s.measureRenewals(t, fmt.Sprintf("%d million certificates", millions))

	lookups := 0
	began = time.Now()
	for ; time.Since(began) < 5*time.Second; lookups++ {
		id := 1 + (lookups*7919)%(millions*1_000_000)
		user.must(http.StatusOK, "GET", s.daemons[0].http()+fmt.Sprintf("/cas/crt/%d", id), "", nil)
	}
	t.Logf("one client looks up %.0f certificates a second", float64(lookups)/time.Since(began).Seconds())

	c.ExecIn(t, database, "INSERT INTO audit_log (time, authority, actor, address, action, object, result, detail, request_id) "+
		"SELECT 1e15 + i, 'cas', 'holder 123456789012345678901234567890 '||substr(md5(i::text),1,20), '192.0.2.7', 'crt.renew', "+
		"'crt '||(i*9223372036)::text||' serial=123456789012345678901234567890123456789012345678', 'ok', 'CN=host'||i, substr(md5(i::text),1,16) "+
		"FROM generate_series(1, 1000000) i")
	sizes(t, c, database, "audit_log")
	c.ExecIn(t, database, fillRevocations)
	sizes(t, c, database, "revocation")
	for i := range 3 {
		began = time.Now()
		list := user.must(http.StatusOK, "GET", s.daemons[1].http()+"/cas/crl", "", nil).body
		t.Logf("list %d of a million entries: %v, %d MB", i, time.Since(began).Round(time.Millisecond), len(list)>>20)
		user.must(http.StatusNoContent, "PUT", s.daemons[0].https()+"/cas/crt/revoke", "application/json",
			fmt.Appendf(nil, `{"payload": "{\"revoke_serial\": %d}", "digest": null}`, 4711+i))
	}
	s.measureRenewals(t, "and a million revocations")

	measurePruning(t, dsn)
}

// measurePruning forgets a hundred thousand certificates as daemons do, at a time when all that were
// made for this test have expired.
func measurePruning(t *testing.T, dsn string) {
	t.Helper()
	const batch, count = 500, 100_000
	then := time.Now().Add(94 * 24 * time.Hour)
	st, err := sqlstore.Open(t.Context(), dsn, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var slowest time.Duration
	gone, began := 0, time.Now()
	for gone < count {
		begun := time.Now()
		err := st.Update(t.Context(), func(tx store.Tx) error {
			n, err := tx.PruneCertificates(t.Context(), store.Services, then, batch)
			if n == 0 {
				return errors.Join(err, errors.New("nothing is left"))
			}
			gone += n
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(begun))
	}
	t.Logf("pruning: %d certificates, %.0f a second, the slowest 500 took %v", gone, float64(gone)/time.Since(began).Seconds(), slowest.Round(time.Millisecond))
}

// What a host has: a request and a certificate with a P-256 key.
const fillCertificates = `
	INSERT INTO certificate (authority, id, serial, ca_id, subject, sans, not_before, not_after, key_id, issued_at, issued_by, method, csr, csr_digest, der)
	SELECT 'cas', i, substr(h, 1, 20), (SELECT min(id) FROM ca_certificate WHERE authority = 'cas'), 'CN=host' || i, '["DNS:host' || i || '.example.org"]',
		extract(epoch FROM now())::bigint * 1000000 - i, extract(epoch FROM now())::bigint * 1000000 + 93 * 86400000000::bigint + i,
		substr(sha256(h), 1, 20), extract(epoch FROM now())::bigint * 1000000 - i, 'holder 123456789012345678901234567890123456789012345678 192.0.2.7', 'renewed',
		h || h || h || h || h || h || h || h || h || h || h || h || h || h, sha256(h || h), h || h || h || h || h || h || h || h || h || h || h || h || h || h || h || h || h || h || h || h
	FROM (SELECT i, sha256(i::text::bytea) AS h FROM generate_series(%d, %d) AS i) AS made`

const fillRevocations = `
	INSERT INTO revocation (authority, seq, serial, key_id, revoked_at, keep_until, reason)
	SELECT 'cas', i + 1000, substr(sha256(('revoked' || i)::bytea), 1, 19), substr(sha256(i::text::bytea), 1, 20), extract(epoch FROM now())::bigint * 1000000,
		extract(epoch FROM now())::bigint * 1000000 + 93 * 86400000000::bigint, 0
	FROM generate_series(1, 1000000) AS i;
	UPDATE revocation_seq SET last = 2000000 WHERE authority = 'cas';
	INSERT INTO revocation_seq (authority, last) VALUES ('cas', 2000000) ON CONFLICT DO NOTHING;
	UPDATE counter SET value = value + 1 WHERE authority = 'cas' AND name = 'crl_number'`

// sizes says how much a table takes.
func sizes(t *testing.T, c *pgtest.Cluster, database, table string) {
	t.Helper()
	t.Logf("%s: %s", table, c.Query(t, database, fmt.Sprintf(
		`SELECT count(*) || ' rows, ' || pg_table_size('%[1]s') / count(*) || ' bytes each and ' || pg_indexes_size('%[1]s') / count(*) || ' of indices, '
			|| pg_size_pretty(pg_total_relation_size('%[1]s')) FROM %[1]s`, table)))
}

// measureRenewals has hosts renew as fast as they can, at one daemon and at all.
func (s *site) measureRenewals(t *testing.T, when string) {
	t.Helper()
	for _, daemons := range []int{1, len(s.daemons)} {
		const hosts = 64
		var running sync.WaitGroup
		counts := make([]int, hosts)
		end := time.Now().Add(10 * time.Second)
		begun := time.Now()
		for i := range hosts {
			running.Go(func() { counts[i] = s.renewUntil(t, s.daemons[i%daemons], fmt.Sprint("renews", i, when), end) })
		}
		running.Wait()
		total := 0
		for _, n := range counts {
			total += n
		}
		t.Logf("%s: %d hosts renew %.0f certificates a second at %d daemon(s)", when, hosts, float64(total)/time.Since(begun).Seconds(), daemons)
	}
}

func (s *site) renewUntil(t *testing.T, d *daemon, name string, end time.Time) int {
	c := newClient(t, nil)
	key := newKey(t)
	a, err := c.do("PUT", d.http()+"/cas/csr", "", newCSR(t, key, strings.ReplaceAll(name, " ", "-")))
	if err != nil || a.status != http.StatusCreated {
		t.Errorf("submit: %d %s %v", a.status, a.body, err)
		return 0
	}
	if a, err = c.do("GET", d.http()+"/cas/crt/"+a.header.Get("Location"), "", nil); err != nil || a.status != http.StatusOK {
		t.Errorf("fetch: %d %s %v", a.status, a.body, err)
		return 0
	}
	var crt *x509.Certificate
	count := 0
	for crt = parse(t, a.body); time.Now().Before(end); count++ {
		var next crypto.Signer = newKey(t)
		a, err := c.do("PUT", d.http()+"/cas/crt/renew", "application/json", renewal(t, crt, key, newCSR(t, next, "x")))
		if err != nil || a.status != http.StatusOK {
			t.Errorf("renew: %d %s %v", a.status, a.body, err)
			return count
		}
		crt, key = parse(t, a.body), next
	}
	return count
}
