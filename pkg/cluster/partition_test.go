package cluster

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestPartitionedAuditLog does to the audit log what docs/scaling.md says, while daemons run.
func TestPartitionedAuditLog(t *testing.T) {
	t.Parallel()
	c := postgres(t)
	dsn := c.NewDatabase(t)
	database := databaseOf(t, dsn)
	s := newSite(t, dsn, 2, "--service-auto-approve-count", "1000")
	page, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sql, _ := strings.Cut(string(page), "```sql partition\n")
	sql, _, found := strings.Cut(sql, "```")
	if !found {
		t.Fatal("docs/scaling.md does not say how")
	}
	user, _ := becomeUser(t, s.daemons[0])
	submit := func(n int) {
		t.Helper()
		for i := range n {
			d := s.daemons[i%2]
			user.must(http.StatusCreated, "PUT", d.http()+"/cas/csr", "", newCSR(t, newKey(t), fmt.Sprint("host", i)))
		}
	}
	count := func(table string) int {
		t.Helper()
		var n int
		if _, err := fmt.Sscan(c.Query(t, database, "SELECT count(*) FROM "+table), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	submit(4)
	before := count("audit_log")
	c.ExecIn(t, database, strings.ReplaceAll(sql, "1000000", "5"))
	if now := count("audit_log"); now < before {
		t.Fatalf("%d entries, %d before", now, before)
	}
	submit(10)
	for _, d := range s.daemons {
		d.awaitReady(http.StatusOK)
	}
	if n := count("audit_log"); n < before+20 { // received and signed
		t.Errorf("%d entries after 20 more than %d", n, before)
	}
	if got := c.Query(t, database, "SELECT count(*) FROM (SELECT seq FROM audit_log GROUP BY seq HAVING count(*) > 1) x"); got != "0" {
		t.Errorf("%s numbers twice", got)
	}
	c.ExecIn(t, database, "ALTER TABLE audit_log DETACH PARTITION audit_log_old")
	submit(2)
}
