package cluster

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// TestOneRollover lets the time of several CA certificates pass, in spans of seconds: whenever one is
// due, one of the daemons makes it, and all soon have it without being asked for anything.
func TestOneRollover(t *testing.T) {
	t.Parallel()
	const span = 6 * time.Second
	c := postgres(t)
	dsn := c.NewDatabase(t)
	days := fmt.Sprint(span.Hours() / 24)
	s := newSite(t, dsn, 6, "--service-crt-validity", days, "--user-crt-validity", days, "--user-max-csr", "1000")
	database := databaseOf(t, dsn)
	until(t, "the third CA certificate of each authority is made", func() error {
		if n := c.Query(t, database, "SELECT count(*) FROM ca_certificate WHERE authority IN ('cau', 'cas')"); n < "6" || len(n) > 1 {
			return fmt.Errorf("%s of 6", n)
		}
		return nil
	})
	// A successor is due when two spans are left of four.
	closest := c.Query(t, database, `SELECT min(gap) FROM (SELECT created_at - lag(created_at) OVER (PARTITION BY authority ORDER BY id) AS gap
		FROM ca_certificate WHERE authority IN ('cau', 'cas')) x`)
	micros, err := strconv.ParseInt(closest, 10, 64)
	if gap := time.Duration(micros) * time.Microsecond; err != nil || gap < 2*span-time.Second {
		t.Errorf("two CA certificates were made within %v, %v", gap, err)
	}
	client := newClient(t, nil)
	for _, path := range []string{"/cau/crt/ca.crt.json", "/cas/crt/ca.crt.json"} {
		until(t, "all serve one chain", func() error {
			var first []byte
			for _, d := range s.daemons {
				chain := client.must(http.StatusOK, "GET", d.http()+path, "", nil).body
				if first == nil {
					first = chain
				}
				if !bytes.Equal(chain, first) {
					return fmt.Errorf("%s differs", path)
				}
			}
			return nil
		})
	}
	if got := c.Query(t, database, "SELECT count(*) FROM ca_certificate WHERE authority = 'https'"); got != "1" {
		t.Errorf("%s HTTPS CAs", got)
	}
}
